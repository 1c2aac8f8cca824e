"""The work behind ``roi-cls predict``: pictures in, rows out, and what is kept beside them.

The answer for a video as a whole is made from those of its frames as they come.
"""

from __future__ import annotations

import contextlib
import itertools
from collections import deque
from collections.abc import Iterator, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import typer
from numpy.typing import NDArray

from roi_cls.base.location import as_path
from roi_cls.classifier.config import Aggregate, Device, Runtime
from roi_cls.classifier.inference.prediction import Prediction, PredictOptions, Source
from roi_cls.classifier.inference.predictor import Predictor
from roi_cls.classifier.inference.scorer import OpenedModel, open_scorer
from roi_cls.commands.predict.output import RowForm, check_output, rows_are_seen, write_predictions
from roi_cls.console.terminal import Advance, note, progress
from roi_cls.console.words import count_text
from roi_cls.drawing.file import check_output_folder
from roi_cls.inputs.names import Named, check_not_input
from roi_cls.inputs.sources import (
    SourceOptions,
    count_pictures,
    is_one_picture,
    name_inputs,
    open_sources,
)

if TYPE_CHECKING:
    from roi_cls.commands.predict.pictures import RowPictures


@dataclass(frozen=True, slots=True)
class PredictJob:
    """What to predict, with what, and in which form to tell it."""

    inputs: Sequence[str]
    models: Sequence[Path]
    """Folders of runs, several for their mean; or one exported file."""
    form: RowForm = "text"
    output: Path | None = None
    """Where the rows go; None: stdout."""
    device: Device = "auto"
    half: bool = False
    """Whether to compute in half precision."""
    runtime: Runtime = "auto"
    """What computes."""
    options: PredictOptions = field(default_factory=PredictOptions)
    sources: SourceOptions = field(default_factory=SourceOptions)
    video_aggregate: Aggregate = "mean"
    """How a video's frames make its answer."""
    crops: Path | None = None
    """Folder for the crops that were looked at."""
    drawings: Path | None = None
    """Folder for the frames with their verdicts."""


@dataclass(slots=True)
class _Tally:
    rows: int = 0
    errors: int = 0
    """Rows in error."""
    inputs: int = 0
    """That are done: pictures, and videos as a whole."""

    def count(self, prediction: Prediction) -> Prediction:
        self.rows += 1
        self.errors += prediction.status == "error"
        return prediction


def predict_and_print(job: PredictJob) -> int:
    """Predict, write the rows, return how many are in error.

    Raises:
        RoiClsError: The model cannot be used, an input names no picture, or the output cannot be
            written.
        typer.BadParameter: An option does not suit the model.
    """
    check_output(job.output, job.form)
    for folder in filter(None, (job.crops, job.drawings)):
        check_output_folder(folder, job.inputs)
    named = name_inputs(job.inputs)  # what names nothing is told before the model loads
    if job.output:
        check_not_input(job.output, _known_paths(job.inputs, named))
    opened = open_scorer(job.models, job.device, half=job.half, runtime=job.runtime)
    note(f"Computing with {opened.engine}.")
    if job.half:
        note("Computing in half precision: probabilities may be off by 0.01.")
    _check_threshold(job.options.threshold, opened)
    tally = _Tally()
    with Predictor(opened, job.options) as predictor, _progress(job.output) as advance:
        rows, labels = _rows(job, predictor, named, tally, advance), predictor.bundle.labels
        single = is_one_picture(named)
        if job.form == "text" and rows_are_seen(job.output):
            from roi_cls.commands.predict.screen import show_table  # rich: nothing else needs it

            names, root = _names_to_come(named), _only_folder(job.inputs)
            show_table(rows, labels, names, single=single, folder=root)
        else:
            write_predictions(rows, job.form, job.output, single=single, labels=labels.names)
    if job.output and job.output.is_file():  # a pipe or device has its own reader
        errors = f", {tally.errors} of them in error," if tally.errors else ""
        note(f"Saved {count_text(tally.rows, 'row')}{errors} in {job.output}")
    return tally.errors


def _names_to_come(named: Sequence[Named]) -> Iterator[str] | None:
    """Return what will be predicted; None where it comes only once, and is not taken for this."""
    if any(each.count is None for each in named):
        return None
    return (name for each in named for name in each.names)


def _only_folder(inputs: Sequence[str]) -> str | None:
    """Return the folder that all pictures lie in, where it was named alone."""
    if len(inputs) != 1 or "://" in inputs[0] or not as_path(inputs[0]).is_dir():
        return None
    return str(as_path(inputs[0]))


def _known_paths(inputs: Sequence[str], named: Sequence[Named]) -> Iterator[Path]:
    """Yield the files of this machine that are read, but for what is named on standard input."""
    names = (name for each in named if each.count is not None for name in each.names)
    for name in itertools.chain(inputs, names):
        if "://" not in name or name.lower().startswith("file://"):
            yield as_path(name)


