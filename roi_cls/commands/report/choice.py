"""Which pictures a report shows: mistakes, the surest and the least sure, and a sample of all."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from roi_cls.classifier.evaluation.pictures import ScoredPictures, mistake_kind, share_places

MOST_MISTAKES = 36
MOST_CERTAIN = 12
MOST_UNCERTAIN = 12
MOST_SAMPLED = 60


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
    kinds = [kind_of(pictures, i) for i in wrong]
    return Choice(
        mistakes=_pick(wrong, kinds, MOST_MISTAKES),
        wrong=len(wrong),
        certain=_pick(right, [str(answers[i]) for i in right], MOST_CERTAIN),
        uncertain=tuple(int(i) for i in surest[::-1][:MOST_UNCERTAIN]),
        sample=_spread(pictures),
    )


def kind_of(pictures: ScoredPictures, i: int) -> str:
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
