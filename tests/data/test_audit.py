"""Audits of drawn sets: every planted fault is found and nothing else; what tells the label."""

from __future__ import annotations

import json
from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image as PillowImage
from sklearn.metrics import roc_auc_score

from roi_cls.cache.options import BuildOptions
from roi_cls.data.audit import (
    Audit,
    LabelStatistic,
    audit_samples,
    audit_verdict,
    measure_statistics,
)
from roi_cls.data.collect import collect_samples
from roi_cls.data.picture_facts import PictureFacts, read_all_facts, read_facts
from roi_cls.roi.image import Image
from roi_cls.roi.image_header import MAX_PIXELS
from tests.helpers.colours import PROFILES


@pytest.fixture(scope="module")
def pictures() -> list[Image]:
    """80 pictures of 224 x 320, all different: coarse patches of colour under fine noise."""
    rng = np.random.default_rng(1)
    patches = rng.integers(40, 216, (80, 7, 10, 3)).astype(np.float32)
    noise = rng.normal(0, 6, (80, 224, 320, 3))
    return [
        np.clip(cv2.resize(one, (320, 224)) + fine, 0, 255).astype(np.uint8)
        for one, fine in zip(patches, noise, strict=True)
    ]


@pytest.fixture
def folder(tmp_path: Path, pictures: list[Image]) -> Path:
    """20 pictures of ``a`` and 20 of ``b`` in each of train and test."""
    for i, image in enumerate(pictures):
        place = tmp_path / ("train" if i < 40 else "test") / "ab"[i % 2]
        place.mkdir(parents=True, exist_ok=True)
        cv2.imwrite(str(place / f"{i:02}.png"), image)
    return tmp_path


def audit(folder: Path, workers: int = 0) -> Audit:
    samples = collect_samples(folder)
    options = BuildOptions(folder / "cache", workers)
    return audit_samples(samples, list(read_all_facts([s.path for s in samples], options)))


def test_sound_set_has_no_findings(folder: Path) -> None:
    found = audit(folder)
    assert found.findings == ()
    assert not found.failed
    assert found.parts == {"train": {"a": 20, "b": 20}, "test": {"a": 20, "b": 20}}
    assert not any(one.betrays for one in found.statistics)
    assert {one.name for one in found.statistics} >= {"sharpness", "brightness", "file_bytes"}


def test_leaks_and_conflicts_fail(folder: Path, pictures: list[Image]) -> None:
    (folder / "test/a/copy.png").write_bytes((folder / "train/a/00.png").read_bytes())
    (folder / "train/b/twin.png").write_bytes((folder / "train/a/02.png").read_bytes())
    cv2.imwrite(str(folder / "test/a/again.jpg"), pictures[4])
    found = audit(folder)
    assert found.failed
    assert found.leaks == ((folder / "train/a/00.png", folder / "test/a/copy.png"),)
    assert found.conflicts == ((folder / "train/a/02.png", folder / "train/b/twin.png"),)
    assert found.near_leaks == ((folder / "train/a/04.png", folder / "test/a/again.jpg"),)
    assert len(found.exact_duplicates) == 2
    assert found.near_duplicates == ((folder / "test/a/again.jpg", folder / "train/a/04.png"),)
    assert [(one.kind, one.level, one.text) for one in found.findings] == [
        ("leaks", "fail", "Pictures with the same bytes in two parts: 1."),
        ("near_leaks", "fail", "Pictures that look alike in two parts: 1."),
        ("conflicts", "fail", "Pictures with the bytes of another and another label: 1."),
        ("exact_duplicates", "warn", "Sets of files with the same bytes: 2."),
        ("near_duplicates", "warn", "Sets of pictures that look alike: 1."),
    ]


def test_like_picture_with_another_label_is_a_warning(folder: Path, pictures: list[Image]) -> None:
    cv2.imwrite(str(folder / "train/b/retouched.jpg"), pictures[6])
    found = audit(folder)
    assert found.near_conflicts == ((folder / "train/a/06.png", folder / "train/b/retouched.jpg"),)
    assert not found.failed


def test_unreadable_files_are_listed_and_measured_no_further(folder: Path) -> None:
    (folder / "train/a/00.png").write_bytes(b"no picture at all")
    (folder / "train/a/02.png").write_bytes((folder / "train/a/04.png").read_bytes()[:2000])
    found = audit(folder)
    assert [path.name for path, _ in found.unreadable] == ["00.png", "02.png"]
    assert "it is cut off after 2000 bytes" in found.unreadable[1][1]
    assert [path.name for path in found.damaged] == ["02.png"]
    assert [(one.kind, one.text) for one in found.findings] == [
        ("unreadable", "Files that cannot be read: 2."),
        ("damaged", "Pictures among them that are cut off or damaged: 1."),
    ]
    assert "80 pictures, 2 of them unreadable (1 damaged). " in audit_verdict(found)
    assert found.to_dict()["damaged"] == [str(folder / "train/a/02.png")]
    assert not found.failed
    assert found.parts["train"] == {"a": 20, "b": 20}


