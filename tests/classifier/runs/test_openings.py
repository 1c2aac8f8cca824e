"""Openings of the test part are counted per set of pictures, and nothing of them is lost."""

from datetime import UTC, datetime
from pathlib import Path

import pytest

from roi_cls.base.errors import BundleError
from roi_cls.classifier.runs.openings import Opening, open_test, read_openings, warn_of_openings

NOON = datetime(2026, 1, 2, 12, 0, 0, 999, tzinfo=UTC)


def _open(log: Path, sha256: list[str], labels: list[str], value: float | None = 0.5) -> int:
    return open_test(log, sha256, labels, {"roc_auc": value}, now=NOON, version="1.2")


def test_each_opening_is_a_line_that_comes_back(tmp_path: Path) -> None:
    log = tmp_path / "test_openings.jsonl"
    assert read_openings(log) == ()
    assert _open(log, ["aa", "bb"], ["x", "y"]) == 1
    assert _open(log, ["aa", "bb"], ["x", "y"], value=None) == 2
    first, second = read_openings(log)
    assert len(log.read_text().splitlines()) == 2
    assert first == Opening(
        "2026-01-02T12:00:00+00:00", first.data_digest, 2, "1.2", {"roc_auc": 0.5}
    )
    assert (second.metrics, second.data_digest) == ({"roc_auc": None}, first.data_digest)


def test_only_openings_of_the_same_pictures_and_labels_count(tmp_path: Path) -> None:
    log = tmp_path / "log.jsonl"
    assert _open(log, ["aa", "bb"], ["x", "y"]) == 1
    assert _open(log, ["bb", "aa"], ["y", "x"]) == 2  # in another order
    assert _open(log, ["aa", "bb"], ["y", "x"]) == 1
    assert _open(log, ["aa"], ["x"]) == 1
    assert _open(log, ["aa", "bb"], ["x", "y"]) == 3
    assert len(read_openings(log)) == 5


@pytest.mark.parametrize(
    ("text", "cause"),
    [
        ("{", "JSONDecodeError: "),
        ("[]", "TypeError: "),
        ("{}", "KeyError: 'time'"),
        ("\n", "JSONDecodeError: "),
    ],
)
def test_damaged_log_is_not_taken_for_an_empty_one(tmp_path: Path, text: str, cause: str) -> None:
    log = tmp_path / "log.jsonl"
    log.write_text(text)
    with pytest.raises(BundleError) as caught:
        _open(log, ["aa"], ["x"])
    message = str(caught.value)
    assert message.startswith(
        f"Cannot read {str(log)!r}, the record of how often the test pictures were scored: {cause}"
    )
    assert message.endswith("Restore the file, or move it away to begin anew.")
    assert log.read_text() == text


@pytest.mark.parametrize(("count", "times"), [(2, "once"), (3, "2 times"), (10, "9 times")])
def test_warning_names_the_earlier_openings(count: int, times: str) -> None:
    assert warn_of_openings(count) == (
        f"These test pictures were scored {times} before by this run. Choose settings on "
        "validation or out-of-fold scores: chosen on the test part, they flatter it."
    )


def test_first_opening_needs_no_warning() -> None:
    assert warn_of_openings(1) is None
