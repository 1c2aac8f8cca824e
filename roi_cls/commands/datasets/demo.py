"""The work behind ``roi-cls data demo``."""

from __future__ import annotations

from pathlib import Path

from roi_cls.console.terminal import progress
from roi_cls.data.demo.draw import DemoParams, draw_demo


def draw_and_tell(folder: Path, images: int | None, seed: int) -> str:
    """Draw the demo set with progress on stderr; return what there is now, in words.

    Raises:
        DataError: Too few pictures, or the folder holds something else.
    """
    params = DemoParams(seed=seed) if images is None else DemoParams(images, seed)
    drawn = 0
    with progress("Drawing") as advance:

        def on_drawn(count: int) -> None:
            nonlocal drawn
            drawn += count
            advance(drawn, params.images, "")

        summary = draw_demo(folder, params, progress=on_drawn)
    return (
        f"{folder}: {summary.images} pictures ({summary.drawn} drawn now); "
        f"train {summary.clean_train} artefactless, {summary.artefacts_train} artefact; "
        f"test {summary.clean_test} artefactless, {summary.artefacts_test} artefact"
    )