def test_format_that_betrays_the_label_is_told(folder: Path, pictures: list[Image]) -> None:
    for i in range(0, 80, 2):
        part = "train" if i < 40 else "test"
        (folder / part / "a" / f"{i:02}.png").unlink()
        path = str(folder / part / "a" / f"{i:02}.jpg")
        cv2.imwrite(path, pictures[i], [cv2.IMWRITE_JPEG_QUALITY, 60])
    found = audit(folder)
    betraying = {one.name for one in found.statistics if one.betrays}
    assert {"format", "suffix", "jpeg_tables", "jpeg_coarseness", "bits_per_pixel"} <= betraying
    assert "brightness" not in betraying
    texts = [one.text for one in found.findings if one.kind == "statistics"]
    assert any(
        text.startswith("format alone tells 'a' from the others with ROC-AUC 1.00 (JPEG: 100% ")
        and text.endswith(": a model may learn it instead.")
        for text in texts
    )
    assert not found.failed


def test_colour_profile_of_one_class_is_told(folder: Path) -> None:
    for path in folder.rglob("a/*.png"):
        PillowImage.open(path).save(path, icc_profile=PROFILES["Display P3"])
    found = audit(folder)
    assert found.color_profiles == {"Display P3": {"a": 40, "b": 0}, "none": {"a": 0, "b": 40}}
    assert any(
        one.text.startswith("color_profile alone tells 'a' from the others with ROC-AUC 1.00 (")
        for one in found.findings
    )


def test_small_parts_are_told(folder: Path) -> None:
    for i in range(40, 60, 2):
        (folder / "test" / "a" / f"{i:02}.png").unlink()
    assert [one.text for one in audit(folder).findings] == [
        "The part 'test' has only 10 a: numbers on it will be uncertain."
    ]


def test_json_has_every_list(folder: Path) -> None:
    (folder / "test/a/copy.png").write_bytes((folder / "train/a/00.png").read_bytes())
    values = json.loads(json.dumps(audit(folder).to_dict()))
    assert values["failed"] is True
    assert values["leaks"] == [[str(folder / "train/a/00.png"), str(folder / "test/a/copy.png")]]
    assert values["parts"] == {"train": {"a": 20, "b": 20}, "test": {"a": 21, "b": 20}}
    assert values["statistics"][0].keys() >= {"name", "label", "roc_auc", "p_corrected", "betrays"}
    assert values["findings"][0]["level"] == "fail"


def test_processes_see_what_one_sees(folder: Path) -> None:
    (folder / "train/a/00.png").write_bytes(b"no picture at all")
    assert audit(folder, workers=2).to_dict() == audit(folder).to_dict()


def facts_of(path: Path) -> tuple[dict[str, str], dict[str, float]]:
    facts = read_facts(path, MAX_PIXELS)
    assert facts.error is None
    return dict(facts.categories), dict(facts.quantities)


def test_facts_of_a_jpeg(tmp_path: Path, pictures: list[Image]) -> None:
    path = tmp_path / "a.JPG"
    cv2.imwrite(str(path), pictures[0], [cv2.IMWRITE_JPEG_QUALITY, 50])
    categories, quantities = facts_of(path)
    assert categories["format"] == "JPEG"
    assert categories["size"] == "320 x 224"
    assert categories["suffix"] == ".jpg"
    assert categories["exif"] == "no"
    assert quantities["bits_per_pixel"] == pytest.approx(path.stat().st_size * 8 / 320 / 224)
    cv2.imwrite(str(tmp_path / "b.jpg"), pictures[0], [cv2.IMWRITE_JPEG_QUALITY, 95])
    finer, fine = facts_of(tmp_path / "b.jpg")
    assert finer["jpeg_tables"] != categories["jpeg_tables"]
    assert fine["jpeg_coarseness"] < quantities["jpeg_coarseness"]


def test_facts_of_a_plain_png(tmp_path: Path) -> None:
    cv2.imwrite(str(tmp_path / "grey.png"), np.full((20, 30), 77, np.uint8))
    categories, quantities = facts_of(tmp_path / "grey.png")
    assert (categories["format"], categories["colour_mode"]) == ("PNG", "L")
    assert categories["jpeg_tables"] == categories["color_profile"] == "none"
    assert quantities["brightness"] == 77
    assert quantities["contrast"] == quantities["sharpness"] == quantities["saturation"] == 0


def test_blurred_picture_is_less_sharp(tmp_path: Path, pictures: list[Image]) -> None:
    cv2.imwrite(str(tmp_path / "a.png"), pictures[3])
    cv2.imwrite(str(tmp_path / "b.png"), cv2.GaussianBlur(pictures[3], (0, 0), 2))
    sharp, blurred = (facts_of(tmp_path / name)[1]["sharpness"] for name in ("a.png", "b.png"))
    assert blurred < sharp / 2


