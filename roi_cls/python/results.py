"""What a classifier gives back: answers, evaluations, explanations, each showing itself.

In a shell in a line, in a notebook as HTML, and with ``plot`` as a figure of matplotlib.
"""

from __future__ import annotations

import contextlib
import json
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from markupsafe import Markup

from roi_cls.base.errors import DataError, ImageReadError, RoiClsError
from roi_cls.base.location import as_path
from roi_cls.classifier.explanation.explain import Explainer, ExplainMethod
from roi_cls.classifier.inference.prediction import Looked, Prediction, Source
from roi_cls.classifier.inference.predictor import Predictor
from roi_cls.classifier.runs.bundle import load_bundle
from roi_cls.classifier.runs.folder import RunFolder
from roi_cls.console.words import (
    METHOD_TEXT,
    describe_recipe,
    looked_at_text,
    prediction_line,
    verdict_text,
)
from roi_cls.data.sample import name_some
from roi_cls.python.display import (
    BLUE,
    GREY,
    RUST,
    RowList,
    bar_html,
    beside_html,
    block_html,
    encode_jpeg,
    muted_html,
    path_html,
    picture_html,
    table_html,
)
from roi_cls.roi.image import Image, read_bytes
from roi_cls.roi.picture import Picture

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from roi_cls.classifier.evaluation.evaluation import Evaluation
    from roi_cls.classifier.evaluation.pictures import Mistake, ScoredPictures
    from roi_cls.classifier.explanation.heat import Heat

MOST_CLASSES = 6
"""Classes of an answer that are shown, the most probable; those of a confusion matrix: twice."""
_HEADS = ("number", "value, 95 % interval", "to be compared with")
_FRAME_PX = 480
_PANEL_INCHES = 3.0
_CROP_PX = 200


class Answer(Prediction):
    """A prediction that shows itself, with a small picture of what was looked at."""

    target: str | None = None
    """The class that is looked for."""
    thumbnail: bytes | None = None
    """What was looked at, as a JPEG; None: nothing was, or this is a copy."""

    @classmethod
    def of(cls, looked: Looked, target: str, shown: int = 0) -> Answer:
        """Return what was predicted, with its picture.

        Args:
            looked: The prediction, and its crops.
            target: The class that is looked for.
            shown: Index of the view that the prediction tells of.
        """
        prediction = looked.prediction
        answer = cls(**{f.name: getattr(prediction, f.name) for f in fields(Prediction)})
        # Plain assignment is for fields, which are frozen; these two are none, so that no column or
        # key of what is written grows by them.
        object.__setattr__(answer, "target", target)
        if looked.views and len(looked.views[shown].pixels):
            view = looked.views[shown]
            boxes = [cut.face.box.xyxy if cut.face else None for cut in view.plan.cuts]
            place = boxes.index(prediction.box) if prediction.box in boxes else 0
            object.__setattr__(answer, "thumbnail", encode_jpeg(view.pixels[place]))
        return answer

    def __repr__(self) -> str:
        return f"<{prediction_line(self)}>"

    def _repr_html_(self) -> str:
        if self.probabilities is None or self.label is None:
            verdict: object = Markup("<b>{}</b>").format(self.status)
            told = self.error or looked_at_text(self)
        else:
            verdict = Markup("<b>{}</b>").format(verdict_text(self))
            told = f"Looked at: {looked_at_text(self)}."
        words = block_html(verdict, self._bars(), muted_html(told), path_html(self.path))
        return str(beside_html(picture_html(self.thumbnail, "what was looked at"), words))

    def _bars(self) -> Markup:
        if self.probabilities is None:
            return Markup("")
        ranked = sorted(self.probabilities.items(), key=lambda item: -item[1])
        lines = [
            beside_html(bar_html(share, _colour(self, name)), f"{share:.3f} {name}")
            for name, share in ranked[:MOST_CLASSES]
        ]
        if rest := len(ranked) - MOST_CLASSES:
            lines += [muted_html(f"and {rest} less probable")] if rest > 0 else []
        return Markup("").join(lines)


def _colour(answer: Answer, label: str) -> str:
    if answer.unsure:
        return GREY
    return RUST if label == answer.target else BLUE


