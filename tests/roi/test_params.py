"""The recipe is a value: its digest names every setting that changes a pixel."""

import json
from dataclasses import fields, replace
from typing import Any

import pytest

from roi_cls.base.errors import BundleError
from roi_cls.roi.params import CropParams, DetectorKind

# One other value for each field; test_every_field_is_in_the_table fails when one is missing.
OTHERS: dict[str, Any] = {
    "crop": "full",
    "detector": "short",
    "detector_sha256": ("a" * 64,),
    "min_score": 0.6,
    "min_face_px": 30,
    "face": "central",
    "margin": 0.31,
    "align": True,
    "size_px": 225,
    "fallback": "skip",
    "full_frame": "squash",
    "border": "constant",
    "resampling": "lanczos",
    "color": "stored",
    "damaged": "read",
}
DETECTION_FIELDS = {"color", "crop", "damaged", "detector", "detector_sha256", "min_score"}


def test_every_field_is_in_the_table() -> None:
    assert OTHERS.keys() == {field.name for field in fields(CropParams)}


def test_digest_never_changes_for_the_same_recipe() -> None:
    # Of values that are given, so that other defaults need no other digest here.
    params = CropParams(**{**OTHERS, "crop": "face", "border": "shift"})
    assert params.digest == "16c10ad109e64a65f25c5975bd1a4c9a9d16822b49740490815604b9064780b7"
    assert (
        params.detector_digest == "99166683dabcc8565ce09bb654648165067796047e8399ffe906795048f79b55"
    )


@pytest.mark.parametrize("name", OTHERS)
def test_digest_changes_with_every_field(name: str) -> None:
    assert replace(CropParams(), **{name: OTHERS[name]}).digest != CropParams().digest


@pytest.mark.parametrize("name", OTHERS)
def test_detector_digest_changes_only_with_what_decides_a_detection(name: str) -> None:
    other = replace(CropParams(), **{name: OTHERS[name]})
    changed = other.detector_digest != CropParams().detector_digest
    assert changed is (name in DETECTION_FIELDS)


@pytest.mark.parametrize(
    ("detector", "is_other"), [("auto", True), ("mediapipe", True), ("short", False)]
)
def test_all_faces_need_a_detection_of_their_own_where_the_search_may_end_early(
    detector: DetectorKind, is_other: bool
) -> None:
    largest = CropParams(detector=detector)
    every = replace(largest, face="all")
    assert every.wants_all_faces is is_other
    assert (every.detector_digest != largest.detector_digest) is is_other


def test_full_crops_share_one_empty_detection_whatever_the_detector() -> None:
    full = CropParams(crop="full")
    assert full.detector_digest == replace(full, detector="short", min_score=0.9).detector_digest


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (CropParams(margin=0), CropParams(margin=0.0)),
        (CropParams(min_score=1), CropParams(min_score=1.0)),
        (
            CropParams(detector_sha256=["a"]),  # type: ignore[arg-type]  # as JSON has it
            CropParams(detector_sha256=("a",)),
        ),
    ],
)
def test_equal_recipes_have_equal_digests(one: CropParams, other: CropParams) -> None:
    assert one == other
    assert one.digest == other.digest
    assert hash(one) == hash(other)


@pytest.mark.parametrize("name", [None, *OTHERS])
def test_json_gives_back_the_same_recipe(name: str | None) -> None:
    params = replace(CropParams(), **({name: OTHERS[name]} if name else {}))
    again = CropParams.from_dict(json.loads(json.dumps(params.to_dict())))
    assert again == params
    assert again.digest == params.digest


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"crop": "half"}, r"crop must be one of \('face', 'full'\), got 'half'"),
        ({"border": "wrap"}, r"border must be one of .*'shift'\), got 'wrap'"),
        ({"fallback": "none"}, r"fallback must be one of .*'skip', 'error'\), got 'none'"),
        ({"damaged": "skip"}, r"damaged must be one of \('error', 'read'\), got 'skip'"),
        ({"face": []}, r"face must be one of .*, got \[\]"),
        ({"min_score": -0.1}, r"min_score must be between 0 and 1, got -0\.1"),
        ({"min_score": float("nan")}, r"min_score must be between 0 and 1, got nan"),
        ({"min_face_px": -1}, r"min_face_px must not be negative, got -1"),
        ({"min_face_px": 1.5}, r"min_face_px must be int, got 1\.5"),
        ({"margin": 5.1}, r"margin must be between 0 and 5, got 5\.1"),
        ({"size_px": 7}, r"size_px must be between 8 and 4096, got 7"),
        ({"size_px": 4097}, r"size_px must be between 8 and 4096, got 4097"),
        ({"size_px": 224.5}, r"size_px must be int, got 224\.5"),
        ({"align": 1}, r"align must be bool, got 1"),
        ({"detector_sha256": "abc"}, r"detector_sha256 must be a list, got 'abc'"),
    ],
)
def test_value_out_of_range_is_refused(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=f"^{message}$"):
        CropParams(**changes)
    with pytest.raises(BundleError, match=f"^Cannot use the crop recipe: {message}. The file was "):
        CropParams.from_dict({**CropParams().to_dict(), **changes})


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (
            {"version": 99},
            "Cannot use the crop recipe: it has version 99, this roi-cls crops by version 3: it "
            "would show the model other pixels than those it was trained and judged on. Train "
            "again, or install the roi-cls that wrote it.",
        ),
        (
            {"colour": "red", "tilt": 1},
            "Cannot use the crop recipe: its fields differ in colour, tilt. "
            "Install the roi-cls that wrote it.",
        ),
    ],
)
def test_recipe_of_another_program_is_refused(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(BundleError) as caught:
        CropParams.from_dict({**CropParams().to_dict(), **changes})
    assert str(caught.value) == message


def test_recipe_without_a_field_is_refused() -> None:
    values = CropParams().to_dict()
    del values["margin"]
    with pytest.raises(BundleError, match=r"its fields differ in margin\."):
        CropParams.from_dict(values)


def test_recipe_of_a_wrong_type_is_refused() -> None:
    with pytest.raises(BundleError, match=r"The file was changed by hand; train again\.$"):
        CropParams.from_dict({**CropParams().to_dict(), "margin": None})
