"""The work behind ``roi-cls explain``: for each picture, a drawing of what speaks for a class."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from roi_cls.base.errors import ImageReadError
from roi_cls.base.location import as_path
from roi_cls.base.rows import to_json
from roi_cls.classifier.config import Device, Runtime
from roi_cls.classifier.explanation.explain import (
    Explainer,
    ExplainMethod,
    Explanation,
    runtime_for,
)
from roi_cls.classifier.explanation.heat import rank_correlation
from roi_cls.classifier.inference.prediction import PredictOptions, Source
from roi_cls.classifier.inference.predictor import Predictor
from roi_cls.classifier.inference.scorer import open_scorer
from roi_cls.commands.explain.view import draw_explanation, explanation_line, explanation_row
from roi_cls.console.terminal import note, progress, show
from roi_cls.drawing.file import check_output_folder, row_name, write_drawing
from roi_cls.inputs.sources import (
    SourceOptions,
    count_pictures,
    is_one_picture,
    name_inputs,
    open_sources,
)
from roi_cls.roi.image import Image, read_bytes
from roi_cls.roi.picture import Picture


@dataclass(frozen=True, slots=True)
class ExplainJob:
    """What to explain, with what, and where to draw it."""

    inputs: Sequence[str]
    models: Sequence[Path]
    """Folders of runs, several for their mean; or one exported file."""
    folder: Path
    """Of the drawings."""
    method: ExplainMethod = "grad-cam"
    label: str | None = None
    """The class; None: see ``Explainer.explain``."""
    check: bool = False
    """Whether Grad-CAM is compared with occlusion."""
    as_json: bool = False
    device: Device = "auto"
    runtime: Runtime = "auto"
    """What computes; gradients are torch's."""
    options: PredictOptions = field(default_factory=PredictOptions)
    sources: SourceOptions = field(default_factory=SourceOptions)


def explain_and_print(job: ExplainJob) -> int:
    """Draw the explanations, print a row for each picture, return how many are in error.

    Raises:
        RoiClsError: The model cannot be used, or knows no such class; an input names no picture,
            or the folder cannot be written.
    """
    check_output_folder(job.folder, job.inputs)
    named = name_inputs(job.inputs)  # what names nothing is told before the model loads
    total = count_pictures(named)
    rows: list[dict[str, Any]] = []
    errors = 0
    runtime = runtime_for(job.models, "grad-cam" if job.check else job.method, job.runtime)
    opened = open_scorer(job.models, job.device, runtime=runtime)
    note(f"Computing with {opened.engine}.")
    with (
        Predictor(opened, job.options) as predictor,
        progress("Explaining") as advance,
    ):
        work, given = _Explaining(job, predictor), open_sources(named, job.sources)
        for done, (row, line) in enumerate(work.rows(each.source for each in given), start=1):
            errors += row["status"] == "error"
            advance(done, total, "")
            if job.as_json:
                rows.append(row)
            else:
                show(line)
    if job.as_json:
        is_single = is_one_picture(named) and len(rows) == 1
        show(to_json(rows[0] if is_single else rows, indent=2))
    return errors


class _Explaining:
    """An opened model at work on the pictures of a job."""

    def __init__(self, job: ExplainJob, predictor: Predictor) -> None:
        self._job, self._predictor = job, predictor
        self._explainer = Explainer(predictor, job.method)
        self._check = Explainer(predictor, "occlusion") if job.check else None
        if self._explainer.method == "occlusion" != job.method:
            note("This model has no gradients: it is explained by occlusion.")

    def rows(self, sources: Iterator[Source]) -> Iterator[tuple[dict[str, Any], str]]:
        """Yield each picture's row, and the same as a line for people."""
        for number, source in enumerate(map(_read, sources), start=1):
            explanation = self._explainer.explain(source, self._job.label)
            file = self._draw(number, source, explanation) if explanation.heats else None
            agreements = self._compare(source, explanation)
            row = explanation_row(explanation, self._predictor.shown, file, agreements)
            yield row, explanation_line(row, explanation)

    def _draw(self, number: int, source: Source, explanation: Explanation) -> str:
        path = self._job.folder / f"{row_name(number, explanation.looked.prediction)}.png"
        is_damaged = explanation.looked.prediction.damaged is not None
        frame = _decode(source, self._job.options.max_pixels, is_damaged)
        write_drawing(path, draw_explanation(frame, explanation, self._predictor.shown))
        return str(path)

    def _compare(self, source: Source, explanation: Explanation) -> list[float | None]:
        """Return how far each view's map agrees with occlusion's; empty where it is not asked."""
        if self._check is None or not explanation.heats:
            return []
        other = self._check.explain(source, explanation.label)
        return [
            rank_correlation(ours.effect, theirs.effect)
            for ours, theirs in zip(explanation.heats, other.heats, strict=True)
        ]


def _read(source: Source) -> Source:
    """Return the source with its bytes, where they can be had: what is drawn is what was judged."""
    if source.error is not None or source.image is not None or source.data is not None:
        return source
    try:
        return replace(source, data=read_bytes(as_path(source.path)))
    except ImageReadError as error:
        return replace(source, error=str(error))


def _decode(source: Source, max_pixels: int, partial: bool) -> Image:
    if source.image is not None:
        return source.image
    data = source.data or b""
    return Picture(data, source.path, max_pixels=max_pixels, partial=partial).pixels()
