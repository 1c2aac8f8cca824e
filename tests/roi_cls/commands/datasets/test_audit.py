"""``roi-cls data audit``: what it prints, and its exit codes."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from subprocess import CompletedProcess

import pytest
from PIL import Image as PillowImage

from tests.helpers.colours import PROFILES

Command = Callable[..., CompletedProcess[str]]


@pytest.fixture
def folder(tmp_path: Path, tiny_set: Path) -> Path:
    """The tiny set, in train and test."""
    for i, path in enumerate(sorted(tiny_set.glob("*/*.png"))):
        target = tmp_path / "set" / ("train" if i % 2 else "test") / path.parent.name / path.name
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(path, target)
    return tmp_path / "set"


def test_report_names_faults_with_paths_in_the_set(command: Command, folder: Path) -> None:
    done = command("data", "audit", folder, "--target", "odd", "--workers", 0)
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("40 pictures, 0 of them unreadable. Nothing leaks from one part")
    assert "warn: brightness alone tells 'odd' from the others with ROC-AUC 1.00" in done.stdout
    assert "warn: The part 'train' has only 5 odd, 15 plain" in done.stdout
    source = next((folder / "train/plain").iterdir())
    shutil.copyfile(source, folder / "test/plain/copy.png")
    done = command("data", "audit", folder, "--workers", 0)
    assert done.returncode == 1
    assert "Scores on these data would be wrong: 1 finding(s) below fail." in done.stdout
    assert "fail: Pictures with the same bytes in two parts: 1." in done.stdout
    assert f"      train/plain/{source.name}  test/plain/copy.png\n" in done.stdout


def test_colour_profiles_are_listed_by_class(command: Command, folder: Path) -> None:
    assert "colour profile" not in command("data", "audit", folder, "--workers", 0).stdout
    for path in folder.rglob("odd/*.png"):
        PillowImage.open(path).save(path, icc_profile=PROFILES["Display P3"])
    shown = command("data", "audit", folder, "--target", "odd", "--workers", 0).stdout
    lines = [" ".join(line.split()) for line in shown.splitlines()]
    assert lines[lines.index("colour profile odd plain all") + 2 :][:2] == [
        "Display P3 10 (100%) 0 (0%) 10",
        "none 0 (0%) 30 (100%) 30",
    ]


def test_more_than_a_few_examples_are_left_to_json(command: Command, folder: Path) -> None:
    source = next((folder / "train/plain").iterdir())
    for i in range(7):
        shutil.copyfile(source, folder / "test/plain" / f"copy{i}.png")
    shown = command("data", "audit", folder, "--workers", 0).stdout
    assert "\n      and 2 more (`roi-cls data audit --json` lists all)\n" in shown
    assert "\n\n pictures " in shown
    assert "\n\n\n pictures " not in shown


def test_unreadable_files_end_with_3_and_leaks_come_first(command: Command, folder: Path) -> None:
    (folder / "train/plain/bad.png").write_bytes(b"no picture")
    done = command("data", "audit", folder, "--workers", 0)
    assert done.returncode == 3
    assert "warn: Files that cannot be read: 1." in done.stdout
    assert "train/plain/bad.png" in done.stdout
    source = next((folder / "train/odd").iterdir())
    shutil.copyfile(source, folder / "test/odd/copy.png")
    assert command("data", "audit", folder, "--workers", 0).returncode == 1


def test_groups_of_names_are_seen(command: Command, folder: Path) -> None:
    done = command("data", "audit", folder, "--group-regex", "/([0-9])[0-9]", "--workers", 0)
    assert done.returncode == 1
    assert "fail: Groups in two parts: 4." in done.stdout
    assert done.stdout.count("\n      ") >= 4
    bad = command("data", "audit", folder, "--group-regex", "person_([0-9]+)")
    assert bad.returncode == 1
    assert "it matches none of the 40 paths" in bad.stderr
    wrong = command("data", "audit", folder, "--group-regex", "(")
    assert wrong.returncode == 2
    assert "must be a regular expression" in wrong.stderr


def test_json_has_the_same_findings(command: Command, folder: Path) -> None:
    done = command("data", "audit", folder, "--json", "--workers", 0)
    values = json.loads(done.stdout)
    assert (done.returncode, values["failed"], values["pictures"]) == (0, False, 40)
    assert values["parts"]["train"] == {"odd": 5, "plain": 15}
    assert values["passed_over"] == {}


def test_what_is_passed_over_is_counted(command: Command, folder: Path) -> None:
    for name in ("a.txt", "b.txt", "noext", "@eaDir/x.png"):
        (folder / "train/odd" / name).parent.mkdir(exist_ok=True)
        (folder / "train/odd" / name).write_text("hello")
    done = command("data", "audit", folder, "--workers", 0)
    line = "Passed over: 2 .txt, 1 folder '@eaDir', 1 without suffix."
    assert done.stdout.splitlines()[1] == line
    assert line not in done.stderr
    done = command("data", "audit", folder, "--json", "--workers", 0)
    values = json.loads(done.stdout)
    assert values["passed_over"] == {".txt": 2, "@eaDir/": 1, "without suffix": 1}
    assert values["pictures"] == 40
