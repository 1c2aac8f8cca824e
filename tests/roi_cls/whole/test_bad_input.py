"""What people give by mistake: one clear line or row with a remedy, never a traceback."""

import json
import os
import socket
import struct
import subprocess
import sys
import zlib
from collections.abc import Callable
from pathlib import Path
from subprocess import CompletedProcess

import numpy as np
import pytest
from PIL import Image

from roi_cls.classifier.models import timm_model
from tests.helpers.pictures import encode, png_chunk

Command = Callable[..., CompletedProcess[str]]


def png_bytes(side: int = 40, colour: str = "red") -> bytes:
    return encode(Image.new("RGB", (side, side), colour))


def huge_png(side: int, data: bytes) -> bytes:
    """Return a one-bit grey PNG that says it is ``side`` pixels high and wide."""
    header = struct.pack(">IIBBBBB", side, side, 1, 0, 0, 0, 0)
    parts = png_chunk(b"IHDR", header) + png_chunk(b"IDAT", data) + png_chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + parts


def compressed_png(side: int) -> bytes:
    return huge_png(side, zlib.compress(bytes((side // 8 + 1) * side), 9))


def animation(kind: str) -> bytes:
    """Return an animation whose first frame is red, whose second is blue."""
    frames = [Image.new("RGB", (40, 40), colour) for colour in ("red", "blue")]
    return encode(frames[0], kind, save_all=True, append_images=frames[1:], duration=50)


def assert_told(done: CompletedProcess[str], *parts: str) -> None:
    """Hold a failed command to one line on stderr with these parts, and a clean stdout."""
    assert done.returncode == 1, done.stderr
    assert done.stdout == ""
    line = done.stderr.splitlines()[-1]
    assert line.startswith("error: Cannot ")
    for part in parts:
        assert part in line
    assert done.stderr.count("error: ") == 1
    assert "Traceback" not in done.stderr


UNREADABLE = {
    "zero bytes": (b"", "it is empty (0 bytes). Remove it, or copy or export it again."),
    "truncated": (png_bytes()[:-30], "it is cut off"),
    "text": (b"hello", "it is not a picture"),
    "header of 20000 x 20000": (
        huge_png(20_000, b""),
        "it has 20000 x 20000 pixels, over the limit of 100000000",
    ),
    "real 20000 x 20000": (
        compressed_png(20_000),
        "it has 20000 x 20000 pixels, over the limit of 100000000",
    ),
}


@pytest.mark.parametrize(("data", "reason"), UNREADABLE.values(), ids=UNREADABLE.keys())
def test_unreadable_picture_is_a_row_in_predict_and_in_crops(
    command: Command, predict: Command, tmp_path: Path, data: bytes, reason: str
) -> None:
    path = tmp_path / "x.png"
    path.write_bytes(data)
    predicted = predict(path, "--json")
    row = json.loads(predicted.stdout)
    assert (predicted.returncode, row["status"]) == (3, "error")
    assert row["error"].startswith(f"Cannot read {str(path)!r}: ")
    assert reason in row["error"]
    assert row["label"] is row["score"] is row["box"] is None
    cropped = command("crops", path, "--crop", "full", "--cache", tmp_path / "c", "--json")
    assert (cropped.returncode, json.loads(cropped.stdout)["errors"]) == (3, 1)
    assert cropped.stderr == f"error: {row['error']}\n"


def make_folder(path: Path) -> None:
    path.mkdir()
    (path / "in.png").write_bytes(png_bytes())


def make_broken_link(path: Path) -> None:
    path.symlink_to("nowhere.png")


def make_loop(path: Path) -> None:
    path.symlink_to(path)


def make_pipe(path: Path) -> None:
    os.mkfifo(path)


def make_socket(path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as unix:
        here = os.getcwd()
        os.chdir(path.parent)  # the path of a socket is short
        unix.bind(path.name)
        os.chdir(here)


@pytest.mark.parametrize(
    ("make", "reason"),
    [
        (make_folder, "it is a folder. Give the files in it."),
        (make_broken_link, "it is a link to a file that does not exist."),
        (make_loop, "too many levels of symbolic links."),
        (make_pipe, "it is a pipe or device, not a file."),
        (make_socket, "it is a pipe or device, not a file."),
    ],
    ids=["folder", "broken link", "link to itself", "pipe", "socket"],
)
def test_what_is_no_file_is_a_row_of_its_folder(
    predict: Command, tmp_path: Path, make: Callable[[Path], None], reason: str
) -> None:
    (tmp_path / "a.png").write_bytes(png_bytes())
    make(tmp_path / "b.png")
    (tmp_path / "c.png").write_bytes(png_bytes())
    done = predict(tmp_path, "--json")
    rows = {
        Path(row["path"]).relative_to(tmp_path).as_posix(): row for row in json.loads(done.stdout)
    }
    assert done.returncode == 3
    assert rows["a.png"]["status"] == rows["c.png"]["status"] == "ok"
    assert reason in rows["b.png"]["error"]


def test_file_without_the_right_to_read_it_is_a_row(
    predict: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "x.png"
    path.write_bytes(png_bytes())
    real = Path.read_bytes

    def refuse(self: Path) -> bytes:  # the superuser, as whom tests may run, may read everything
        if self == path:
            raise PermissionError(13, "Permission denied")
        return real(self)

    monkeypatch.setattr(Path, "read_bytes", refuse)
    done = predict(path, "--json")
    assert done.returncode == 3
    assert json.loads(done.stdout)["error"] == (
        f"Cannot read {str(path)!r}: permission denied. Give this user the right to read it."
    )


def test_picture_of_one_pixel_is_predicted(predict: Command, tmp_path: Path) -> None:
    (tmp_path / "x.png").write_bytes(png_bytes(1))
    done = predict(tmp_path / "x.png", "--json")
    assert (done.returncode, json.loads(done.stdout)["status"]) == (0, "ok")


@pytest.mark.parametrize("kind", ["GIF", "WEBP"])
def test_animation_is_its_first_frame(predict: Command, tmp_path: Path, kind: str) -> None:
    (tmp_path / "moving").write_bytes(animation(kind))
    (tmp_path / "still").write_bytes(png_bytes())
    rows = json.loads(predict(tmp_path / "moving", tmp_path / "still", "--json").stdout)
    assert rows[0]["status"] == "ok"
    assert rows[0]["score"] == pytest.approx(rows[1]["score"], abs=1e-2)


def test_folder_without_pictures_is_told(
    command: Command, predict: Command, tmp_path: Path
) -> None:
    (tmp_path / "notes.txt").touch()
    for done in (
        predict(tmp_path),
        command("crops", tmp_path, "--crop", "full", "--cache", tmp_path / "c"),
        command("train", tmp_path, "--crop", "full", "--runs", tmp_path / "r", "--weights", "none"),
    ):
        assert_told(done, f"Cannot find pictures in {str(tmp_path)!r} or below", "Give a folder")


def test_pattern_that_matches_nothing_is_told_before_the_model_loads(
    predict: Command, tiny_runs: Path, tmp_path: Path
) -> None:
    assert_told(predict("*.nothing"), "nothing matches '*.nothing'", "Check the pattern")
    done = predict("*.nothing", "-o", tmp_path / "rows.csv")
    assert_told(done, "nothing matches")
    assert not (tmp_path / "rows.csv").exists()


class Set:
    """A data set to break."""

    def __init__(self, folder: Path, train: Callable[..., CompletedProcess[str]]) -> None:
        self.folder = folder
        self.train = train

    def add(self, *names: str) -> None:
        """Draw pictures of noise under these names."""
        random = np.random.default_rng(len(names))
        for name in names:
            path = self.folder / name
            path.parent.mkdir(parents=True, exist_ok=True)
            pixels = random.integers(0, 255, (16, 16, 3), dtype=np.uint8)
            Image.fromarray(pixels).save(path)


@pytest.fixture
def broken(command: Command, tiny_train_arguments: list[str], tmp_path: Path) -> Set:
    def train(*arguments: object, source: Path = tmp_path / "set") -> CompletedProcess[str]:
        places = ["--run", "new", "--runs", tmp_path / "runs", "--cache", tmp_path / "cache"]
        return command("train", source, *tiny_train_arguments, *places, *arguments)

    return Set(tmp_path / "set", train)


def test_label_missing_in_a_name_is_told(broken: Set) -> None:
    broken.add("image_1_0.png", "image_2_1.png", "image_3.png")
    assert_told(
        broken.train(),
        "a label is missing in the name of 1 of 3 pictures: 'image_3.png'",
        "Rename them like image_<index>_<label>.png",
    )


def test_one_class_is_told(broken: Set) -> None:
    broken.add("a/1.png", "a/2.png")
    assert_told(broken.train(), "only the class 'a' was found in 2 labelled pictures")


def test_fewer_pictures_than_parts_is_told_and_the_run_name_stays_free(broken: Set) -> None:
    broken.add("a/1.png", "a/2.png", *(f"b/{i}.png" for i in range(12)))
    assert_told(broken.train(), "fewer pictures of 'a' than parts: 2 for train, test, validation")
    broken.add(*(f"a/{i}.png" for i in range(3, 12)))
    assert broken.train().returncode == 0


def test_table_that_names_absent_files_is_told(broken: Set, tmp_path: Path) -> None:
    broken.add("1.png")
    table = tmp_path / "set" / "rows.csv"
    table.write_text("path,label\n1.png,a\ngone.png,b\n")
    assert_told(broken.train(source=table), "gone.png")


def test_source_that_is_not_there_is_told(broken: Set, tmp_path: Path) -> None:
    assert_told(
        broken.train(source=tmp_path / "none"), "it does not exist", "Give a folder of pictures"
    )


@pytest.mark.parametrize(
    ("labels", "message"),
    [
        ("0", "'0' is not TOKEN=NAME. Write it like --labels 0=artefact,1=artefactless."),
        ("0=a,0=b", "'0' is named twice"),
        ("7=x,8=y", "they name '7', '8', the data have 'a', 'b'"),
    ],
)
def test_labels_that_fit_nothing_are_told(broken: Set, labels: str, message: str) -> None:
    broken.add("a/1.png", "b/2.png")
    assert_told(broken.train("--labels", labels), message)


def test_target_that_is_no_class_is_told(broken: Set) -> None:
    broken.add("a/1.png", "b/2.png")
    assert_told(broken.train("--target", "c"), "the classes are 'a', 'b'", "with --target")


def test_misspelt_model_is_told_with_near_names_before_anything_is_written(
    broken: Set, tiny_set: Path, tmp_path: Path
) -> None:
    done = broken.train("--model", "resnet81", source=tiny_set)
    assert_told(done, "timm does not know it", "Did you mean ", "resnet18")
    assert list(tmp_path.iterdir()) == []


def test_weights_that_are_not_there_are_told_before_anything_is_written(
    broken: Set, tiny_set: Path, tmp_path: Path
) -> None:
    done = broken.train("--weights", tmp_path / "w.pth", source=tiny_set)
    assert_told(done, "there is no such file", "Give --weights auto, hub, none, or the path")
    assert list(tmp_path.iterdir()) == []


def test_weights_that_are_none_are_told(broken: Set, tiny_set: Path, tmp_path: Path) -> None:
    (tmp_path / "w.safetensors").write_text("no weights")
    done = broken.train("--weights", tmp_path / "w.safetensors", source=tiny_set)
    assert_told(done, "neither safetensors nor a plain torch state dict")


def test_hub_that_cannot_be_reached_is_told_with_what_to_choose(
    broken: Set, tiny_set: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:9")  # nobody listens there
    monkeypatch.delenv("HF_HUB_OFFLINE", raising=False)
    monkeypatch.setattr(timm_model, "is_cached", lambda *arguments: False)
    done = broken.train("--weights", "hub", source=tiny_set)
    assert_told(
        done, "http://127.0.0.1:9", "--weights none", "--weights PATH", "HF_ENDPOINT=URL (a mirror"
    )
    assert list(tmp_path.iterdir()) == []
    assert broken.train(source=tiny_set).returncode == 0  # the corrected command has its run name


@pytest.mark.slow
def test_real_process_ends_alike(tmp_path: Path) -> None:
    words = [sys.executable, "-m", "roi_cls", "predict", "x.png", "--runs", "none"]
    done = subprocess.run(words, capture_output=True, text=True, cwd=tmp_path, check=False)
    assert_told(done, "Cannot choose a run: there is no finished one in 'none'")


def test_disk_that_is_full_where_stdout_leads_is_told(tmp_path: Path) -> None:
    (tmp_path / "x.png").write_bytes(png_bytes())
    words = [sys.executable, "-m", "roi_cls", "crops", "x.png", "--crop", "full"]
    with open("/dev/full", "w") as full:
        done = subprocess.run(
            words, stdout=full, stderr=subprocess.PIPE, text=True, cwd=tmp_path, check=False
        )
    assert done.returncode == 1
    assert done.stderr.startswith("error: Cannot write 'standard output': the disk is full. ")
    assert done.stderr.count("\n") == 1


def test_reader_that_has_seen_enough_is_no_fault(tmp_path: Path) -> None:
    (tmp_path / "x.png").write_bytes(png_bytes())
    words = [sys.executable, "-m", "roi_cls", "crops", "x.png", "--crop", "full"]
    reading, writing = os.pipe()
    os.close(reading)
    with os.fdopen(writing, "wb") as pipe:
        done = subprocess.run(
            words, stdout=pipe, stderr=subprocess.PIPE, text=True, cwd=tmp_path, check=False
        )
    assert done.stderr == ""


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (("train", "gone"), "error: Cannot find pictures in 'gone': it does not exist."),
        (("compare", "gone"), "error: Cannot find pictures in 'gone': it does not exist."),
        (("ablate", "gone"), "error: Cannot find pictures in 'gone': it does not exist."),
        (("data", "audit", "gone"), "error: Cannot find pictures in 'gone': it does not exist."),
        (("evaluate", ".", "--run", "gone"), "error: Cannot use the run 'gone': there is none."),
        (("export", "--run", "gone"), "error: Cannot use the run 'gone': there is none."),
        (("report", "--run", "gone"), "error: Cannot use the run 'gone': there is none."),
        (("verify", "gone"), "error: Cannot use the run 'gone': there is none."),
    ],
)
def test_mistyped_name_is_told_before_torch_is_loaded(
    tmp_path: Path, words: tuple[str, ...], told: str
) -> None:
    script = (
        "import sys; from roi_cls.cli import main\n"
        "try: main()\n"
        "finally: print('torch' in sys.modules)"
    )
    done = subprocess.run(
        [sys.executable, "-c", script, *words], cwd=tmp_path, capture_output=True, text=True
    )
    assert done.returncode == 1
    assert done.stderr.startswith(told)
    assert done.stdout == "False\n"
