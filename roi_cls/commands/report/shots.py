"""The pictures of a report: chosen, looked at as the run looks at them, packed, put under headings.

Shown are mistakes, the surest and the least sure answers, and a sample of all.
"""

from __future__ import annotations

import base64
import hashlib
import io
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from PIL import Image as PillowImage

from roi_cls.base.errors import DataError, RoiClsError
from roi_cls.base.location import as_path
from roi_cls.classifier.evaluation.evaluation import Evaluation
from roi_cls.classifier.evaluation.pictures import ScoredPictures, mistake_kind, share_places
from roi_cls.classifier.explanation.explain import Explainer, Explanation
from roi_cls.classifier.explanation.heat import Heat
from roi_cls.classifier.inference.prediction import Looked, Prediction, Source
from roi_cls.classifier.inference.predictor import Predictor
from roi_cls.commands.report.data import ReportedScores
from roi_cls.commands.report.parts import Card, Gallery, GalleryForm, Shot
from roi_cls.console.words import METHOD_TEXT, count_text
from roi_cls.drawing.heat import draw_on_crop, draw_on_frame
from roi_cls.roi import REASON_TEXT
from roi_cls.roi.image import Image, read_bytes
from roi_cls.roi.picture import Picture

MOST_MISTAKES = 36
MOST_CERTAIN = 12
MOST_UNCERTAIN = 12
MOST_SAMPLED = 60
LARGEST_CROP_PX = 224
"""Side of a crop in the page, px."""
FRAME_PX = 560
"""Longer side of a whole picture in the page, px."""
SAME_SCORE = 1e-3
"""Probabilities further apart than this are not those of the run's stored scores."""
_QUALITY = 85
MOST_OCCLUDED = 6
"""Pictures of a gallery that are explained by occlusion, which may take seconds for each."""
_CERTAIN = "The surest right answers of each class."
_SAMPLE = (
    "As many crops of each class, spread evenly over all of them: what the run looks at. Below "
    "each, its true class and the probability of the answer."
)


@dataclass(frozen=True, slots=True)
class Choice:
    """Indices of the pictures that are shown."""

    mistakes: tuple[int, ...]
    """The surest of each kind first."""
    wrong: int
    """How many mistakes there are."""
    certain: tuple[int, ...]
    """Answered rightly, the surest of each class first."""
    uncertain: tuple[int, ...]
    """The least sure first."""
    sample: tuple[int, ...]
    """As many of each class, spread evenly over the pictures in their order."""

    def explained(self, most: int | None) -> tuple[int, ...]:
        """Those of which it is shown what spoke for a class: the first of two galleries.

        most: Pictures of each; None: all.
        """
        return tuple(dict.fromkeys((*self.mistakes[:most], *self.uncertain[:most])))

    @property
    def all(self) -> tuple[int, ...]:
        """Each that is shown, once."""
        return tuple(dict.fromkeys((*self.mistakes, *self.uncertain, *self.certain, *self.sample)))


def choose_pictures(pictures: ScoredPictures) -> Choice:
    """Return which of the pictures to show."""
    answers, margins = pictures.answers, pictures.margins
    surest = np.argsort(-margins, kind="stable")
    is_wrong = answers != pictures.labels
    wrong, right = surest[is_wrong[surest]], surest[~is_wrong[surest]]
    kinds = [_kind_of(pictures, i) for i in wrong]
    return Choice(
        mistakes=_pick(wrong, kinds, MOST_MISTAKES),
        wrong=len(wrong),
        certain=_pick(right, [str(answers[i]) for i in right], MOST_CERTAIN),
        uncertain=tuple(int(i) for i in surest[::-1][:MOST_UNCERTAIN]),
        sample=_spread(pictures),
    )


def _kind_of(pictures: ScoredPictures, i: int) -> str:
    """Return ``right`` or the kind of mistake that the answer to a picture is."""
    label, answer = int(pictures.labels[i]), int(pictures.answers[i])
    return "right" if label == answer else mistake_kind(label, answer, pictures.target)


def _pick(order: Sequence[int], kinds: Sequence[str], limit: int) -> tuple[int, ...]:
    return tuple(int(order[place]) for place in share_places(kinds, limit))


