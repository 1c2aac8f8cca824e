"""The ONNX file that is part of a run: written before the run is finished, and proven on its crops.

A model that cannot be exported, or answers otherwise when it is, makes a whole run without one.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch import nn

from roi_cls.base.atomic import telling_storage, write_atomically
from roi_cls.classifier.export.onnx import check_exportable, make_graph, write_bytes
from roi_cls.classifier.export.parity import (
    check_scores,
    crop_real_pictures,
    find_pictures_to_compare,
)
from roi_cls.classifier.inference.loaded import LoadedModel, load_any
from roi_cls.classifier.inference.onnx_model import read_onnx
from roi_cls.classifier.inference.scorer import ROUNDING_TOLERANCE
from roi_cls.classifier.models.device import choose_backend
from roi_cls.classifier.runs.bundle import ModelBundle
from roi_cls.classifier.runs.folder import RunFolder

MOST_COMPARED = 64
"""Pictures; more are taken at even distances."""
Crops = Sequence[NDArray[np.uint8]]


def pick_compared(count: int) -> slice:
    """Return which of so many pictures are compared."""
    return slice(None, None, max(1, -(-count // MOST_COMPARED)))


def remove_export(run: RunFolder) -> None:
    """Remove the file of an attempt that was cut short; also where no new one is to come.

    Raises:
        StorageError: It cannot be removed.
    """
    with telling_storage(run.onnx):
        run.onnx.unlink(missing_ok=True)


def export_network(
    run: RunFolder,
    network: nn.Module,
    bundle: ModelBundle,
    crops: Crops,
    scores: NDArray[np.float64] | None,
    on_note: Callable[[str], None],
) -> dict[str, Any]:
    """Write the run's ONNX file of a network, if it answers as the network; return what came of it.

    Args:
        run: Its folder; not finished yet.
        network: It; is on the CPU afterwards.
        bundle: Its facts, as the run will have them.
        crops: For each view (N, size_px, size_px, 3) RGB, of pictures of validation.
        scores: (N, K) their probabilities, as the network gives them on the CPU in fp32; None:
            those at hand are another device's, which may differ by more than the file's may.
        on_note: Told the same in words.

    Raises:
        StorageError: The disk is full or the folder cannot be written.
    """
    rows = pick_compared(len(crops[0]))
    loaded = LoadedModel(bundle, choose_backend("cpu", "fp32"), network.cpu().eval())
    known = None if scores is None else scores[rows]
    return _export(run, lambda: _prove(loaded, [view[rows] for view in crops], known), on_note)


def export_joint(
    run: RunFolder,
    members: Sequence[Path],
    bundle: ModelBundle,
    crops: Crops,
    scores: NDArray[np.float64] | None,
    on_note: Callable[[str], None],
) -> dict[str, Any]:
    """Do as ``export_network`` for the weighted mean of finished runs.

    members: their folders, in the order of the bundle's weights.
    crops, scores: of what ``pick_compared`` picks.
    """
    return _export(run, lambda: _prove(_load_joint(members, bundle), crops, scores), on_note)


def export_joined(
    run: RunFolder,
    members: Sequence[Path],
    bundle: ModelBundle,
    on_note: Callable[[str], None],
) -> dict[str, Any]:
    """Do as ``export_joint`` where no crops are at hand: pictures of validation are cropped."""

    def prepare() -> _Proof:
        loaded = _load_joint(members, bundle)
        check_exportable(loaded)  # before pictures are cropped for nothing
        samples = find_pictures_to_compare(run, loaded, None)
        samples = samples[pick_compared(len(samples))]
        crops = crop_real_pictures(run, loaded, samples).by_view
        return _prove(loaded, crops, None)

    return _export(run, prepare, on_note)


def _load_joint(members: Sequence[Path], bundle: ModelBundle) -> LoadedModel:
    backend = choose_backend("cpu", "fp32")
    return LoadedModel(bundle, backend, None, tuple(load_any(one, backend) for one in members))


@dataclass(frozen=True, slots=True, eq=False)
class _Proof:
    """A model, and what it says of crops."""

    loaded: LoadedModel
    crops: Crops
    scores: NDArray[np.float64]


def _prove(loaded: LoadedModel, crops: Crops, scores: NDArray[np.float64] | None) -> _Proof:
    """Return what the file must answer; the scores are computed where they are not known."""
    check_exportable(loaded)  # before crops are scored for nothing
    return _Proof(loaded, crops, loaded.probabilities(crops) if scores is None else scores)


def _export(
    run: RunFolder, prepare: Callable[[], _Proof], on_note: Callable[[str], None]
) -> dict[str, Any]:
    begin = time.monotonic()
    remove_export(run)
    try:
        proof = prepare()
        loaded = proof.loaded
        proven = ROUNDING_TOLERANCE
        data = write_bytes(make_graph(loaded), loaded, run.detector, proven=proven)
        exported = read_onnx(data, run.onnx, "cpu")
        parity = check_scores(proof.scores, exported, proof.crops, proven)
    except Exception as error:  # noqa: BLE001  # reason: whatever exporters raise, a trained model is kept
        told = str(error).partition("\n")[0] or type(error).__name__
        on_note(f"note: the run has no ONNX file, and torch predicts: {told}")
        return {"error": told}
    write_atomically(run.onnx, data, durable=True)
    seconds = round(time.monotonic() - begin, 1)
    on_note(
        f"Exported to {run.onnx.name} in {seconds:.1f} s, which predicts on CPUs: max |Δp| = "
        f"{parity.largest_difference:.1e} on {parity.pictures} pictures of validation (allowed "
        f"{ROUNDING_TOLERANCE:g})."
    )
    return {
        "seconds": seconds,
        "bytes": len(data),
        "compared": parity.pictures,
        "largest_difference": parity.largest_difference,
    }
