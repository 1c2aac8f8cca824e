"""Archives and tables as inputs of the commands, as people name them."""

import json
from collections.abc import Callable
from pathlib import Path
from subprocess import CompletedProcess
from typing import Any

import cv2
import numpy as np
import pytest

from roi_cls import CropParams, RoiClassifier, collect_samples, crop_faces
from roi_cls.base.location import as_path
from roi_cls.roi.archives import opening
from roi_cls.roi.archives.archive import Archive
from tests.helpers.archives import make_table, make_tar, make_zip

Command = Callable[..., CompletedProcess[str]]
FULL = ("--crop", "full", "--size", "16", "--workers", "0")


@pytest.fixture(scope="module")
def archives(tiny_set: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The tiny set as a zip of class folders, as shards of WebDataset, and as a table."""
    folder = tmp_path_factory.mktemp("archives")
    pictures = sorted(tiny_set.rglob("*.png"))
    make_zip(
        folder / "photos.zip", {f"set/{p.parent.name}/{p.name}": p.read_bytes() for p in pictures}
    )
    for i in range(3):
        shard = {}
        for path in pictures[i::3]:
            shard[f"{path.stem}.cls"] = path.parent.name.encode()
            shard[f"{path.stem}.png"] = path.read_bytes()
        make_tar(folder / f"shard-{i:05}.tar", shard)
        make_tar(folder / f"shard-{i:05}.tar.gz", shard, "w:gz")
    classes = ["odd", "plain"]
    labels = [classes.index(path.parent.name) for path in pictures]
    data = [path.read_bytes() for path in pictures]
    make_table(folder / "set.parquet", data, labels, classes=classes, rows_per_group=16)
    return folder


KINDS = ("photos.zip", "shard-{00000..00002}.tar", "shard-*.tar.gz", "set.parquet")


def rows_of(done: CompletedProcess[str]) -> list[dict[str, Any]]:
    return [json.loads(line) for line in done.stdout.splitlines()]


@pytest.mark.parametrize("kind", KINDS)
def test_crops_of_an_archive_are_those_of_the_files(
    command: Command, archives: Path, tiny_set: Path, tmp_path: Path, kind: str
) -> None:
    words = ("--cache", tmp_path / "cache", "--json", *FULL)
    first = json.loads(command("crops", archives / kind, *words).stdout)
    assert (first["images"], first["cropped"], first["errors"]) == (40, 40, 0)
    again = json.loads(command("crops", archives / kind, *words).stdout)
    assert (again["images"], again["reused"]) == (40, 40)
    as_files = json.loads(command("crops", tiny_set, *words).stdout)
    assert (as_files["images"], as_files["reused"]) == (40, 40)


@pytest.mark.parametrize("kind", KINDS)
def test_predictions_are_those_of_the_files(
    predict: Command, archives: Path, tiny_set: Path, kind: str
) -> None:
    expected = {row["score"] for row in rows_of(predict(tiny_set, "--jsonl"))}
    done = predict(archives / kind, "--jsonl")
    found = rows_of(done)
    assert done.returncode == 0, done.stderr
    assert len(found) == 40
    assert {row["score"] for row in found} == expected
    assert all(row["path"].startswith(str(archives)) for row in found)


@pytest.mark.parametrize("kind", KINDS)
def test_training_on_an_archive_takes_its_labels_and_can_be_evaluated(
    command: Command,
    archives: Path,
    tmp_path: Path,
    tiny_train_arguments: list[str],
    kind: str,
) -> None:
    places = ("--runs", tmp_path / "runs", "--cache", tmp_path / "cache")
    data = archives / kind
    done = command("train", data, "--run", "x", *tiny_train_arguments, *places)
    assert done.returncode == 0, done.stderr
    done = command("evaluate", data, "--run", "x", "--device", "cpu", "--json", *places)
    assert done.returncode == 0, done.stderr
    assert [one["label"] for one in json.loads(done.stdout)["classes"]] == ["odd", "plain"]
    done = command("verify", "x", "--device", "cpu", "--runs", tmp_path / "runs")
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("kind", KINDS)
def test_an_archive_is_audited(command: Command, archives: Path, kind: str) -> None:
    done = command("data", "audit", archives / kind, "--json")
    audit = json.loads(done.stdout)
    assert done.returncode == 0, done.stderr
    assert audit["parts"] == {"undecided": {"odd": 10, "plain": 30}}


def test_a_member_is_explained(
    command: Command, archives: Path, tiny_runs: Path, tmp_path: Path
) -> None:
    words = ("--runs", tiny_runs, "--run", "tiny", "--device", "cpu", "-o", tmp_path / "out")
    done = command("explain", archives / "photos.zip/set/odd/00.png", *words, "--json")
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["path"] == str(archives / "photos.zip/set/odd/00.png")
    assert len(list((tmp_path / "out").iterdir())) == 1


def test_a_folder_in_an_archive_and_a_member_are_named_by_their_paths(
    predict: Command, archives: Path
) -> None:
    photos = archives / "photos.zip"
    done = predict(photos / "set/odd", photos / "set/plain/01.png", "--jsonl")
    folder = f"{photos}/set/"
    expected = [*(f"odd/{i:02}.png" for i in range(0, 40, 4)), "plain/01.png"]
    assert [row["path"].removeprefix(folder) for row in rows_of(done)] == expected


def test_what_cannot_be_read_is_a_row(predict: Command, archives: Path, tmp_path: Path) -> None:
    whole = (archives / "shard-00000.tar").read_bytes()
    (tmp_path / "0.tar").write_bytes(whole)
    (tmp_path / "1.tar").write_bytes(whole[:4000])
    (tmp_path / "3.tar").write_bytes(b"no archive")
    done = predict(f"{tmp_path}/{{0..3}}.tar", "--jsonl")
    rows = rows_of(done)
    assert done.returncode == 3
    wrong = {Path(row["path"]).name: row["error"] for row in rows if row["status"] == "error"}
    assert sorted(wrong) == ["00.png", "1.tar", "2.tar", "3.tar"]
    assert "the archive ends or is damaged within it" in wrong["00.png"]
    assert wrong["1.tar"].startswith(f"Cannot read '{tmp_path}/1.tar': it is cut or damaged after")
    assert wrong["2.tar"] == f"Cannot read '{tmp_path}/2.tar': no such file. Check the path."
    assert wrong["3.tar"].startswith(f"Cannot read '{tmp_path}/3.tar': it is no tar archive")
    assert sum(row["status"] == "ok" for row in rows) == 14


def test_a_shard_opens_no_archive_of_another(
    command: Command, archives: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    opened: list[set[str]] = []
    real = opening._open

    def count(path: Path) -> Archive:
        opened[-1].add(path.name)
        return real(path)

    monkeypatch.setattr(opening, "_open", count)
    counts = []
    for i in (1, 2):
        opening._ARCHIVES.close()
        opened.append(set())
        words = ("--shard", f"{i}/2", "--cache", tmp_path, "--json", *FULL)
        counts.append(json.loads(command("crops", archives / "*.tar*", *words).stdout)["images"])
    assert sum(counts) == 80
    first, second = opened
    assert not first & second
    assert first | second == {path.name for path in archives.glob("*.tar*")}


def test_a_shard_without_an_archive_says_so(
    command: Command, archives: Path, tmp_path: Path
) -> None:
    words = ("--shard", "7/9000", "--cache", tmp_path, *FULL)
    done = command("crops", archives / "photos.zip", *words)
    assert done.returncode == 0
    assert "Shard 7/9000 has nothing to do: all archives are in other shards." in done.stderr


def test_remote_archives_are_cropped_and_known_again(
    command: Command, archives: Path, tmp_path: Path
) -> None:
    bucket = f"memory://{tmp_path.name}"
    for path in archives.iterdir():
        as_path(f"{bucket}/{path.name}").write_bytes(path.read_bytes())
    for kind in KINDS:
        words = ("--cache", tmp_path / "cache", "--json", *FULL)
        first = json.loads(command("crops", f"{bucket}/{kind}", *words).stdout)
        again = json.loads(command("crops", f"{bucket}/{kind}", *words).stdout)
        assert (first["images"], first["errors"], again["reused"]) == (40, 0, 40)


def test_an_archive_of_the_web_is_not_fetched(predict: Command) -> None:
    done = predict("http://localhost:9/photos.zip?x=1", "--jsonl")
    assert done.returncode == 3
    assert rows_of(done)[0]["error"] == (
        "Cannot read 'http://localhost:9/photos.zip?x=1': an archive is not fetched from the web. "
        "Download it and give the file."
    )


def test_python_takes_paths_that_lead_into_archives(archives: Path, tiny_runs: Path) -> None:
    samples = collect_samples(archives / "set.parquet")
    paths = [sample.path for sample in samples]
    assert [sample.label for sample in samples] == ["odd"] * 10 + ["plain"] * 30
    crops = crop_faces(paths[:2], CropParams(crop="full", size_px=8)).collect()
    assert [crop.status for crop in crops] == ["ok", "ok"]
    with RoiClassifier.load(tiny_runs / "tiny") as classifier:
        rows = classifier.predict_rows([str(paths[0]), archives / "photos.zip/set/odd/00.png"])
        scores = [row.score for row in rows]
    assert scores[0] is not None
    assert scores[0] == scores[1]


def test_a_video_in_an_archive_is_predicted_by_its_frames(predict: Command, tmp_path: Path) -> None:
    writer = cv2.VideoWriter(str(tmp_path / "a.avi"), cv2.VideoWriter.fourcc(*"MJPG"), 10, (64, 48))
    for i in range(10):
        writer.write(np.full((48, 64, 3), 20 * i, np.uint8))
    writer.release()
    clip = (tmp_path / "a.avi").read_bytes()
    archive = make_zip(tmp_path / "a.zip", {"clips/a.avi": clip, "b.txt": b"text"})
    rows = rows_of(predict(archive, "--every", "5f", "--jsonl"))
    assert [(row["path"], row["status"]) for row in rows] == [(f"{archive}/clips/a.avi", "ok")] * 3
    assert [row["frames"] for row in rows] == [None, None, 2]
