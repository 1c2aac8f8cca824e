"""An exported model: probabilities of crops by onnxruntime, all else from the file. No torch.

What an exported file holds beside its graph, and whether it is the file that was written. The
packages of ONNX are imported here first, so that they tell nobody that they run.
"""

from __future__ import annotations

import base64
import hashlib
import importlib
import json
import math
import os
import shutil
import tempfile
import weakref
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from roi_cls.base.atomic import telling_storage
from roi_cls.base.errors import BundleError, LibraryError, TrainingError
from roi_cls.base.location import NO_TEMPORARY_FOLDER, find_temporary_folder
from roi_cls.base.machine import available_cores
from roi_cls.classifier.config import BATCH_SIZE, Device
from roi_cls.classifier.runs.bundle import (
    ModelBundle,
    bundle_facts,
    bundle_from_facts,
    load_bundle,
    make_shareable,
    member_folders,
)
from roi_cls.classifier.runs.folder import RunFolder
from roi_cls.roi import CropParams

if TYPE_CHECKING:
    from onnxruntime import InferenceSession, SessionOptions


LAYOUT_VERSION = 1
"""Of inputs, outputs and properties."""
OUTPUT = "probabilities"
"""(N, K) float32, rows sum to 1."""
_CONFIG_KEY, _LAYOUT_KEY, _DETECTOR_PREFIX = "roi_cls", "roi_cls_layout", "roi_cls_detector/"
_NUMBERS_KEY, _PROVEN_KEY = "roi_cls_numbers", "roi_cls_proven"
_DIGEST_KEY = "roi_cls_sha256"
_UNSEALED = b"0" * 64
# How protobuf writes the property: its name, then field 2 with 64 bytes.
_MARKER = _DIGEST_KEY.encode() + b"\x12\x40"
_CPU = "CPUExecutionProvider"
_PROVIDERS: dict[str, tuple[str, dict[str, str]]] = {
    # TF32 keeps 10 bits of the mantissa: scores would differ from the CPU's by 1e-3.
    "cuda": ("CUDAExecutionProvider", {"use_tf32": "0"}),
    "mps": ("CoreMLExecutionProvider", {}),
}


class OnnxModel:
    """An opened file: a ``Scorer``."""

    def __init__(
        self, session: InferenceSession, bundle: ModelBundle, properties: OnnxProperties
    ) -> None:
        """Take a session, the model's facts, and what else the file holds."""
        self._session, self._bundle, self._properties = session, bundle, properties
        self._names = input_names(len(bundle.views))

    @property
    def bundle(self) -> ModelBundle:
        """The model's facts: labels, threshold, recipes."""
        return self._bundle

    @property
    def views(self) -> tuple[CropParams, ...]:
        """The crops of a picture that it wants."""
        return self._bundle.views

    @property
    def is_quantised(self) -> bool:
        """Whether it computes in int8."""
        return self._properties.quantised

    @property
    def proven(self) -> float:
        """How near to its run it was proven, as max |Δp|; infinite: not at all."""
        return self._properties.proven

    @property
    def place(self) -> str:
        """The device in words: ``cpu``, or what onnxruntime calls another."""
        first = self._session.get_providers()[0]
        return "cpu" if first == _CPU else str(first).removesuffix("ExecutionProvider")

    def described(self, bundle: ModelBundle) -> OnnxModel:
        """Return the same model with facts of the same meaning."""
        return OnnxModel(self._session, bundle, self._properties)

    @cached_property
    def detector_folder(self) -> Path:
        """A private folder with the face detector's model files; gone with this object."""
        place = find_temporary_folder()
        if place is None:
            raise LibraryError(f"Cannot unpack the face detector's models: {NO_TEMPORARY_FOLDER}")
        with telling_storage(place):
            folder = Path(tempfile.mkdtemp(prefix="roi-cls-"))
            weakref.finalize(self, shutil.rmtree, folder, ignore_errors=True)
            for name, data in self._properties.detectors.items():
                (folder / Path(name).name).write_bytes(data)  # a name must not lead elsewhere
        return folder

    def probabilities(
        self, pixels_by_view: Sequence[NDArray[np.uint8]], batch_size: int = BATCH_SIZE
    ) -> NDArray[np.float64]:
        """Return (N, K) probabilities; rows sum to 1. See ``Scorer``."""
        # In int8 one range of values is taken over the whole batch: a picture's answer would depend
        # on the pictures beside it. One at a time is as fast.
        size = 1 if self.is_quantised else batch_size
        found = [
            self._run([pixels[start : start + size] for pixels in pixels_by_view])
            for start in range(0, len(pixels_by_view[0]), size)
        ]
        rounded = np.concatenate(found).astype(np.float64)
        return np.asarray(rounded / rounded.sum(axis=1, keepdims=True), np.float64)

    def _run(self, crops: Sequence[NDArray[np.uint8]]) -> NDArray[np.float32]:
        feed = dict(zip(self._names, crops, strict=True))
        try:
            return np.asarray(self._session.run([OUTPUT], feed)[0], np.float32)
        except _native_errors() as error:
            raise LibraryError(
                f"Cannot predict with ONNX Runtime: {_reason(error)}. Give a smaller --batch, or "
                "name the run with --runtime torch."
            ) from error