def _check_threshold(threshold: float | None, opened: OpenedModel) -> None:
    """Call a threshold that does not suit the model wrong usage; ``Predictor`` refuses it, too."""
    names = opened.scorer.bundle.labels.names
    if threshold is not None and len(names) > 2:
        raise typer.BadParameter(
            f"--threshold {threshold:g} is for two classes: {opened.name!r} tells {len(names)} "
            "apart and answers the most probable one"
        )


def _progress(output: Path | None) -> contextlib.AbstractContextManager[Advance]:
    """Give a function that shows how far the inputs are, where the rows themselves do not."""
    if rows_are_seen(output):
        return contextlib.nullcontext(lambda done, total, note: None)
    return progress("Predicting")


def _rows(
    job: PredictJob, predictor: Predictor, named: Sequence[Named], tally: _Tally, advance: Advance
) -> Iterator[Prediction]:
    """Yield the rows in order, after those of a video's frames that of the video."""
    pictures = _open_pictures(job)
    sources = _Sources(job.sources, named, pictures)
    target = predictor.bundle.labels.target
    taken = ((*sources.taken.popleft(), looked) for looked in predictor.look(sources))
    for video, group in itertools.groupby(taken, key=lambda one: one[1]):
        answer = VideoAnswer(predictor, job.video_aggregate)
        for source, _, looked in group:
            answer.add(looked.prediction)
            tally.inputs += video is None
            row = tally.count(looked.prediction)
            if pictures:
                pictures.keep(tally.rows, source, looked, predictor.shown, target)
            advance(tally.inputs, sources.total, "")
            yield row
        if video is not None:
            tally.inputs += 1
            if whole := answer.to_prediction():
                advance(tally.inputs, sources.total, "")
                yield tally.count(whole)


def _open_pictures(job: PredictJob) -> RowPictures | None:
    if not (job.crops or job.drawings):
        return None
    from roi_cls.commands.predict.pictures import RowPictures

    return RowPictures(job.crops, job.drawings, job.options.max_pixels)


class _Sources(Iterator[Source]):
    """Hands the pictures to the predictor, and remembers those that it has not answered yet."""

    def __init__(
        self, options: SourceOptions, named: Sequence[Named], pictures: RowPictures | None
    ) -> None:
        self.taken: deque[tuple[Source, object | None]] = deque()
        """Each with the video that it is a frame of."""
        self.total = count_pictures(named)
        self._pictures = pictures
        self._stopped: Future[None] = Future()
        self._given = open_sources(named, options, self._stopped)

    def __next__(self) -> Source:
        given = next(self._given)
        source = given.source
        kept = self._pictures.remember(source) if self._pictures else Source(source.path)
        self.taken.append((kept, given.video))
        return source

    def __length_hint__(self) -> int:
        return self.total or 0

    def stop(self) -> None:
        """Let no thread wait for a server any longer; calling it again does nothing."""
        if not self._stopped.done():
            self._stopped.set_result(None)


class VideoAnswer:
    """Adds up the frames of one video."""

    def __init__(self, predictor: Predictor, aggregate: Aggregate) -> None:
        """Begin with no frame.

        Args:
            predictor: What the frames are predicted with; it decides for the video, too.
            aggregate: The mean of the frames' probabilities, or the frame with the highest one of
                the target.
        """
        self._predictor = predictor
        self._aggregate = aggregate
        self._sum: NDArray[np.float64] = np.zeros(len(predictor.bundle.labels.names))
        self._scored = 0
        self._highest: Prediction | None = None
        self._last: Prediction | None = None

    def add(self, frame: Prediction) -> None:
        """Add the next frame, whatever became of it."""
        self._last = frame
        labels = self._predictor.bundle.labels
        if frame.probabilities is None:
            return
        self._scored += 1
        self._sum += [frame.probabilities[name] for name in labels.names]
        highest = self._highest and self._highest.probabilities
        if not highest or frame.probabilities[labels.target] > highest[labels.target]:
            self._highest = frame

    def to_prediction(self) -> Prediction | None:
        """Return the row of the video; None where it had no frame, only an error.

        By ``max`` it is that of the frame it was taken from, with its time. Where no frame was
        scored, the video is skipped as its frames are.
        """
        if self._last is None or (not self._scored and self._last.time_s is None):
            return None
        if self._highest is None:
            return Prediction(self._last.path, self._last.status, self._last.error, frames=0)
        if self._aggregate == "max":
            return replace(self._highest, per_face=None, frames=self._scored)
        verdict = self._predictor.verdict(self._sum / self._scored)
        runtime = self._predictor.runtime
        return Prediction(self._last.path, "ok", **verdict, frames=self._scored, runtime=runtime)