def _spread(pictures: ScoredPictures) -> tuple[int, ...]:
    present = np.unique(pictures.labels)
    each = max(1, MOST_SAMPLED // len(present))
    chosen: list[int] = []
    for label in present:
        own = np.flatnonzero(pictures.labels == label)
        places = np.linspace(0, len(own) - 1, min(each, len(own))).round().astype(int)
        chosen += [int(own[place]) for place in places]
    return tuple(chosen[:MOST_SAMPLED])


@dataclass(frozen=True, slots=True)
class Shots:
    """Cards of the chosen pictures by their index, and what came to light."""

    cards: dict[int, Card]
    differing: int = 0
    """Pictures that the run now scores otherwise than it did."""


def bare_cards(scores: ReportedScores, choice: Choice) -> Shots:
    """Return the cards without their pictures."""
    return Shots({i: _describe(scores, i) for i in choice.all})


def _describe(scores: ReportedScores, i: int) -> Card:
    """Return what is known of a picture without looking at it."""
    pictures, table = scores.pictures, scores.table
    answer = int(pictures.answers[i])
    margin = float(pictures.margins[i])
    return Card(
        path=table.paths[i],
        label=table.labels[i],
        answer=pictures.names[answer],
        probability=float(pictures.probabilities[i, answer]),
        margin=margin,
        kind=_kind_of(pictures, i),
        source=table.sources[i].replace("_", " "),
        unsure=margin < pictures.evaluation.abstain,
    )


@dataclass(frozen=True, slots=True, eq=False)
class Photographer:
    """Takes the pictures of cards. Borrows a predictor and an explainer."""

    scores: ReportedScores
    root: Path
    """What the paths of the scores are relative to."""
    predictor: Predictor
    explainer: Explainer

    @property
    def method(self) -> str:
        """How it is found what spoke for a class, in words."""
        text = METHOD_TEXT[self.explainer.method]
        return text[0].upper() + text[1:]

    @property
    def most(self) -> int | None:
        """How many pictures of a gallery are explained; None: all."""
        return MOST_OCCLUDED if self.explainer.method == "occlusion" else None

    def take(self, choice: Choice, advance: Callable[[int, int, str], None]) -> Shots:
        """Return the cards of all chosen pictures; one that cannot be shown says why."""
        explained, cards, differing = set(choice.explained(self.most)), {}, 0
        for done, i in enumerate(choice.all, start=1):
            card = _describe(self.scores, i)
            try:
                cards[i], is_same = self._take_one(i, card, i in explained)
                differing += not is_same
            except RoiClsError as error:
                cards[i] = replace(card, problem=str(error))
            advance(done, len(choice.all), "")
        return Shots(cards, differing)

    def _take_one(self, i: int, card: Card, is_explained: bool) -> tuple[Card, bool]:
        """Return the card with its pictures, and whether its score is still the stored one."""
        path = self.root / as_path(card.path)
        data = read_bytes(path)
        if hashlib.sha256(data).hexdigest() != self.scores.table.sha256[i]:
            raise DataError(
                f"Cannot show {str(path)!r}: it is not the file that was scored. Evaluate again."
            )
        source = Source(str(path), data=data)
        if not is_explained:
            looked = next(iter(self.predictor.look([source])))
            return self._with_crop(card, looked), self._is_same(i, looked)
        explanation = self.explainer.explain(source)
        card = self._with_crop(card, explanation.looked)
        damaged = explanation.looked.prediction.damaged
        frame = Picture(data, path, partial=damaged is not None).pixels()
        return self._with_heat(card, explanation, frame), self._is_same(i, explanation.looked)

    def _with_crop(self, card: Card, looked: Looked) -> Card:
        prediction = looked.prediction
        if looked.views is None:
            return replace(card, problem=prediction.error or "It has no crop.")
        crops = looked.views[self.predictor.shown]
        boxes = [cut.face.box.xyxy if cut.face else None for cut in crops.plan.cuts]
        place = boxes.index(prediction.box) if prediction.box in boxes else 0
        alt = f"Crop of {card.path}: labelled {card.label}, answered {card.answer}."
        shot = _pack(crops.pixels[place], alt, LARGEST_CROP_PX)
        return replace(card, crop=shot, source=_source_text(prediction))

    def _with_heat(self, card: Card, explanation: Explanation, frame: Image) -> Card:
        if not explanation.heats:
            return card
        label = explanation.label
        heats = tuple(
            _pack(draw_on_crop(heat, LARGEST_CROP_PX), self._heat_alt(heat, label), LARGEST_CROP_PX)
            for heat in explanation.heats
        )
        alt = f"The whole picture {card.path}, with the same in its place."
        return replace(
            card, heats=heats, frame=_pack(draw_on_frame(frame, explanation.heats), alt, FRAME_PX)
        )

    def _heat_alt(self, heat: Heat, label: str) -> str:
        if not heat.heat.any():
            return f"{self.method}: nothing in the crop spoke for {label}."
        y, x = np.unravel_index(int(heat.heat.argmax()), heat.heat.shape)
        height, width = heat.heat.shape
        rows, columns = ("top", "middle", "bottom"), ("left", "centre", "right")
        where = f"{rows[int(3 * y / height)]} {columns[int(3 * x / width)]}"
        return f"{self.method}: what spoke for {label} is strongest at the {where} of the crop."

    def _is_same(self, i: int, looked: Looked) -> bool:
        """Whether the run scores a picture as it did; one that it cannot score tells nothing."""
        found = looked.prediction.probabilities
        if found is None:
            return True
        kept = float(self.scores.pictures.scores[i])
        return abs(found[self.scores.evaluation.target] - kept) <= SAME_SCORE


def _source_text(prediction: Prediction) -> str:
    if prediction.source == "face":
        return f"face, score {prediction.face_score or 0:.2f}"
    why = next((text for reason, text in REASON_TEXT.items() if reason == prediction.reason), "")
    return f"full frame: {why}" if why else "full frame"


def _pack(image: Image, alt: str, longest: int) -> Shot:
    """Return the picture as a JPEG of at most ``longest`` pixels along its longer side."""
    picture = PillowImage.fromarray(image)
    picture.thumbnail((longest, longest), PillowImage.Resampling.LANCZOS)
    buffer = io.BytesIO()
    picture.save(buffer, "JPEG", quality=_QUALITY, optimize=True)
    data = base64.b64encode(buffer.getvalue()).decode()
    return Shot(f"data:image/jpeg;base64,{data}", alt, picture.width, picture.height)


def fill_galleries(
    choice: Choice, shots: Shots, evaluation: Evaluation, method: str = "", most: int | None = None
) -> list[Gallery]:
    """Return every gallery.

    Args:
        choice: What is shown.
        shots: Its cards.
        evaluation: Of the scores.
        method: How it was found what spoke for a class, in words; empty: it was not looked for.
        most: Of how many pictures of a gallery it was; None: of all.
    """
    explained = _explained_text(evaluation, method, most)
    mistakes = _count(len(choice.mistakes), choice.wrong)
    kinds: tuple[tuple[str, str, str, Sequence[int], GalleryForm], ...] = (
        (
            "mistakes",
            "Answered wrongly",
            f"{mistakes}, the surest of each kind first.{explained}"
            if choice.wrong
            else "No picture was answered wrongly.",
            choice.mistakes,
            "explained",
        ),
        (
            "least-certain",
            "Least certain",
            f"The answers nearest to another one, right or wrong.{explained}",
            choice.uncertain,
            "explained",
        ),
        ("most-certain", "Most certain and right", _CERTAIN, choice.certain, "plain"),
        ("sample", "Contact sheet", _SAMPLE, choice.sample, "small"),
    )
    return [
        Gallery(name, title, remark, tuple(shots.cards[i] for i in chosen), form)
        for name, title, remark, chosen, form in kinds
    ]


def _count(shown: int, total: int) -> str:
    return count_text(total, "picture") if shown == total else f"{shown} of {total} pictures"


def _explained_text(evaluation: Evaluation, method: str, most: int | None) -> str:
    if not method:
        return ""
    is_two = len(evaluation.overall.classes) == 2
    what = repr(evaluation.target) if is_two else "the answer given"
    of_some = f" of the first {most}" if most else ""
    return (
        f" {method} shows{of_some} what in the crop spoke for {what}: the brighter, the more; "
        "inside the line is at least half of the most."
    )
