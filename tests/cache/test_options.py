"""Settings of a build are checked; shards are disjoint, complete and the same in every process."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from roi_cls.cache import options as options_module
from roi_cls.cache.options import WORTH_WORKERS, BuildOptions, Shard


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"workers": -1}, "workers must not be negative, got -1"),
        ({"max_pixels": 0}, "max_pixels must be at least 1, got 0"),
    ],
)
def test_bad_value_is_told(given: dict[str, int], message: str) -> None:
    with pytest.raises(ValueError, match=f"^{message}$"):
        BuildOptions(Path("cache"), **given)  # type: ignore[arg-type]  # whole numbers both


@pytest.mark.parametrize(
    ("workers", "pictures", "count"),
    [
        (0, 10**6, 0),
        (5, 1, 5),
        (None, 0, 0),
        (None, WORTH_WORKERS - 1, 0),
        (None, WORTH_WORKERS, 7),
    ],
)
def test_processes_are_counted(
    monkeypatch: pytest.MonkeyPatch, workers: int | None, pictures: int, count: int
) -> None:
    monkeypatch.setattr(options_module, "available_cores", lambda: 7)
    assert BuildOptions(Path("cache"), workers).worker_count(pictures) == count


def test_cores_are_those_this_process_may_use(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda who: {0, 3, 5}, raising=False)
    assert BuildOptions(Path("cache")).worker_count(WORTH_WORKERS) == 3
    monkeypatch.delattr(os, "sched_getaffinity")
    monkeypatch.setattr(os, "cpu_count", lambda: None)
    assert BuildOptions(Path("cache")).worker_count(WORTH_WORKERS) == 1


NAMES = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), min_size=1)


@given(NAMES, st.integers(1, 40))
def test_every_picture_is_in_exactly_one_part(name: str, count: int) -> None:
    parts = [i for i in range(1, count + 1) if Shard(i, count).holds(Path(name))]
    assert len(parts) == 1


def test_parts_are_about_equal() -> None:
    paths = [Path(f"folder/{i}.png") for i in range(8000)]
    sizes = [sum(Shard(i, 8).holds(path) for path in paths) for i in range(1, 9)]
    assert sum(sizes) == 8000
    assert all(900 < size < 1100 for size in sizes)


def test_name_that_is_no_unicode_has_a_part() -> None:
    path = Path(os.fsdecode(b"\xff.png"))
    assert sum(Shard(i, 3).holds(path) for i in (1, 2, 3)) == 1


@pytest.mark.parametrize("seed", ["0", "1"])
def test_other_processes_agree(seed: str) -> None:
    script = (
        "from pathlib import Path; from roi_cls.cache.options import Shard\n"
        "print([i for i in range(50) if Shard(2, 5).holds(Path(f'{i}.png'))])"
    )
    environment = {**os.environ, "PYTHONHASHSEED": seed}
    words = [sys.executable, "-c", script]
    done = subprocess.run(words, capture_output=True, text=True, check=True, env=environment)
    assert done.stdout.strip() == "[4, 8, 11, 17, 19, 25, 34, 35, 41, 43, 48]"


@pytest.mark.parametrize(("text", "shard"), [("1/1", (1, 1)), ("3/8", (3, 8)), ("08/10", (8, 10))])
def test_text_names_a_part(text: str, shard: tuple[int, int]) -> None:
    assert Shard.parse(text) == Shard(*shard)


@pytest.mark.parametrize(
    "text", ["", "3", "/", "3/", "/8", "0/8", "9/8", "-1/8", "1/0", "a/b", "1/8/2", "1.5/8"]
)
def test_text_that_names_none_is_told(text: str) -> None:
    with pytest.raises(
        ValueError, match=r"a shard is i/n with 1 <= i <= n, such as 1/8, got "
    ) as e:
        Shard.parse(text)
    assert text in str(e.value)
