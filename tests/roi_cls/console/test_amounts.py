"""Amounts as people write and read them."""

import pytest
import typer
from hypothesis import given
from hypothesis import strategies as st

from roi_cls.console.words import format_bytes, format_span, parse_bytes, parse_span


@pytest.mark.parametrize(
    ("text", "size"),
    [
        ("0", 0),
        ("123", 123),
        ("1B", 1),
        ("10GB", 10**10),
        ("500 mb", 5 * 10**8),
        (" 1.5KB ", 1500),
        ("2GiB", 2 * 2**30),
        ("3TB", 3 * 10**12),
    ],
)
def test_size_is_read(text: str, size: int) -> None:
    assert parse_bytes(text) == size


@pytest.mark.parametrize("text", ["", "GB", "-1GB", "10XB", "1,5GB", "1e3", "10 GB more", "30d"])
def test_text_that_is_no_size_is_told(text: str) -> None:
    with pytest.raises(typer.BadParameter) as caught:
        parse_bytes(text)
    assert caught.value.message == f"{text!r} is no size; write it like 500MB, 10GB or 2GiB"


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("90s", 90), ("5m", 300), ("12h", 43200), ("30d", 2592000), ("2w", 1209600), ("0.5d", 43200)],
)
def test_span_is_read(text: str, seconds: float) -> None:
    assert parse_span(text) == seconds


@pytest.mark.parametrize("text", ["", "30", "d", "-1d", "30D", "1y", "1 month"])
def test_text_that_is_no_span_is_told(text: str) -> None:
    with pytest.raises(typer.BadParameter) as caught:
        parse_span(text)
    assert caught.value.message == f"{text!r} is no span of time; write it like 12h, 30d or 2w"


@pytest.mark.parametrize(
    ("size", "text"),
    [
        (0, "0 B"),
        (999, "999 B"),
        (1000, "1.0 KB"),
        (48_200, "48.2 KB"),
        (993_000, "993 KB"),
        (999_999, "1.0 MB"),
        (12_100_000, "12.1 MB"),
        (99_960, "100 KB"),
        (10**9, "1.0 GB"),
        (25 * 10**14, "2500 TB"),
    ],
)
def test_size_is_written(size: int, text: str) -> None:
    assert format_bytes(size) == text


@given(st.integers(0, 10**15))
def test_size_is_read_back_about_as_it_was(size: int) -> None:
    assert parse_bytes(format_bytes(size)) == pytest.approx(size, rel=0.05)


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (-5, "0 seconds"),
        (0.4, "0 seconds"),
        (1, "1 second"),
        (119, "119 seconds"),
        (120, "2 minutes"),
        (7199, "119 minutes"),
        (7200, "2 hours"),
        (172799, "47 hours"),
        (172800, "2 days"),
        (30 * 86400, "30 days"),
    ],
)
def test_span_is_written(seconds: float, text: str) -> None:
    assert format_span(seconds) == text
