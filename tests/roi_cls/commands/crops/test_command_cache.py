"""``roi-cls cache``: what is there is told, what is damaged is named, what is to go goes."""

import io
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from subprocess import CompletedProcess

import numpy as np
import pytest
from PIL import Image

from roi_cls.cache.store import share_parts
from roi_cls.roi import CropParams
from tests.helpers.pictures import LONG_AGO, backdate, noise, save
from tests.helpers.stored import stored_crops

Command = Callable[..., CompletedProcess[str]]
CacheCommand = Callable[..., CompletedProcess[str]]
SMALL, LARGE = CropParams(crop="full", size_px=16), CropParams(crop="full", size_px=32)


@pytest.fixture
def cache(command: Command, tmp_path: Path) -> Path:
    """A cache with two pictures, whole, in 16 and in 32 px."""
    for i in range(2):
        save(tmp_path / f"{i}.png", np.full((40, 40, 3), 90 * i, np.uint8))
    for size in (16, 32):
        assert crop(command, tmp_path, size).returncode == 0
    return tmp_path / "cache"


def crop(command: Command, folder: Path, size: int) -> CompletedProcess[str]:
    pictures = [folder / "0.png", folder / "1.png"]
    places = ["--cache", folder / "cache", "--workers", "0", "--crop", "full", "--json"]
    return command("crops", *pictures, *places, "--size", size)


@pytest.fixture
def run(command: Command, cache: Path) -> CacheCommand:
    def run(name: str, *arguments: object) -> CompletedProcess[str]:
        return command("cache", name, *arguments, "--cache", cache)

    return run


def test_info_has_a_line_for_each_part_and_a_total(run: CacheCommand, cache: Path) -> None:
    done = run("info")
    assert (done.returncode, done.stderr) == (0, "")
    *lines, total = done.stdout.splitlines()
    sizes = {SMALL.digest[:16]: "1.8 KB", LARGE.digest[:16]: "6.4 KB"}
    for line, (name, size) in zip(lines, sorted(sizes.items()), strict=False):
        words = line.split("  ")
        assert words[0] == name
        assert f"2 entries    {size}  used " in line
        side = {"1.8 KB": 16, "6.4 KB": 32}[size]
        assert line.endswith(f" ago  The full frame (padded), {side} px")
    assert lines[2].startswith(f"{SMALL.detector_digest[:16]}  detections ")
    assert lines[2].endswith("what was seen in the pictures")
    assert len(lines) == 3
    assert f" in {str(cache)!r}, besides an index of " in total


def test_info_as_json_has_recipes_bytes_and_ages(run: CacheCommand) -> None:
    values = json.loads(run("info", "--json").stdout)
    assert list(values) == ["bytes", "index_bytes", "parts"]
    assert values["bytes"] == sum(part["bytes"] for part in values["parts"])
    assert values["index_bytes"] > 0
    assert [part["kind"] for part in values["parts"]] == ["crops", "crops", "detections"]
    sizes = {part["name"]: part["recipe"]["size_px"] for part in values["parts"][:2]}
    assert sizes == {SMALL.digest[:16]: 16, LARGE.digest[:16]: 32}
    for part in values["parts"]:
        assert part["entries"] == 2
        assert LONG_AGO < part["oldest"] <= part["last_used"]


def test_info_names_what_it_cannot_read_and_what_is_old(run: CacheCommand, cache: Path) -> None:
    (cache / "v2" / "crops" / SMALL.digest[:16] / "recipe.json").write_text("{")
    (cache / "v1").mkdir()
    lines = run("info").stdout.splitlines()
    (line,) = (line for line in lines if line.startswith(SMALL.digest[:16]))
    assert line.endswith("recipe unreadable")
    assert lines[3].startswith("v1 ")
    assert lines[3].endswith("left by an older roi-cls")


@pytest.mark.parametrize(
    "words", [("info",), ("verify",), ("prune", "--max-size", "0")], ids=lambda words: words[0]
)
def test_folder_without_a_cache_is_told(
    command: Command, tmp_path: Path, words: tuple[str, ...]
) -> None:
    done = command("cache", *words, "--cache", tmp_path / "none")
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.startswith(
        f"error: Cannot find a crop cache in {str(tmp_path / 'none')!r}: there is no folder "
    )
    assert done.stderr.endswith("or make one: roi-cls crops PATH --cache DIR\n")
    assert os.listdir(tmp_path) == []


def test_verify_of_a_sound_cache(run: CacheCommand) -> None:
    done = run("verify")
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout == "6 entries checked, 0 damaged. All are sound.\n"
    assert json.loads(run("verify", "--json").stdout) == {"entries": 6, "damaged": []}


def test_verify_names_and_removes_what_is_damaged_and_the_next_run_makes_it_again(
    run: CacheCommand, command: Command, cache: Path
) -> None:
    whole = {path: path.read_bytes() for path in cache.glob("v2/crops/*/??/*")}
    damaged = sorted(whole)[::3]
    for path in damaged:
        path.write_bytes(whole[path][:-1])
    done = run("verify")
    assert done.returncode == 3
    assert done.stdout == (
        "".join(f"damaged, removed: {path}\n" for path in damaged)
        + "6 entries checked, 2 damaged. They are made again when next needed.\n"
    )
    assert run("verify").returncode == 0
    counts = [json.loads(crop(command, cache.parent, size).stdout) for size in (16, 32)]
    assert sum(count["cropped"] for count in counts) == 2
    assert {path: path.read_bytes() for path in cache.glob("v2/crops/*/??/*")} == whole


