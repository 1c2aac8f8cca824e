"""How ``auto`` looks for faces: MediaPipe's short range first, YuNet where that is not sure.

Short range says at once what is plain. What YuNet proposes, at one scale after the other, is looked
at again by MediaPipe's full range, close up: two networks of different make that agree are right
where each alone takes a dog for a man. A face may be turned; then it is told as it lies.

The figures below are of 240 street photographs and parts of them, of 287 pictures without a face
and parts of them (animals, dials, a teddy), of 248 portraits, and of 600 photographs of faces, half
of them with a mask. `benchmarks/crops/detection.md` has what comes of it.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace

from roi_cls.roi.detection.faces import (
    SCORE_FLOOR,
    See,
    best_first,
    find_again,
    merge_faces,
    merge_suspects,
)
from roi_cls.roi.detection.glimpse import (
    Glimpse,
    glimpse_frame,
    glimpse_region,
    glimpse_scaled,
    surround,
)
from roi_cls.roi.detection.models import ModelName
from roi_cls.roi.face import Detection, Face, Step
from roi_cls.roi.picture import Picture

SURE = 0.85
"""Score from which short range is believed of a face in the frame, and that it is upright.

88 % of portraits reach it in the frame. Turned by 90, 180 or 270 degrees 2.5, 0 and 0.8 % do; of
face-free pictures none.
"""
DOUBTED = 0.75
"""Score from which a face that short range alone sees in the frame is looked at again."""
HINT = 0.3
"""Score that anything must have, else there is nothing to look at turned: so with half of the
face-free pictures."""
PROPOSED = 0.5
"""Score from which YuNet proposes a face. From 0.4 on there is nothing more that would count."""
SCALES_PX = (320, 640, 1280)
"""The frame's longer side, in pixels, as YuNet is given it in turn.

At 320 it sees every one of 248 portraits with 0.85 or more, at 640 only 80 % of them: faces beyond
300 px are too large for it. At 640 it sees the small ones. 5, 16 and 60 ms on one core.
"""
MOST_ENLARGED = 4
"""How far a picture is enlarged for the second scale at most: a thumbnail has no small faces."""
SMALL = 0.1
"""Share of the frame's longer side below which a face is small: then 320 px place it badly, and
full range close up sees too little of it to say much."""
SMALL_FACE_GAIN = 1.25
"""By how much the score of a small face is raised after the second look.

False faces are large: of 91 small false proposals 3 reach 0.4, of 541 true ones 74 % (20 to 32 of
640 px) to 90 % (48 to 64).
"""
WORD = 0.8
"""Score from which YuNet is believed of a small face: no false one of 91 reached it."""
IN_COMPANY = 0.6
"""The same in a picture that has another face: where people are there are more of them."""
CONTEXT = 6.0
"""Sides of the square that full range is shown around a face, in sides of the face.

Where 1 % of the face-free pictures may be wrong, YuNet at 640 px alone finds 76 % of all faces in
street photographs, its mean with full range at 3 sides less, at 6 sides 76 %; where 0.3 % may be,
59 and 71 %.
"""
MOST_SUSPECTS = 24
"""Proposals of a scale looked at again, the highest scores first: what bounds the cost."""
TURNS = (90.0, 180.0, 270.0)
"""Degrees by which a view is turned where a face may be turned."""
TURNED_PX = 64
"""Side of a face from which it is looked at turned: smaller ones look alike to short range."""
TURN_CONTEXTS = (2.0, 3.0)
"""Sides, likewise, of the squares in which short range compares a face with itself turned."""
TURN_SCORE = 0.7
"""Score that a turned face must have, the mean over ``TURN_CONTEXTS``, …"""
TURN_LEAD = 0.05
"""… and by how much more than upright: 98 % of portraits are then told as they are turned, 87 % of
faces with masks, and none of the upright portraits and 1 % of the upright masks as if turned."""
TURNED_ALONE = 0.75
"""Score of a turned face that would not count upright: two of a dog's eyes reached 0.58."""
LEANING = 12.0
"""Degrees of roll from which a face is looked at once more, turned upright by that.

The keypoints lean less than the head does: of portraits turned by 60 degrees they tell 13 to 33."""
MOST_LOOKS_LEANING = 3
"""How often, as long as it leans so much in the view that was turned for it."""


