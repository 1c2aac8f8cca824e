"""The frames of a video make its answer, by the model's own threshold."""

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from roi_cls.classifier.config import Aggregate
from roi_cls.classifier.inference.prediction import Prediction
from roi_cls.commands.predict.run import VideoAnswer
from roi_cls.data.sample import LabelSet


class Decider:
    """Decides like a predictor with two classes and the threshold 0.4."""

    runtime = "torch"
    bundle = SimpleNamespace(labels=LabelSet(("odd", "plain"), "odd"))

    def verdict(self, scores: NDArray[np.float64]) -> dict[str, Any]:
        """Return what a prediction tells."""
        answer = 0 if scores[0] >= 0.4 else 1
        return {
            "label": ("odd", "plain")[answer],
            "score": float(scores[answer]),
            "probabilities": dict(zip(("odd", "plain"), map(float, scores), strict=True)),
            "unsure": bool(abs(scores[0] - 0.4) < 0.05),
            "threshold": 0.4,
        }


def frame(odd: float, time_s: float) -> Prediction:
    scores = {"odd": odd, "plain": 1 - odd}
    return Prediction(
        "clip", "ok", None, "odd", odd, scores, source="face", box=(1, 2, 3, 4), time_s=time_s
    )


def answer(frames: list[Prediction], aggregate: Aggregate = "mean") -> Prediction | None:
    video = VideoAnswer(Decider(), aggregate)  # type: ignore[arg-type]  # all of it that is used
    for each in frames:
        video.add(each)
    return video.to_prediction()


@pytest.mark.parametrize(
    ("scores", "label", "odd", "unsure"),
    [
        ((0.9, 0.1, 0.5), "odd", 0.5, False),
        ((0.1, 0.2), "plain", 0.15, False),
        ((0.42,), "odd", 0.42, True),
    ],
)
def test_mean_is_decided_as_a_picture_is(
    scores: tuple[float, ...], label: str, odd: float, unsure: bool
) -> None:
    whole = answer([frame(score, i / 2) for i, score in enumerate(scores)])
    assert whole is not None
    assert (whole.path, whole.status, whole.label) == ("clip", "ok", label)
    assert whole.probabilities == pytest.approx({"odd": odd, "plain": 1 - odd})
    assert whole.score == pytest.approx(odd if label == "odd" else 1 - odd)
    assert (whole.unsure, whole.frames, whole.time_s) == (unsure, len(scores), None)
    assert (whole.box, whole.source) == (None, None)


def test_highest_is_the_first_frame_most_like_the_target() -> None:
    whole = answer([frame(0.1, 0.0), frame(0.8, 0.5), frame(0.8, 1.0), frame(0.2, 1.5)], "max")
    assert whole is not None
    assert (whole.time_s, whole.frames, whole.probabilities) == (
        0.5,
        4,
        {"odd": 0.8, "plain": 1 - 0.8},
    )


def test_frames_that_were_not_scored_do_not_count() -> None:
    skipped = Prediction("clip", "skipped", reason="no_face", time_s=0.5)
    broken = Prediction("clip", "error", "Cannot read 'clip': it ends.")
    whole = answer([frame(0.8, 0.0), skipped, broken])
    assert whole is not None
    assert (whole.status, whole.frames, whole.label) == ("ok", 1, "odd")


def test_video_of_skipped_frames_is_skipped() -> None:
    whole = answer([Prediction("clip", "skipped", reason="no_face", time_s=0.0)])
    assert whole == Prediction("clip", "skipped", frames=0)


def test_video_that_cannot_be_read_has_its_error_alone() -> None:
    assert answer([Prediction("clip", "error", "Cannot read 'clip': it is empty.")]) is None
    assert answer([]) is None