def test_verify_as_json_lists_the_damaged(run: CacheCommand, cache: Path) -> None:
    path = next(cache.glob("v2/detections/*/??/*"))
    path.write_text("damaged")
    done = run("verify", "--json")
    assert done.returncode == 3
    assert json.loads(done.stdout) == {"entries": 6, "damaged": [str(path)]}


def test_prune_removes_a_recipe_and_says_what(
    run: CacheCommand, command: Command, cache: Path
) -> None:
    name = LARGE.digest[:16]
    done = run("prune", "--recipe", name[:8], "--dry-run")
    assert (done.returncode, done.stderr) == (0, "")
    line, total = done.stdout.splitlines()
    assert line.startswith(f"would remove: {name}  crops ")
    assert total == "6.4 KB would be freed"
    assert (cache / "v2" / "crops" / name).exists()
    done = run("prune", "--recipe", name)
    assert done.stdout.splitlines()[0].startswith(f"removed: {name}  crops ")
    assert done.stdout.endswith("\n6.4 KB freed\n")
    assert not (cache / "v2" / "crops" / name).exists()
    assert run("verify").stdout.startswith("4 entries checked, 0 damaged.")
    again = json.loads(crop(command, cache.parent, 32).stdout)
    assert (again["cropped"], again["reused"]) == (2, 0)
    assert json.loads(crop(command, cache.parent, 16).stdout)["reused"] == 2


def test_prune_as_json(run: CacheCommand) -> None:
    values = json.loads(run("prune", "--unused-for", "0s", "--dry-run", "--json").stdout)
    assert (values["dry_run"], len(values["parts"])) == (True, 3)
    assert values["bytes"] == sum(part["bytes"] for part in values["parts"])
    assert {part["in_use"] for part in values["parts"]} == {False}
    assert json.loads(run("prune", "--max-size", "0", "--json").stdout)["dry_run"] is False
    assert json.loads(run("info", "--json").stdout)["parts"] == []


def test_prune_by_age_leaves_what_was_used(run: CacheCommand, cache: Path) -> None:
    for path in cache.glob(f"v2/crops/{SMALL.digest[:16]}/**/*"):
        backdate(path)
    assert run("prune", "--unused-for", "2w").stdout.startswith(f"removed: {SMALL.digest[:16]} ")
    assert run("prune", "--unused-for", "2w").stdout == "0 B freed\n"


def test_prune_keeps_and_names_what_a_run_uses(run: CacheCommand, cache: Path) -> None:
    name = SMALL.digest[:16]
    with share_parts(cache / "v2", [SMALL.digest]):
        done = run("prune", "--recipe", name)
    assert (done.returncode, done.stdout) == (0, "0 B freed\n")
    assert done.stderr == f"kept, a run uses it: crops {name}\n"
    with share_parts(cache / "v2", [SMALL.digest, SMALL.detector_digest]):
        done = run("prune", "--max-size", "0")
    assert done.stdout.startswith(f"removed: {LARGE.digest[:16]}  crops ")
    assert done.stderr == f"kept, a run uses it: crops {name}\n"
    assert (cache / "v2" / "crops" / name).exists()


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ((), "say what is to go: --recipe, --unused-for or --max-size"),
        (("--max-size", "5XB"), "'5XB' is no size; write it like 500MB, 10GB or 2GiB"),
        (("--unused-for", "1y"), "'1y' is no span of time; write it like 12h, 30d or 2w"),
    ],
)
def test_prune_without_a_sensible_wish_is_refused(
    run: CacheCommand, cache: Path, words: tuple[str, ...], message: str
) -> None:
    done = run("prune", *words)
    assert (done.returncode, done.stdout) == (2, "")
    assert message in done.stderr
    assert len(list(cache.glob("v2/crops/*"))) == 2


@pytest.mark.parametrize("name", ["", "zz"])
def test_prune_of_an_unknown_recipe_is_refused(run: CacheCommand, cache: Path, name: str) -> None:
    done = run("prune", "--recipe", name)
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr == (
        f"error: Cannot find {name!r} in the cache: no part has a name that begins so. "
        "`roi-cls cache info` lists the names.\n"
    )
    assert len(list(cache.glob("v2/crops/*"))) == 2


@pytest.mark.slow
@pytest.mark.parametrize("workers", [0, 2])
def test_crops_of_a_running_command_are_kept_until_it_is_killed(
    command: Command, tmp_path: Path, workers: int
) -> None:
    pixels = noise(900, 900, 3)
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "PNG", compress_level=1)
    (tmp_path / "photos").mkdir()
    for i in range(200):  # 20 ms each; they differ in what follows the pixels
        (tmp_path / "photos" / f"{i:03}.png").write_bytes(buffer.getvalue() + bytes([i]))
    cache = tmp_path / "cache"
    words = [sys.executable, "-m", "roi_cls", "crops", "photos", "--crop", "full", "--cache"]
    words += ["cache", "--workers", str(workers)]
    with subprocess.Popen(
        words, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, cwd=tmp_path,
        start_new_session=True,
    ) as process:  # fmt: skip
        deadline = time.monotonic() + 120
        while len(stored_crops(cache)) < 3:
            assert time.monotonic() < deadline
            assert process.poll() is None
            time.sleep(0.01)
        kept = command("cache", "prune", "--max-size", "0", "--cache", cache)
        assert process.poll() is None, "it ended before the cache was pruned"
        os.killpg(process.pid, signal.SIGKILL)
    assert kept.stdout == "0 B freed\n"
    assert kept.stderr.startswith("kept, a run uses it: ")
    assert len(stored_crops(cache)) >= 3
    done = command("cache", "prune", "--max-size", "0", "--cache", cache)
    assert (done.returncode, done.stderr) == (0, "")
    assert not stored_crops(cache)
