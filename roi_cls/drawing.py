"""The work behind ``roi-cls data demo``."""

from __future__ import annotations

from pathlib import Path

from roi_cls.console import progress
from roi_cls.data.demo import DemoParams, draw_demo


def draw_and_tell(folder: Path, images: int | None, seed: int) -> str:
    """Draw the demo set with progress on stderr; return what there is now, in words.

    Raises:
        DataError: Too few pictures, or the folder holds something else.
    """
    params = DemoParams(seed=seed) if images is None else DemoParams(images, seed)
    with progress("Drawing") as advance:
        summary = draw_demo(folder, params, progress=lambda done: advance(done, params.images, ""))
    return (
        f"{folder}: {summary.images} pictures ({summary.drawn} drawn now); "
        f"train {summary.clean_train} artefactless, {summary.artefacts_train} artefact; "
        f"test {summary.clean_test} artefactless, {summary.artefacts_test} artefact"
    )
