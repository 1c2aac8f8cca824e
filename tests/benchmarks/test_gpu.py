"""The proof for GPUs runs in a tiny form here, and no part of it can take another's rows away."""

from __future__ import annotations

import json
import math
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from benchmarks.gpu import answers, learning, run, speed
from benchmarks.gpu.chips import CHIPS, find_chip
from benchmarks.gpu.rows import Book, Row, from_file, render, to_file
from benchmarks.gpu.run import SECONDS, Part, choose_parts, main, run_all, run_apart, tell_tests
from benchmarks.gpu.setting import Setting, choose_setting
from roi_cls.base.errors import TrainingError
from roi_cls.classifier.models.device import Backend
from roi_cls.classifier.training import settle


class Pretended(Setting):
    """A CPU that says it were a GPU."""

    @property
    def has_gpu(self) -> bool:
        """Whether it says so."""
        return True

    @property
    def kind(self) -> Any:
        """What it is."""
        return "cpu"

    @property
    def fast(self) -> Any:
        """What it computes in."""
        return "bf16"


@pytest.fixture(scope="module")
def drawn(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with drawn crops of 32 px."""
    folder = tmp_path_factory.mktemp("drawn")
    choose_setting(folder, is_tiny=True).draw()
    return folder


@pytest.fixture
def pretended(drawn: Path, monkeypatch: pytest.MonkeyPatch) -> Setting:
    """The drawn crops, and torch's answers about GPUs replaced."""
    nothing = lambda *_: None  # noqa: E731  (short)
    for name in ("synchronize", "reset_peak_memory_stats", "empty_cache", "set_sync_debug_mode"):
        monkeypatch.setattr(torch.cuda, name, nothing)
    monkeypatch.setattr(torch.cuda, "max_memory_allocated", lambda device: 2**30)
    chip = SimpleNamespace(total_memory=2**32)
    monkeypatch.setattr(torch.cuda, "get_device_properties", lambda device: chip)
    tiny = ("test_efficientnet",)
    return Pretended(torch.device("cpu"), drawn, tiny, 32, 4, 3, 1, 0, 4, 16, is_tiny=True)


def _rows(work: Callable[..., None], setting: Setting, **more: Any) -> dict[str, Row]:
    rows: list[Row] = []
    work(setting, Book("part", rows.append), **more)
    return {row.what: row for row in rows}


@pytest.mark.slow
# timm's reader of a dataset leaves closing its pictures to Python.
@pytest.mark.filterwarnings("ignore:unclosed file:ResourceWarning")
def test_tiny_form_answers_every_question_without_mediapipe(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "mediapipe", None)
    assert main(["--tiny", "--here", "--folder", str(tmp_path)]) == 0
    results = json.loads((tmp_path / "results.json").read_text())
    rows = [Row(**row) for row in results["rows"]]
    assert {row.part for row in rows} == {p.name for p in choose_parts(_tiny(tmp_path))}
    assert [row for row in rows if row.status == "failed"] == []
    unanswered = [row for row in rows if row.value is None]
    assert unanswered == [row for row in rows if row.status == "no GPU"]
    assert unanswered
    table = (tmp_path / "results.md").read_text()
    assert table == capsys.readouterr().out
    assert table.startswith("chip ")
    assert f"torch {torch.__version__}" in table
    assert sum(line.startswith("| ") for line in table.splitlines()) == len(rows) + 1


def _tiny(folder: Path) -> Setting:
    return choose_setting(folder, is_tiny=True)


@pytest.mark.filterwarnings("ignore:unclosed file:ResourceWarning")
def test_speed_on_a_gpu_is_told_with_its_memory(pretended: Setting) -> None:
    found = _rows(speed.measure_speed, pretended, model="test_efficientnet")
    assert {row.status for row in found.values()} <= {"ok", "missed"}
    assert found["GiB of the GPU at the peak"].value == 1
    assert found["crops in the host's memory : on the GPU, time of an epoch"].value
    assert found["share of the chip's peak"].value == "unknown chip"


def test_epochs_of_a_slow_gpu_are_shorter(
    pretended: Setting, monkeypatch: pytest.MonkeyPatch
) -> None:
    setting, book = replace(pretended, is_tiny=False, steps=20), Book("", lambda row: None)
    cpu = Backend(torch.device("cpu"), torch.float32)
    course = speed._Course(setting, book, "test_efficientnet", cpu)
    monkeypatch.setattr(speed._Course, "sides", lambda self, *names: {"one batch": lambda: None})
    for seconds, steps in {0.1: 20, 0.5: 8, 40.0: 4}.items():
        monkeypatch.setattr(speed, "timed", lambda epoch, wait, seconds=seconds: seconds)
        assert speed._fitting_steps(course) == steps


def test_learning_on_a_gpu_counts_its_waits(
    pretended: Setting, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = _rows(learning.check_learning, pretended)
    refused = found.pop("fp16 learns")  # which a CPU cannot
    assert refused.status == "failed"
    assert refused.reason.startswith("TrainingError: Cannot compute in fp16 on the CPU")
    assert {row.status for row in found.values()} == {"ok"}
    waits = "calls of a step that wait for the GPU, strong augmentation, mixup, average"
    assert found[waits].value == 0
    assert found["test_efficientnet, auto: share of the GPU's memory at the peak"].value == 0.25


def test_scores_of_a_gpu_are_compared_in_both_formats(pretended: Setting, tmp_path: Path) -> None:
    for name in ("crops.npy", "pictures"):
        (tmp_path / name).symlink_to(pretended.folder / name)
    found = _rows(answers.compare_scores, replace(pretended, folder=tmp_path))
    assert [row.status for row in found.values()] == ["ok"] * 3
    assert [what.rpartition(", ")[2] for what in found][1:] == ["fp32", "--half"]


@pytest.mark.parametrize(
    ("message", "status"), [("as it is", "ok"), ("CUDA out of memory", "failed")]
)
def test_message_of_small_memory_is_read(
    pretended: Setting, monkeypatch: pytest.MonkeyPatch, message: str, status: str
) -> None:
    def learn(self: Setting, name: str, count: int, **options: Any) -> None:
        if name != "large":
            asked.append((count, options["batch_size"], options["accumulate"]))
        elif message != "as it is":
            raise TrainingError(message)
        else:
            gpu = Backend(torch.device("cuda"), torch.float32)
            nothing: Any = None
            with settle.telling_what_fits(nothing, nothing, options["batch_size"], 1, gpu):
                raise torch.OutOfMemoryError("CUDA out of memory")

    asked: list[tuple[int, int, int]] = []
    monkeypatch.setattr(Setting, "learn", learn)
    monkeypatch.setattr(settle, "_fits", lambda model, source, size, backend: size <= 37)
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda device: (3 * 2**30 + 5, 2**32))
    two = replace(pretended, models=("a", "b"), is_tiny=False)
    found = list(_rows(learning.check_memory, two).values())
    assert found[0].status == status
    assert asked == ([(1024, 32, 32)] if status == "ok" else [])


@pytest.mark.parametrize(
    ("device", "flops"),
    [
        ("NVIDIA H100 80GB HBM3", 989e12),
        ("NVIDIA H100 PCIe (bf16)", 756e12),
        ("NVIDIA H100 NVL", 835e12),
        ("NVIDIA A100-SXM4-80GB", 312e12),
        ("NVIDIA A10G", 70e12),
        ("NVIDIA L40S", 362e12),
        ("NVIDIA L4", 121e12),
        ("NVIDIA RTX A4000", None),
        ("NVIDIA T400", None),
        ("NVIDIA GeForce RTX 4090 Laptop GPU", None),
        ("Another", None),
    ],
)
def test_chips_are_known_by_whole_words(device: str, flops: float | None) -> None:
    chip = find_chip(device)
    assert (chip and chip.flops) == flops


def test_every_chip_is_found_by_its_own_name_and_has_a_source() -> None:
    assert [find_chip(f"NVIDIA {chip.name}") for chip in CHIPS] == list(CHIPS)
    assert all(chip.source for chip in CHIPS)


def test_figures_are_judged() -> None:
    rows: list[Row] = []
    book = Book("part", rows.append)
    book.at_most("right", 1.0, 1.1)
    book.at_most("slow", 1.2, 1.1, must=False)
    book.at_most("wrong", 1.2, 1.1)
    book.at_most("no number", math.nan, 1.1)
    book.expect("said", "no", "yes", is_right=False)
    book.skip("asked")
    with book.trying("tried"):
        raise ValueError("first line\nsecond line")
    assert [row.status for row in rows] == [
        *("ok", "missed", "failed", "failed", "failed", "no GPU", "failed")
    ]
    assert rows[-1].reason == "ValueError: first line"
    lines = render({"chip": "X"}, rows).splitlines()
    assert lines[0] == "chip X"
    assert lines[5] == "| part | slow | 1.2 | <= 1.1 | missed: more than wanted |"


def test_cells_keep_to_their_columns() -> None:
    line = render({}, [Row("a|b", "what", 12345.6, reason="or | and", status="failed")])
    assert line.splitlines()[-1] == "| a\\|b | what | 12346 |  | failed: or \\| and |"


def test_rows_of_a_file_are_read_without_a_cut_line(tmp_path: Path) -> None:
    path = tmp_path / "rows.jsonl"
    assert from_file(path) == []
    row = Row("part", "what", 1.5)
    to_file(path)(row)
    with path.open("a") as file:
        file.write('{"part": "cut')
    assert from_file(path) == [row]


@pytest.mark.parametrize(
    ("code", "seconds", "reason"),
    [
        ("import time; time.sleep(600)", 1, "its 1 s were over"),
        ("import os; os._exit(7)", 600, "the process ended with exit code 7"),
        ("import os; os.abort()", 600, "the process ended with exit code -6"),
    ],
)
def test_part_that_does_not_end_well_keeps_its_rows(
    tmp_path: Path, code: str, seconds: float, reason: str
) -> None:
    before = Row("odd", "first", 1.0)
    to_file(tmp_path / "odd.jsonl")(before)
    setting = Setting(torch.device("cpu"), tmp_path)
    rows = run_apart(Part("odd", 1, ""), setting, seconds, [sys.executable, "-c", code])
    assert rows == [before, Row("odd", "odd", status="failed", reason=reason)]


def test_part_without_rows_has_failed(tmp_path: Path) -> None:
    setting = Setting(torch.device("cpu"), tmp_path)
    (row,) = run_apart(Part("mute", 1, ""), setting, 600, [sys.executable, "-c", ""])
    assert (row.status, row.reason) == ("failed", "no row came")


@pytest.mark.slow
def test_part_in_a_process_of_its_own_tells_its_rows(drawn: Path) -> None:
    setting = _tiny(drawn)
    part = next(p for p in choose_parts(setting) if p.name == "memory")
    (row,) = run_apart(part, setting, 600)  # a busy machine takes a minute to import torch
    assert (row.part, row.status) == ("memory", "no GPU")


def test_times_of_the_parts_are_within_the_whole(tmp_path: Path) -> None:
    parts = choose_parts(Setting(torch.device("cuda"), tmp_path))
    assert sum(part.seconds for part in parts) <= SECONDS <= 480
    assert len({part.name for part in parts}) == len(parts)


def test_parts_without_time_left_are_not_begun(tmp_path: Path) -> None:
    parts = [Part("late", 10, "nowhere:nothing")]
    ((row,),) = run_all(parts, _tiny(tmp_path), -math.inf, apart=False)
    assert row == Row("late", "late", status="failed", reason="no time was left for it")


@pytest.mark.parametrize(("must", "code"), [(True, 1), (False, 0)])
def test_exit_code_tells_what_is_wrong_and_not_what_is_slow(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, must: bool, code: int
) -> None:
    def work(self: Part, setting: Setting, book: Book) -> None:
        book.at_most("speed", 2.0, 1.0, must=must)

    monkeypatch.setattr(run, "choose_parts", lambda setting: [Part("one", 1, "")])
    monkeypatch.setattr(Part, "work", work)
    monkeypatch.setattr(Setting, "draw", lambda self: None)
    assert main(["--tiny", "--here", "--folder", str(tmp_path)]) == code


@pytest.mark.parametrize(
    ("failures", "skipped", "found", "statuses"),
    [
        (0, 0, "3, 0, 0", ["ok"]),
        (1, 0, "2, 1, 0", ["failed", "failed"]),
        (0, 1, "2, 0, 1", ["failed"]),
        (0, 3, "0, 0, 3", ["failed"]),
    ],
)
def test_report_of_tests_is_counted(
    tmp_path: Path, failures: int, skipped: int, found: str, statuses: list[str]
) -> None:
    case = '<testcase name="odd"><failure message="assert 1 == 2&#10;more"/></testcase>' * failures
    counts = f'tests="3" failures="{failures}" errors="0" skipped="{skipped}"'
    report = tmp_path / "tests.xml"
    report.write_text(f"<testsuites><testsuite {counts}>{case}</testsuite></testsuites>")
    rows: list[Row] = []
    tell_tests(report, "tests", Book("tests", rows.append))
    assert rows[0].value == found
    assert [row.status for row in rows] == statuses
    assert [(row.what, row.value) for row in rows[1:]] == [("odd", "assert 1 == 2")] * failures