def open_own_onnx(run: RunFolder, device: Device = "auto") -> OnnxModel:
    """Return the model of the file that belongs to a run, with the run's facts.

    Raises:
        BundleError: The run or the file cannot be used, or the file was made of another model.
        TrainingError: onnxruntime cannot use the device.
    """
    bundle = _load_checked(run.path)
    model = open_onnx(run.onnx, device)
    # The name of an architecture may be told with or without that of its start weights.
    told = replace(model.bundle, model=bundle.model)
    if model.is_quantised or told != make_shareable(bundle):
        raise BundleError(
            f"Cannot use the model {str(run.onnx)!r}: it was not made of this run's weights and "
            f"settings. Write it anew with `roi-cls export --run {run.path.name}`, or remove it."
        )
    return model.described(bundle)


def _load_checked(folder: Path) -> ModelBundle:
    """Return a run's facts, after checking all of its weights, its members' too.

    The facts of an ensemble name its members' facts alone, each of which names its own weights.
    """
    bundle = load_bundle(folder)
    for member in member_folders(folder, bundle):
        _load_checked(member)
    return bundle


def open_onnx(path: Path, device: Device = "auto") -> OnnxModel:
    """Return the model of a file that ``roi-cls export`` wrote.

    Raises:
        BundleError: It is missing, changed, of another format or another program's; or
            onnxruntime is not installed.
        LibraryError: There is not memory enough.
        TrainingError: onnxruntime cannot use the device.
    """
    try:
        data = path.read_bytes()
    except OSError as error:
        raise BundleError(
            f"Cannot use the model {str(path)!r}: {error.strerror or error}. "
            "Write it with `roi-cls export --run NAME`."
        ) from error
    return read_onnx(data, path, device)


def read_onnx(data: bytes, path: Path, device: Device = "auto") -> OnnxModel:
    """Return the model of a file's bytes; ``path`` is what messages call it. See ``open_onnx``."""
    _check_runtime(path)
    try:
        _check_seal(data)
        session = _open_session(data, device)
        properties = from_texts(session.get_modelmeta().custom_metadata_map)
        facts = bundle_facts(properties.config)
    except ValueError as error:
        raise BundleError(
            f"Cannot use the model {str(path)!r}: {error}. "
            "Export it again with `roi-cls export --run NAME`, or copy it again."
        ) from error
    bundle = bundle_from_facts(path, str(properties.config.get("architecture")), facts)
    return OnnxModel(session, bundle, properties)


def _check_runtime(path: Path) -> None:
    try:
        import_onnx_package("onnxruntime")
    except ImportError as error:
        raise BundleError(
            f"Cannot use the model {str(path)!r}: onnxruntime is not installed. "
            "Install it: pip install onnxruntime."
        ) from error


def _open_session(data: bytes, device: Device) -> InferenceSession:
    import onnxruntime

    provider, options = _choose_provider(device)
    providers = [_CPU] if provider == _CPU else [(provider, options), _CPU]
    try:
        session = onnxruntime.InferenceSession(data, _options(), providers=providers)
    except _native_errors() as error:
        reason = _reason(error)
        if "alloc" in reason or isinstance(error, MemoryError):
            raise LibraryError(
                f"Cannot open a model with ONNX Runtime: {reason}. Free memory, or name the run "
                "with --runtime torch."
            ) from error
        raise ValueError(
            f"onnxruntime {onnxruntime.__version__} refuses it ({reason}); a newer one may not"
        ) from error
    if device in _PROVIDERS and provider not in session.get_providers():
        raise _no_device(device, f"its {provider} does not start")
    return session


def _native_errors() -> tuple[type[Exception], ...]:
    """Return what onnxruntime raises: its own errors have no base but Exception."""
    from onnxruntime.capi import onnxruntime_pybind11_state as native

    found = vars(native).values()
    own = [one for one in found if isinstance(one, type) and issubclass(one, Exception)]
    return (*own, MemoryError, RuntimeError)


def _reason(error: Exception) -> str:
    return str(error).strip().partition("\n")[0].rstrip(".") or type(error).__name__


def _choose_provider(device: Device) -> tuple[str, dict[str, str]]:
    """Return onnxruntime's name for the device. Raises ``TrainingError`` where it has none."""
    import onnxruntime

    available = onnxruntime.get_available_providers()
    if device in _PROVIDERS:
        name, options = _PROVIDERS[device]
        if name not in available:
            raise _no_device(device, f"it was built without {name}")
        return name, options
    # CoreML may compute in half precision, so that it is taken only where it is asked for.
    name, options = _PROVIDERS["cuda"]
    return (name, options) if device == "auto" and name in available else (_CPU, {})


