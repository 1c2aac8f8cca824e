"""What is said about a picture's faces: which is cut, which are refused and why. Draws nothing."""

from __future__ import annotations

from roi_cls.cache import CropRecord
from roi_cls.frame_view import Mark
from roi_cls.recipe_text import CHOICE_TEXT, STEP_TEXT, count_text, score_text, size_text
from roi_cls.roi import REASON_TEXT, CropParams, Cut, Detection, Face


def mark_faces(record: CropRecord, detection: Detection, params: CropParams) -> list[Mark]:
    """Return every face seen with what became of it, those that are cut first.

    Faces that count are numbered, those that are cut in the order of their crops; a refused one
    bears what it lacks.
    """
    chosen = [cut.face for cut in record.cuts if cut.face]
    boxes = {face.box for face in chosen}
    others = [face for face in detection.faces if face.box not in boxes]
    counting = [face for face in others if refusal(face, params) is None]
    alone = len(chosen) + len(counting) == 1
    marks = []
    for number, face in enumerate([*chosen, *counting], start=1):
        score = score_text(face.score)
        tag = score if alone else f"{number}: {score}"
        marks.append(Mark(face, "cut" if number <= len(chosen) else "counts", tag))
    refused = ((face, refusal(face, params)) for face in others)
    return marks + [Mark(face, "refused", tag) for face, tag in refused if tag]


def refusal(face: Face, params: CropParams) -> str | None:
    """Return what a face lacks, as ``0.31 < 0.5`` or ``18 px < 24``; None: it counts."""
    if face.score < params.min_score:
        return f"{score_text(face.score)} < {params.min_score:g}"
    side = min(face.box.width, face.box.height)
    if side < params.min_face_px:
        return f"{int(side)} px < {params.min_face_px}"
    return None


def caption(record: CropRecord, detection: Detection, params: CropParams) -> list[str]:
    """Return sentences: what was cut and why, who found it, and what was refused."""
    texts = [f"{_cut_text(record, params)}."]
    faint = sum(face.score < params.min_score for face in detection.faces)
    small = sum(refusal(face, params) is not None for face in detection.faces) - faint
    refused = [f"{count_text(faint, 'face')} with a score below {params.min_score:g}"] * bool(faint)
    if small:
        refused.append(f"{count_text(small, 'face')} smaller than {params.min_face_px} px")
    if refused:
        texts.append(f"Also seen, but refused: {' and '.join(refused)}.")
    texts.append(f"The picture has {size_text(detection.width, detection.height)}.")
    return texts


def crop_words(cut: Cut, size_px: int, number: int | None) -> tuple[str, ...]:
    """Return the lines below a crop: which it is, and how its region became it."""
    region = size_text(cut.region.width, cut.region.height)
    turned = f", turned by {cut.angle:.1f}°" if cut.angle else ""
    words = [f"crop of {size_px} x {size_px} px"]
    if number is not None and cut.face:
        words = [f"{number}: {score_text(cut.face.score)}"]
    return (*words, f"from {region}{turned}", _scale_text(cut, size_px))


def _cut_text(record: CropRecord, params: CropParams) -> str:
    step = next((text for name, text in STEP_TEXT.items() if name == record.step), None)
    if params.wants_all_faces:  # the last step then says nothing about who found a face
        step = "all steps of the detector"
    reason = next((text for name, text in REASON_TEXT.items() if name == record.reason), None)
    cuts = record.cuts
    if len(cuts) > 1:
        return f"{len(cuts)} faces, each cut{f', found by {step}' if step else ''}"
    if cuts and (face := cuts[0].face):
        which = f"Face 1 of {record.faces} ({CHOICE_TEXT[params.face]})"
        size = size_text(face.box.width, face.box.height)
        return (
            f"{which if record.faces > 1 else 'One face'}, score {score_text(face.score)}, "
            f"{size}{f', found by {step}' if step else ''}"
        )
    if not cuts:
        return f"Skipped: {reason}, and the recipe has no substitute for a face"
    if reason is None:
        return "Full frame, as the recipe says: no face was looked for"
    what = "Centre of the frame" if params.fallback == "center" else "Full frame"
    return f"{what}: {reason}{f', asked last: {step}' if step else ''}"


def _scale_text(cut: Cut, size_px: int) -> str:
    if round(cut.region.width) != round(cut.region.height):
        return "squashed"
    scale = size_px / cut.region.width
    if scale == 1:
        return "as it is"
    return f"{'enlarged' if scale > 1 else 'reduced'} to {100 * scale:.3g} %"