class AnswerList(RowList[Answer]):
    """Answers, in the order of the pictures."""

    HEAD: ClassVar = ("", "picture", "answer", "looked at")
    NOUN: ClassVar = "answer"

    @property
    def summary(self) -> str:
        """How many there are of each label."""
        counts = Counter(row.label or row.status for row in self)
        told = ", ".join(f"{count} {name}" for name, count in counts.most_common())
        return f"{super().summary}{': ' if told else ''}{told}"

    def cells(self, row: Answer) -> Sequence[object]:
        """Return what stands in a row of the table."""
        told = looked_at_text(row)
        verdict: object = row.status
        if row.score is None or row.label is None:
            told = row.error or told
        else:
            bar = bar_html(row.score, _colour(row, row.label), 60)
            verdict = Markup('<span style="white-space:nowrap">{} {}</span>').format(
                bar, verdict_text(row)
            )
        return picture_html(row.thumbnail, "", 48), path_html(row.path), verdict, told


class WrongAnswers(RowList["Mistake"]):
    """The mistakes of an evaluation, the most confident first."""

    HEAD: ClassVar = ("", "picture", "label", "answer", "looked at")
    NOUN: ClassVar = "wrong answer"

    def cells(self, row: Mistake) -> Sequence[object]:
        """Return what stands in a row of the table."""
        answer = f"{row.answer} {row.probability:.3f}{' (unsure)' if row.unsure else ''}"
        picture = picture_html(encode_jpeg(row.crop), "", 48)
        return picture, path_html(row.path), row.label, answer, row.source.replace("_", " ")


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class Evaluated:
    """How a classifier fared on labelled pictures."""

    evaluation: Evaluation
    pictures: ScoredPictures
    """The (N,) labels and the (N, K) probabilities."""
    mistakes: WrongAnswers

    def to_dict(self) -> dict[str, Any]:
        """Return the fields of ``roi-cls evaluate --json``."""
        return self.evaluation.to_dict()

    def plot(self) -> Figure:
        """Return ROC and precision-recall curve with their bands, and the reliability diagram.

        The latter alone, where all pictures are of one side and no ranking can be judged.
        """
        from roi_cls.base.figure import new_figure
        from roi_cls.classifier.evaluation.panels import plot_recall, plot_reliability, plot_roc
        from roi_cls.classifier.metrics.interval import ranking_bands

        if not self.pictures.has_both:
            figure, (diagram,) = new_figure()
        else:
            figure, (roc, recall, diagram) = new_figure(3)
            bands = ranking_bands(self.pictures.is_target, self.pictures.scores)
            plot_roc(roc, self.pictures, bands)
            plot_recall(recall, self.pictures, bands)
        plot_reliability(diagram, self.pictures)
        return figure

    def __repr__(self) -> str:
        return f"<{self.evaluation.verdict}>"

    def _repr_html_(self) -> str:
        from roi_cls.classifier.evaluation.summary import compared_numbers

        overall = self.evaluation.overall
        wrong = f"{len(self.mistakes)} of {overall.images} answered wrongly: see .mistakes"
        whole = block_html(
            Markup("<b>{}</b>").format(self.evaluation.verdict),
            beside_html(
                table_html(_HEADS, compared_numbers(self.evaluation)),
                self._confusions(),
            ),
            muted_html(wrong),
            *(muted_html(f"Note: {note}") for note in overall.notes),
        )
        return str(whole)

    def _confusions(self) -> Markup:
        overall = self.evaluation.overall
        names = [one.label for one in overall.classes]
        if len(names) > 2 * MOST_CLASSES:
            return muted_html(f"{len(names)} classes: see .evaluation for what is mixed up")
        rows = zip(names, overall.confusion_matrix, strict=True)
        head = ("true \\ answered", *names)
        return table_html(head, ((name, *map(int, counts)) for name, counts in rows))


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class ExplainedPicture:
    """Where on a picture something speaks for a class."""

    answer: Answer
    label: str
    """The class that is explained."""
    method: str
    """``grad-cam``, ``occlusion``, or ``own-map`` of a network that answers by one."""
    heats: tuple[Heat, ...]
    """Crop and (S, S) heat of each view, the one that the answer tells of first; none where
    nothing was judged."""
    frame: Image | None
    """The upright picture; None: it cannot be read."""

    def plot(self) -> Figure:
        """Return the picture with the heat in its place, and each crop without it and with it.

        Raises:
            DataError: Nothing was judged.
        """
        from roi_cls.base.figure import new_figure

        pictures = self._pictures()
        if not pictures:
            raise DataError(f"Cannot draw an explanation: {self.answer.error or 'no face.'}")
        figure, panels = new_figure(len(pictures), self._title(), (_PANEL_INCHES, _PANEL_INCHES))
        for axes, (name, pixels) in zip(panels, pictures, strict=True):
            _show_picture(axes, name, pixels)
        return figure

    def __repr__(self) -> str:
        return f"<{self.answer.path}: {self._title()}>"

    def _repr_html_(self) -> str:
        pictures = [
            picture_html(encode_jpeg(pixels, 2 * _CROP_PX), name, _CROP_PX)
            for name, pixels in self._pictures()
        ]
        title = Markup("<b>{}</b>").format(self._title()) if pictures else ""
        whole = block_html(Markup(self.answer._repr_html_()), title, beside_html(*pictures))
        return str(whole)

    def _title(self) -> str:
        shares: Mapping[str, float] = self.answer.probabilities or {}
        if not self.heats:
            return prediction_line(self.answer)
        return (
            f"What speaks for {self.label!r} (probability {shares[self.label]:.3f}), by "
            f"{METHOD_TEXT[self.method]}"
        )

    def _pictures(self) -> list[tuple[str, Image]]:
        from roi_cls.drawing.heat import draw_on_crop, draw_on_frame

        pictures = []
        if self.heats and self.frame is not None:
            pictures.append(("in the picture", draw_on_frame(self.frame, self.heats[:1])))
        for heat in self.heats:
            what = "the face" if heat.cut.face else "the full frame"
            pictures += [(what, heat.crop), (f"{what}, with heat", draw_on_crop(heat, _FRAME_PX))]
        return pictures