def test_reader_that_died_is_a_fault_of_its_picture(tmp_path: Path) -> None:
    from roi_cls.data.picture_facts import _died

    assert _died(Path("a.png"), -11) == PictureFacts(
        Path("a.png"),
        "Cannot read 'a.png': the process that decoded it died (exit code -11). Remove the "
        "picture or convert it to PNG.",
    )


LABELS = ["bad"] * 20 + ["good"] * 180


def only(
    quantities: dict[str, list[float]] | None = None,
    categories: dict[str, list[str]] | None = None,
    labels: list[str] = LABELS,
) -> LabelStatistic:
    (found,) = measure_statistics(labels, quantities or {}, categories or {}, "bad")
    return found


@pytest.mark.parametrize("sign", [1, -1])
def test_quantity_is_judged_in_its_better_direction(sign: int) -> None:
    rng = np.random.default_rng(0)
    values = sign * np.concatenate([rng.normal(1.5, 1, 20), rng.normal(0, 1, 180)])
    found = only({"width": values.tolist()})
    expected = roc_auc_score([label == "bad" for label in LABELS], sign * values)
    assert found.roc_auc == pytest.approx(expected)
    assert found.betrays
    assert found.detail.startswith(f"median {np.median(values[:20]):.4g} against ")


def test_category_is_judged_by_its_best_grouping() -> None:
    formats = ["PNG"] * 18 + ["JPEG"] * 2 + ["JPEG"] * 170 + ["PNG"] * 10
    found = only(categories={"format": formats})
    scores = [form == "PNG" for form in formats]
    assert found.roc_auc == pytest.approx(roc_auc_score([x == "bad" for x in LABELS], scores))
    assert found.betrays
    assert found.detail in ("JPEG: 10% against 94%", "PNG: 90% against 6%")


def test_values_of_single_pictures_are_left_out() -> None:
    # Every value occurs once: a perfect grouping exists, and it would for any labels.
    sizes = [str(i) for i in range(200)]
    assert measure_statistics(LABELS, {}, {"size": sizes}, "bad") == ()


def test_rare_values_count_as_one() -> None:
    # Half of the good pictures share a size, all others are cut to sizes of their own.
    sizes = [*map(str, range(110)), *["640 x 480"] * 90]
    found = only(categories={"size": sizes})
    assert found.roc_auc == pytest.approx(0.75)  # by the shared size, not by knowing each picture
    assert found.betrays
    assert found.detail in ("640 x 480: 0% against 50%", "rare values: 100% against 50%")


@pytest.mark.parametrize(
    ("value", "text"),
    [(3.14159, "3.142"), (512.0, "512"), (9999.4, "9999"), (1234567.0, "1234567")],
)
def test_medians_are_written_without_powers_of_ten(value: float, text: str) -> None:
    found = only({"file_bytes": [value] * 20 + [0.0] * 180})
    assert found.detail == f"median {text} against 0"


def test_chance_finds_nothing_among_many_tests() -> None:
    rng = np.random.default_rng(4)
    quantities = {f"q{i}": rng.normal(size=200).tolist() for i in range(40)}
    categories = {f"c{i}": rng.choice([*"xyz"], 200).tolist() for i in range(10)}
    found = measure_statistics(LABELS, quantities, categories, "bad")
    assert len(found) == 50
    assert min(one.p for one in found) < 0.05  # so that the correction has something to do
    assert not any(one.betrays for one in found)


def test_correction_is_that_of_holm() -> None:
    rng = np.random.default_rng(2)
    values = {f"q{i}": (rng.normal(size=200) + (i == 0) * (np.arange(200) < 20)).tolist()
              for i in range(3)}  # fmt: skip
    found = sorted(measure_statistics(LABELS, values, {}, "bad"), key=lambda one: one.p)
    first, second, third = (one.p for one in found)
    expected = [3 * first, max(3 * first, 2 * second), max(3 * first, 2 * second, third)]
    assert [one.p_corrected for one in found] == pytest.approx([min(1, p) for p in expected])


def test_what_is_alike_in_all_pictures_is_left_out() -> None:
    quantities, categories = {"width": [1024.0] * 200}, {"format": ["PNG"] * 200}
    assert measure_statistics(LABELS, quantities, categories) == ()


def test_each_of_several_classes_is_told_from_the_others() -> None:
    labels = ["a"] * 30 + ["b"] * 30 + ["c"] * 30
    values = [0.0] * 60 + [1.0] * 30
    found = measure_statistics(labels, {"width": values}, {}, "a")
    assert {(one.label, round(one.roc_auc, 2)) for one in found} == {
        ("a", 0.75),
        ("b", 0.75),
        ("c", 1.0),
    }
    assert found[0].label == "c"


def test_one_class_tells_nothing() -> None:
    assert measure_statistics(["a"] * 3, {"width": [1.0, 2.0, 3.0]}, {}) == ()