def _no_device(device: Device, reason: str) -> TrainingError:
    import onnxruntime

    return TrainingError(
        f"Cannot use the device {device!r}: onnxruntime {onnxruntime.__version__} cannot, as "
        f"{reason}. Use --device auto, or install the onnxruntime built for it."
    )


def _options() -> SessionOptions:
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.use_deterministic_compute = True
    # Threads that wait in a loop take the cores from those that decode and detect: a folder then
    # goes 1.1 times as fast, and the model alone as fast (2 cores; benchmarks/predicting).
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    options.log_severity_level = 3  # errors alone: they come as exceptions, warnings help nobody
    # As torch does; onnxruntime's own choice is every core of the machine, also in a container.
    wanted = os.environ.get("OMP_NUM_THREADS", "")
    options.intra_op_num_threads = int(wanted) if wanted.isdigit() else available_cores()
    return options


@dataclass(frozen=True, slots=True)
class OnnxProperties:
    """The properties of a file."""

    config: Mapping[str, Any]
    """As ``config.json`` of a bundle."""
    detectors: Mapping[str, bytes]
    """The face detector's model files by name."""
    quantised: bool = False
    """Whether it computes in int8, with ranges that it takes from each batch."""
    proven: float = math.inf
    """Largest difference of a probability from its run's that it was written with."""


def to_texts(properties: OnnxProperties) -> dict[str, str]:
    """Return the properties as ONNX keeps them, texts by name; the digest is yet to be filled."""
    files = properties.detectors.items()
    return {
        _LAYOUT_KEY: str(LAYOUT_VERSION),
        _CONFIG_KEY: json.dumps(properties.config, sort_keys=True),
        **{f"{_DETECTOR_PREFIX}{name}": base64.b64encode(data).decode() for name, data in files},
        _NUMBERS_KEY: "int8" if properties.quantised else "fp32",
        _PROVEN_KEY: repr(properties.proven),
        _DIGEST_KEY: _UNSEALED.decode(),
    }


def from_texts(texts: Mapping[str, str]) -> OnnxProperties:
    """Return what ``to_texts`` was given.

    Raises:
        ValueError: They are of another layout, or none of ours.
    """
    if texts.get(_LAYOUT_KEY) != str(LAYOUT_VERSION):
        raise ValueError(
            f"it has layout {texts.get(_LAYOUT_KEY)!r}, this program reads {LAYOUT_VERSION}"
        )
    config = json.loads(texts.get(_CONFIG_KEY, "null"))
    if not isinstance(config, dict):
        raise ValueError("it does not describe its model")
    detectors = {
        name.removeprefix(_DETECTOR_PREFIX): base64.b64decode(text, validate=True)
        for name, text in texts.items()
        if name.startswith(_DETECTOR_PREFIX)
    }
    proven = float(texts.get(_PROVEN_KEY, "inf"))
    return OnnxProperties(config, detectors, texts.get(_NUMBERS_KEY) == "int8", proven)


def input_names(views: int) -> list[str]:
    """Return the graph's inputs: for each view a uint8 (N, size_px, size_px, 3) of RGB crops."""
    return ["crops"] if views == 1 else [f"crops_{i}" for i in range(views)]


def seal(data: bytes) -> bytes:
    """Return the file's bytes with the SHA-256 of all of them in the digest's place."""
    start = _digest_start(data)
    digest = hashlib.sha256(data).hexdigest().encode()
    return data[:start] + digest + data[start + len(digest) :]


def _check_seal(data: bytes) -> None:
    """Raise ``ValueError``, in words for the user, unless these are the bytes that were written.

    Against damage and edits by hand, not against someone who seals it anew.
    """
    if data[:1] != b"\x08":  # the first field of every ONNX file, the version of its format
        raise ValueError("it is no ONNX file")
    start = _digest_start(data)
    stop = start + len(_UNSEALED)
    digest = hashlib.sha256(data[:start])
    digest.update(_UNSEALED)
    digest.update(memoryview(data)[stop:])
    if digest.hexdigest().encode() != data[start:stop]:
        raise ValueError("it was changed after it was written (its SHA-256 differs)")


def _digest_start(data: bytes) -> int:
    place = data.rfind(_MARKER)
    if place < 0:
        raise ValueError("`roi-cls export` did not write it: it says nothing of crops and classes")
    return place + len(_MARKER)


def import_onnx_package(name: str) -> None:
    """Import ``onnx``, ``onnxscript`` or ``onnxruntime``.

    No telemetry is sent unless the environment asks for it by ``ORT_DISABLE_TELEMETRY=0``.

    Raises:
        ImportError: It is not installed.
    """
    os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")  # read once, at onnxruntime's import
    importlib.import_module(name)