def find_faces(
    picture: Picture, see: See, min_score: float, *, wants_all: bool = False
) -> Detection:
    """Return every face seen, best first; the score of one in doubt is the mean of two networks.

    Args:
        picture: Upright.
        see: The networks ``short``, ``full`` and ``yunet``.
        min_score: From which a face counts.
        wants_all: Look at every scale, also after one has shown a face: for crowds.
    """
    faces, step = _Search(picture, see, min_score, glimpse_frame(picture)).run(wants_all)
    return Detection(picture.height, picture.width, faces, step)


@dataclass(frozen=True, slots=True)
class _Search:
    picture: Picture
    see: See
    min_score: float
    frame: Glimpse

    def run(self, wants_all: bool) -> tuple[tuple[Face, ...], Step]:
        seen = self._look("short", self.frame)
        known = tuple(face for face in seen if self._is_sure(face))
        # Beside a face that is sure all others are looked at again, else YuNet proposes them.
        again = (face for face in seen if face not in known and (known or face.score >= DOUBTED))
        known = self._keep((*known, *self._judge_all(again, known)))
        if self._counts(known) and not wants_all:
            return self._settle(known), "short"
        hints = [face.score for face in seen]
        for side_px in self._scales():
            seen = self._look("yunet", self._evenly(glimpse_scaled(self.picture, side_px)))
            hints += [face.score for face in seen]
            if side_px == SCALES_PX[0]:
                seen = tuple(face for face in seen if not self._is_small(face))
            known = self._keep((*known, *self._judge_all(seen, known)))
            if self._counts(known) and not wants_all:
                break
        if self._counts(known) or max(hints, default=0) < HINT:
            return self._settle(known), "yunet"
        return self._settle((*known, *self._look_turned())), "turned"

    def _look(self, network: ModelName, glimpse: Glimpse) -> tuple[Face, ...]:
        return tuple(glimpse.place(face) for face in self.see(network, glimpse.image))

    def _evenly(self, glimpse: Glimpse) -> Glimpse:
        return glimpse.mirror() if self.frame.is_mirrored else glimpse

    def _scales(self) -> tuple[int, ...]:
        first, *others = SCALES_PX
        longer = max(self.picture.height, self.picture.width)
        # Beyond the second scale there is nothing to enlarge for: 640 px show faces of 10 px.
        limits = (MOST_ENLARGED * longer, longer)
        return (first, *(side for side, limit in zip(others, limits, strict=True) if side <= limit))

    def _judge_all(self, seen: Iterable[Face], known: tuple[Face, ...]) -> tuple[Face, ...]:
        """Return the faces that are not known yet, each with the score after a second look."""
        new = [face for face in merge_suspects(seen) if not find_again(face, known)]
        judged: list[Face] = []
        for face in new[:MOST_SUSPECTS]:
            judged.append(self._judge(face, self._counts((*known, *judged))))
        return tuple(judged)

    def _judge(self, face: Face, in_company: bool) -> Face:
        is_small = self._is_small(face)
        believed = IN_COMPANY if in_company else WORD
        if is_small and face.model == "yunet" and face.score >= max(believed, self.min_score):
            return face
        if face.score < min(PROPOSED, self.min_score):
            return replace(face, score=face.score / 2)
        confirmed = self._confirm(face, 0, SMALL_FACE_GAIN if is_small else 1.0)
        return confirmed if _side(face) < TURNED_PX else self._set_upright(confirmed)

    def _confirm(self, face: Face, angle: float, gain: float = 1.0) -> Face:
        """Return the face with the mean of its score and of full range's, close up."""
        again = find_again(face, self._look("full", self._around(face, CONTEXT, angle)))
        score = (face.score + sum(other.score for other in again)) / 2
        return replace(face, score=min(1.0, gain * score))

    def _set_upright(self, face: Face) -> Face:
        """Return the face, as short range sees it the right way up where that is turned."""
        near, wide = TURN_CONTEXTS
        reading = self._see_close(face, near, 0)
        upright = reading.score
        # The keypoints of a face that lies on its side lean: then every turn is tried.
        is_level = upright > 0 and abs(reading.roll or 0.0) < LEANING
        views = {a: self._see_close(face, near, a) for a in ((180.0,) if is_level else TURNS)}
        angle, turned = max(views.items(), key=lambda view: view[1].score)
        if turned.score < max(TURN_SCORE, upright + TURN_LEAD):
            return face
        upright = (upright + self._see_close(face, wide, 0).score) / 2
        score = (turned.score + self._see_close(face, wide, angle).score) / 2
        if score < max(TURN_SCORE, upright + TURN_LEAD):
            return face
        confirmed = self._confirm(turned, angle)
        if not self._counts([face]) and confirmed.score < TURNED_ALONE:
            return face
        return replace(confirmed, score=max(face.score, confirmed.score))

    def _see_close(self, face: Face, context: float, angle: float) -> Face:
        """Return the face as short range sees it close up, with score 0 where it does not."""
        # Turned, a face is seen elsewhere in its box: its middle, not the overlap, says it is one.
        seen = self._look("short", self._around(face, context, angle))
        same = best_first(other for other in seen if face.box.holds(*other.box.center))
        return next(iter(same), replace(face, score=0.0))

    def _look_turned(self) -> tuple[Face, ...]:
        """Return what short range sees in the frame when that is turned, after a second look."""
        found: list[Face] = []
        for angle in TURNS:
            for face in self._look("short", self.frame.turn(angle)):
                if face.score >= DOUBTED:
                    sure = self._is_sure(face)
                    found.append(face if sure else self._confirm(face, angle))
        return tuple(face for face in found if face.score >= max(TURNED_ALONE, self.min_score))

    def _around(self, face: Face, context: float, angle: float) -> Glimpse:
        region = surround(face.box, context, self.picture.height, self.picture.width)
        return self._evenly(glimpse_region(self.picture, region)).turn(angle)

    def _settle(self, faces: Iterable[Face]) -> tuple[Face, ...]:
        return tuple(
            self._straighten(face) if self._counts([face]) and _side(face) >= TURNED_PX else face
            for face in self._keep(faces)
        )

    def _straighten(self, face: Face) -> Face:
        """Return the face as short range sees it in a view in which it leans little."""
        viewed_at = 0.0
        for _ in range(MOST_LOOKS_LEANING):
            roll = face.roll or 0.0
            if abs((roll - viewed_at + 180) % 360 - 180) < LEANING:
                break
            viewed_at = roll
            again = self._see_close(
                face, TURN_CONTEXTS[0], roll if self.frame.is_mirrored else -roll
            )
            if not again.score:
                break
            face = replace(again, score=face.score)
        return face

    def _is_sure(self, face: Face) -> bool:
        return face.score >= max(SURE, self.min_score)

    def _is_small(self, face: Face) -> bool:
        longer = max(self.picture.height, self.picture.width)
        return _side(face) < SMALL * longer

    def _counts(self, faces: Iterable[Face]) -> bool:
        return any(face.score >= self.min_score for face in faces)

    def _keep(self, faces: Iterable[Face]) -> tuple[Face, ...]:
        floor = min(SCORE_FLOOR, self.min_score)
        return merge_faces(face for face in faces if face.score >= floor)


def _side(face: Face) -> float:
    return max(face.box.width, face.box.height)
