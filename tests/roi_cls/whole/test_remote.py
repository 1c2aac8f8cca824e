"""Pictures and caches beyond this machine, and who does the work: as the command line has it."""

import contextlib
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from subprocess import CompletedProcess

import cv2
import numpy as np
import pytest

from roi_cls.base.location import as_path
from roi_cls.cache import ray_engine
from roi_cls.cache.build import LocalEngine
from roi_cls.cache.options import BuildOptions

Command = Callable[..., CompletedProcess[str]]
FULL = ("--crop", "full", "--size", "16", "--workers", "0", "--json")


@pytest.fixture
def bucket(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """Three pictures, one of them damaged, in memory; the user's own cache in ``tmp_path``."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "home"))
    bucket = f"memory://{tmp_path.name}"
    random = np.random.default_rng(0)
    for i in range(3):
        pixels = random.integers(0, 256, (20, 30, 3), np.uint8)
        data = cv2.imencode(".png", pixels)[1].tobytes()
        as_path(f"{bucket}/pictures/{i}.png").write_bytes(data[:50] if i == 2 else data)
    return bucket


def work(done: CompletedProcess[str]) -> tuple[int, int, int]:
    summary = json.loads(done.stdout)
    return summary["cropped"], summary["reused"], summary["errors"]


def test_remote_pictures_go_into_a_remote_cache_and_are_known_again(
    command: Command, bucket: str, tmp_path: Path
) -> None:
    words = ["crops", f"{bucket}/pictures", "--cache", f"{bucket}/crops", *FULL]
    first, second = command(*words), command(*words)
    assert (first.returncode, second.returncode) == (3, 3)
    assert "2.png" in first.stderr
    assert (work(first), work(second)) == ((2, 0, 1), (0, 2, 1))
    assert len(list((tmp_path / "home").rglob("index.sqlite"))) == 1
    assert not (Path.cwd() / "memory:").exists()


def test_changed_remote_picture_is_cropped_again(command: Command, bucket: str) -> None:
    words = ["crops", f"{bucket}/pictures/*.png", "--cache", f"{bucket}/crops", *FULL]
    command(*words)
    path = as_path(f"{bucket}/pictures/2.png")
    path.write_bytes(cv2.imencode(".png", np.zeros((9, 9, 3), np.uint8))[1].tobytes())
    assert work(command(*words)) == (1, 2, 0)


def test_remote_manifest_has_every_row(command: Command, bucket: str, tmp_path: Path) -> None:
    manifest = f"{bucket}/rows.jsonl"
    command("crops", f"{bucket}/pictures", "--cache", tmp_path / "c", "--manifest", manifest, *FULL)
    rows = [json.loads(line) for line in as_path(manifest).read_text().splitlines()]
    assert [row["status"] for row in rows] == ["ok", "ok", "error"]
    assert rows[0]["path"] == f"{bucket}/pictures/0.png"


def test_unknown_protocol_is_told(command: Command) -> None:
    done = command("crops", "nowhere://bucket/a.png", *FULL)
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.startswith("error: Cannot open 'nowhere://bucket/a.png': ")


def test_cluster_of_the_option_does_the_work(
    command: Command, tiny_set: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = []

    @contextlib.contextmanager
    def open_fake(
        make_work: object, on_death: object, cache: Path, **options: object
    ) -> Iterator[LocalEngine]:
        asked.append((cache, options))
        local = BuildOptions(cache, workers=0)
        with LocalEngine(make_work, "recipe", local) as engine:  # type: ignore[arg-type]  # passed through
            yield engine

    monkeypatch.setattr(ray_engine, "open_ray", open_fake)
    cluster = ["--engine", "ray", "--address", "10.0.0.1:6379", "--workers", "3"]
    words = ["crops", tiny_set, "--cache", tmp_path / "c", "--crop", "full", "--size", "16"]
    done = command(*words, *cluster)
    assert done.returncode == 0
    assert asked == [(tmp_path / "c", {"address": "10.0.0.1:6379", "workers": 3})]


def test_one_remote_picture_is_shown(command: Command, bucket: str, tmp_path: Path) -> None:
    view = tmp_path / "view.png"
    words = ["crops", "show", f"{bucket}/pictures/0.png", "--crop", "full", "-o", view]
    assert command(*words).returncode == 0
    assert view.stat().st_size > 1000


def test_remote_pictures_are_predicted_under_their_names(
    command: Command, bucket: str, tiny_runs: Path
) -> None:
    done = command("predict", f"{bucket}/pictures", "--runs", tiny_runs, "--json")
    rows = json.loads(done.stdout)
    assert [row["path"] for row in rows] == [f"{bucket}/pictures/{i}.png" for i in range(3)]
    assert [row["status"] for row in rows] == ["ok", "ok", "error"]