def _show_picture(axes: Axes, name: str, pixels: Image) -> None:
    axes.imshow(pixels)
    axes.set_title(name, fontsize=9, fontweight="normal")
    axes.set_axis_off()


def explain_source(
    predictor: Predictor, source: Source, label: str | None, method: ExplainMethod
) -> ExplainedPicture:
    """Return what speaks for a class of a picture.

    Raises:
        DataError: The model knows no such class.
    """
    if source.data is None and source.image is None:
        with contextlib.suppress(ImageReadError):  # the row says why
            source = replace(source, data=read_bytes(as_path(source.path)))
    found = Explainer(predictor, method).explain(source, label)
    shown = predictor.shown
    answer = Answer.of(found.looked, predictor.bundle.labels.target, shown)
    frame = source.image
    if found.heats and frame is None and source.data is not None:
        limit, partial = predictor.options.max_pixels, answer.damaged is not None
        picture = Picture(source.data, source.path, max_pixels=limit, partial=partial)
        frame = picture.pixels()
    first = found.heats[shown : shown + 1]
    others = tuple(heat for i, heat in enumerate(found.heats) if i != shown)
    return ExplainedPicture(answer, found.label, found.method, first + others, frame)


def plot_training(run: RunFolder) -> Figure:
    """Return the curves of a run's epochs.

    Raises:
        DataError: It has none.
    """
    from roi_cls.base.figure import new_figure
    from roi_cls.classifier.training.logs import PANELS, plot_epochs

    epochs = _read_epochs(run)
    if not epochs:
        raise DataError(
            f"Cannot draw the training of {str(run.path)!r}: it keeps no epochs. Exported files, "
            "several models in one, and models that learn in one go have none."
        )
    figure, panels = new_figure(len(PANELS))
    for place, panel in enumerate(panels):
        plot_epochs(panel, epochs, place)
    return figure


def _read_epochs(run: RunFolder) -> list[dict[str, Any]]:
    if not run.metrics.is_file():
        return []
    return [json.loads(line) for line in run.metrics.read_text(encoding="utf-8").splitlines()]


def run_html(path: Path) -> str:
    """Return what is known of a run, or of an exported file, without opening its model."""
    facts: list[tuple[str, object]] = [("run", path_html(str(path)))]
    try:
        facts += _run_facts(RunFolder(path)) if path.is_dir() else []
    except (RoiClsError, OSError, ValueError) as error:
        facts.append(("it cannot be read", str(error)))  # who looks at an object wants no failure
    return str(table_html(("fitted", ""), facts))


def _run_facts(run: RunFolder) -> Iterator[tuple[str, object]]:
    bundle = load_bundle(run.path)
    names = name_some(bundle.labels.names)
    yield "model", bundle.model
    yield "classes", f"{names}; looks for {bundle.labels.target}"
    yield "crop", describe_recipe(bundle.crop)
    if bundle.threshold is not None:
        rule = f"chosen on validation by {bundle.threshold_rule}"
        yield "threshold", f"{bundle.threshold:.4g}, {rule}"
    epochs = _read_epochs(run)
    best = [epoch for epoch in epochs if epoch["best"]][-1:]
    for epoch in best:
        scores = f"AP {epoch['average_precision']:.3f}, ROC-AUC {epoch['roc_auc']:.3f}"
        yield "validation", f"{scores} at epoch {epoch['epoch']} of {len(epochs)}"
    if run.evaluation.is_file():
        yield "evaluated", json.loads(run.evaluation.read_text(encoding="utf-8"))["verdict"]
