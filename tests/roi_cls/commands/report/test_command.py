"""``roi-cls report``: what a run left becomes one page, and what is missing is said."""

import html
import json
import re
import shutil
from collections.abc import Callable
from pathlib import Path
from subprocess import CompletedProcess

import numpy as np
import pytest
from PIL import Image

from tests.helpers.archives import zip_folder

Command = Callable[..., CompletedProcess[str]]
ODD_NAMES = ("<img src=x onerror=alert(1)>", "a$b$c", "日本")


@pytest.fixture(scope="module")
def evaluated(
    tiny_runs: Path, tiny_set: Path, command: Command, tmp_path_factory: pytest.TempPathFactory
) -> Path:
    """The run ``tiny``, evaluated; read only."""
    run = tmp_path_factory.mktemp("evaluated") / "tiny"
    shutil.copytree(tiny_runs / "tiny", run)
    done = command("evaluate", tiny_set, "--run", run, "--device", "cpu", "--cache", run.parent)
    assert done.returncode == 0, done.stderr
    return run


@pytest.fixture
def write_report(command: Command, tmp_path: Path) -> Callable[..., str]:
    """Write the report on a run and return its text."""

    def write(run: Path, *arguments: object) -> str:
        file = tmp_path / "report.html"
        places = ("--cache", tmp_path / "cache", "--device", "cpu", "--workers", "0")
        done = command("report", "--run", run, "-o", file, *places, *arguments)
        assert (done.returncode, done.stderr) == (0, ""), done.stderr
        assert done.stdout == f"Report on run {run.name!r}: {file}\n"
        return file.read_text(encoding="utf-8")

    return write


def words(page: str) -> str:
    """Return what a reader reads, with single spaces."""
    text = re.sub(r"<(style|script|svg)\b.*?</\1>", " ", page, flags=re.DOTALL)
    return " ".join(html.unescape(re.sub(r"<[^>]+>", " ", text)).split())


def test_report_says_what_the_evaluation_says(
    evaluated: Path, write_report: Callable[..., str]
) -> None:
    page = write_report(evaluated)
    text, found = words(page), json.loads((evaluated / "evaluation.json").read_bytes())
    assert found["verdict"] in text
    right = sum(row[i] for i, row in enumerate(found["confusion_matrix"]["counts"]))
    assert f"Of {found['images']} test pictures the run answered {right} rightly" in text
    assert "Always answering 'plain', without looking, would be right for" in text
    for heading in ("Summary", "Training", "Answers", "Ranking", "Probabilities", "Abstaining"):
        assert f">{heading}</h2>" in page
    for heading in ("Slices", "Pictures", "Data", "The run"):
        assert f">{heading}</h2>" in page
    assert "40 pictures, 0 of them unreadable" in text
    assert text.count("Times that labelled pictures were scored") == 1


def test_report_has_every_figure_with_words_and_numbers(
    evaluated: Path, write_report: Callable[..., str]
) -> None:
    page = write_report(evaluated, "--no-audit", "--no-pictures")
    titles = re.findall(r"<figure.*?<h3>(.*?)</h3>.*?</figure>", page, flags=re.DOTALL)
    started = [title.split(":")[0].split(" of the")[0] for title in map(html.unescape, titles)]
    assert started == [
        *("Loss", "Target on validation", "Learning rate", "ROC curve", "Precision and recall"),
        *("Reliability", "Probabilities", "Probabilities", "Risk and coverage"),
    ]
    for figure in re.findall(r"<figure.*?</figure>", page, flags=re.DOTALL):
        assert re.search(r'role="img" aria-label="[^"]{30,}"', figure)
        assert "<svg viewBox=" in figure
    assert page.count("<caption>") >= len(titles) + 5


def test_report_names_no_address_and_needs_no_other_file(
    evaluated: Path, write_report: Callable[..., str]
) -> None:
    page = write_report(evaluated)
    assert "http:" not in page
    assert "https:" not in page
    assert set(re.findall(r'(?:src|href)="(data:|#|[^"]*)', page)) <= {"data:", "#"} | {
        f"#{name}" for name in re.findall(r'id="([^"]+)"', page)
    }
    assert not re.search(r"\son[a-z]+=", page), "an inline handler"
    assert len(page) < 2e6


def test_pictures_and_heat_are_shown(evaluated: Path, write_report: Callable[..., str]) -> None:
    page = write_report(evaluated, "--no-audit")
    found = json.loads((evaluated / "evaluation.json").read_bytes())
    wrong = sum(
        count
        for i, row in enumerate(found["confusion_matrix"]["counts"])
        for j, count in enumerate(row)
        if i != j
    )
    mistakes = page.partition('id="mistakes"')[2].partition("</section>")[0]
    assert mistakes.count('<li class="picture') == wrong
    uncertain = page.partition('id="least-certain"')[2].partition("</section>")[0]
    assert uncertain.count("<img") == 3 * uncertain.count('<li class="picture')
    assert "Grad-CAM shows what in the crop spoke for" in uncertain
    assert "Grad-CAM: what spoke for odd is strongest at the" in uncertain
    sample = page.partition('id="sample"')[2].partition("</section>")[0]
    assert sample.count("<img") == found["images"]


def test_without_pictures_nobody_is_shown(
    evaluated: Path, write_report: Callable[..., str]
) -> None:
    page = write_report(evaluated, "--no-pictures", "--no-audit")
    assert "data:image/jpeg" not in page
    text = words(page)
    assert "Left out, as asked (--no-pictures)." in text
    assert "The data were not read, as asked (--no-audit)." in text
    assert "odd/00.png" in text or "plain/" in text  # which pictures they are is still said


def test_without_an_evaluation_validation_is_shown_and_the_way_to_test_told(
    tiny_runs: Path, write_report: Callable[..., str]
) -> None:
    text = words(write_report(tiny_runs / "tiny", "--no-audit"))
    assert "The run has not been evaluated on a test part yet." in text
    assert "which also chose the best epoch, the scaling and the threshold: they flatter" in text
    assert re.search(r"roi-cls evaluate \S+/set --run tiny", text)
    assert re.search(r"Of \d+ validation pictures the run answered", text)
    assert "The run has never been scored on a test part." in text


def test_moved_pictures_are_said_and_found_again(
    tiny_set: Path,
    tiny_train_arguments: list[str],
    tmp_path: Path,
    command: Command,
    write_report: Callable[..., str],
) -> None:
    data = shutil.copytree(tiny_set, tmp_path / "set")
    places = ("--run", "moved", "--runs", tmp_path, "--cache", tmp_path / "cache")
    assert command("train", data, *tiny_train_arguments, *places).returncode == 0
    assert command("evaluate", data, "--device", "cpu", *places).returncode == 0
    data.rename(tmp_path / "elsewhere")
    text = words(write_report(tmp_path / "moved"))
    assert f"The scored pictures are not to be found in {str(data)!r}" in text
    assert "Say where they lie: roi-cls report --run moved --data FOLDER" in text
    page = write_report(tmp_path / "moved", "--data", tmp_path / "elsewhere", "--no-audit")
    assert "data:image/jpeg" in page


def test_pictures_in_an_archive_are_found_and_audited(
    evaluated: Path, tiny_set: Path, tmp_path: Path, write_report: Callable[..., str]
) -> None:
    data = zip_folder(tiny_set, tmp_path / "set.zip")
    page = write_report(evaluated, "--data", data)
    assert "data:image/jpeg" in page
    assert "Say where they lie" not in words(page)


def test_another_file_of_the_same_name_is_not_shown(
    evaluated: Path, tiny_set: Path, tmp_path: Path, write_report: Callable[..., str]
) -> None:
    data = shutil.copytree(tiny_set, tmp_path / "set")
    scored = (evaluated / "scores_test.csv").read_text().splitlines()[1:]
    path = scored[0].split(",")[0]
    Image.fromarray(np.zeros((9, 9, 3), np.uint8)).save(data / path)
    text = words(write_report(evaluated, "--data", data, "--no-audit"))
    assert f"Cannot show {str(data / path)!r}: it is not the file that was scored" in text
    assert "1 of the" in text


def test_scores_by_source_are_a_section_where_sources_are_known(
    evaluated: Path,
    tiny_set: Path,
    tmp_path: Path,
    command: Command,
    write_report: Callable[..., str],
) -> None:
    less = ("--no-audit", "--no-pictures")
    assert "By source" not in write_report(evaluated, *less)
    page = write_report(evaluated, *less, "--group-regex", "/([0-9])[0-9]")
    assert ">By source</h2>" in page
    assert "cannot be said: that takes 10 pictures that are not 'odd' in each of two" in words(page)
    rows = re.findall(r"<tr>.*?</tr>", page.partition('id="sources"')[2], flags=re.DOTALL)
    told = [words(row) for row in rows[: rows.index("</table>") if "</table>" in rows else 6]]
    assert told[0].startswith("Source Pictures of 'odd' ROC-AUC Average precision Accuracy")
    assert told[1].startswith("all 8 2 (25%) ")
    run = shutil.copytree(evaluated, tmp_path / "tiny")
    places = ("--run", run, "--device", "cpu", "--cache", run.parent)
    done = command("evaluate", tiny_set, *places, "--group-regex", "odd|plain")
    assert done.returncode == 0, done.stderr
    text = words(write_report(run, *less))  # as evaluated, without being asked again
    assert "odd 2 2 (100%) too few too few too few too few too few too few" in text.replace(
        "\xa0", " "
    )
    assert "plain 6 0 (0%)" in text


def test_pattern_that_names_no_source_is_an_error(evaluated: Path, command: Command) -> None:
    done = command("report", "--run", evaluated, "--group-regex", "person_([0-9]+)")
    assert done.returncode == 1
    assert "it matches none of the 8 paths" in done.stderr
    assert not (evaluated / "report.html").exists()


def test_a_run_split_by_few_large_groups_is_told_by_them(
    tiny_train_arguments: list[str],
    tmp_path: Path,
    command: Command,
    write_report: Callable[..., str],
) -> None:
    random = np.random.default_rng(0)
    for i in range(100):
        label = ("odd", "plain")[i % 2]
        source = f"learned{i}" if i < 40 else ("omi", "far")[i % 4 // 2]
        pixels = random.integers(0, 99, (24, 24, 3), dtype=np.uint8)
        part = tmp_path / "set" / ("train" if i < 40 else "test") / label
        part.mkdir(parents=True, exist_ok=True)
        Image.fromarray(pixels).save(part / f"{source}_{i}.png")
    places = ("--runs", tmp_path, "--cache", tmp_path / "cache", "--run", "by-source")
    by_source = ("--group-regex", "([a-z0-9]+)_")
    data = tmp_path / "set"
    done = command("train", data, *tiny_train_arguments, *places, *by_source)
    assert done.returncode == 0, done.stderr
    done = command("evaluate", data, "--device", "cpu", *places)
    assert done.returncode == 0, done.stderr
    assert re.search(r"^omi +30 +15  ", done.stdout, re.M)
    assert re.search(r"^far +30 +15  ", done.stdout, re.M)
    assert ">By source</h2>" in write_report(tmp_path / "by-source", "--no-audit", "--no-pictures")


def test_a_damaged_evaluation_is_said(
    evaluated: Path, tmp_path: Path, write_report: Callable[..., str]
) -> None:
    run = shutil.copytree(evaluated, tmp_path / "tiny")
    (run / "evaluation.json").write_text("{")
    text = words(write_report(run, "--no-audit", "--no-pictures"))
    assert "evaluation.json' is damaged" in text
    (run / "scores_validation.csv").unlink()
    text = words(write_report(run, "--no-audit", "--no-pictures"))
    assert "Training left no scores, either." in text
    assert "Key numbers" not in text


def test_three_classes_of_any_name(
    command: Command,
    tiny_train_arguments: list[str],
    tmp_path: Path,
    write_report: Callable[..., str],
) -> None:
    random = np.random.default_rng(0)
    for place, name in enumerate(ODD_NAMES):
        (tmp_path / "set" / name).mkdir(parents=True)
        for i in range(12):
            pixels = random.integers(0, 99, (32, 32, 3), dtype=np.uint8)
            pixels[..., place] += 120
            Image.fromarray(pixels).save(tmp_path / "set" / name / f"{i:02}.png")
    places = ("--runs", tmp_path, "--cache", tmp_path / "cache")
    trained = command("train", tmp_path / "set", "--run", "odd", *tiny_train_arguments, *places)
    assert trained.returncode == 0, trained.stderr
    tested = command("evaluate", tmp_path / "set", "--run", "odd", "--device", "cpu", *places)
    assert tested.returncode == 0, tested.stderr
    page = write_report(tmp_path / "odd")
    assert "<img src=x" not in page
    assert "&lt;img src=x onerror=alert(1)&gt;" in page
    text = words(page)
    for name in ODD_NAMES:
        assert f"pictures of {name!r}" in text
    assert "the most probable class" in text
    assert re.search(r"spoke for the answer given", text)


def test_a_test_part_of_one_class_alone(
    tiny_runs: Path,
    tmp_path: Path,
    command: Command,
    write_report: Callable[..., str],
) -> None:
    run = shutil.copytree(tiny_runs / "tiny", tmp_path / "tiny")
    random = np.random.default_rng(1)
    (tmp_path / "new" / "plain").mkdir(parents=True)
    for i in range(5):
        pixels = random.integers(0, 80, (40, 40, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(tmp_path / "new" / "plain" / f"{i}.png")
    places = ("--run", run, "--device", "cpu", "--cache", tmp_path / "cache")
    done = command("evaluate", tmp_path / "new", *places)
    assert done.returncode == 0, done.stderr
    text = words(write_report(run, "--data", tmp_path / "new"))
    assert "None of the pictures is of 'odd', the class it looks for." in text
    assert "A ranking needs pictures of 'odd' and others; here all are of one side." in text
    assert "ROC-AUC and average precision are undefined" in text
    assert "of the 40 pictures of the run's split are not in" in text  # other data than trained on


def test_report_is_written_into_the_run_unless_told_otherwise(
    evaluated: Path, command: Command, tmp_path: Path
) -> None:
    run = shutil.copytree(evaluated, tmp_path / "tiny")
    less = ("--no-audit", "--no-pictures", "--device", "cpu")
    done = command("report", "--run", "tiny", "--runs", tmp_path, *less)
    assert done.stdout == f"Report on run 'tiny': {run / 'report.html'}\n"
    assert (run / "report.html").stat().st_size > 50_000


def test_unknown_run_is_an_error(command: Command, tmp_path: Path) -> None:
    done = command("report", "--run", "nothing", "--runs", tmp_path)
    assert done.returncode == 1
    assert "Cannot use the run 'nothing': there is none." in done.stderr


def test_of_many_classes_the_most_frequent_mix_ups_are_told(
    evaluated: Path,
    tiny_train_arguments: list[str],
    tmp_path: Path,
    command: Command,
    write_report: Callable[..., str],
) -> None:
    random = np.random.default_rng(0)
    for i in range(21 * 6):
        folder = tmp_path / "set" / f"kind {i % 21:02}"
        folder.mkdir(parents=True, exist_ok=True)
        pixels = random.integers(0, 256, (16, 16, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(folder / f"{i}.png")
    places = ("--run", "many kinds", "--runs", tmp_path, "--cache", tmp_path / "cache")
    done = command("train", tmp_path / "set", *tiny_train_arguments, *places)
    assert done.returncode == 0, done.stderr
    page = write_report(tmp_path / "many kinds", "--no-audit", "--no-pictures")
    text = words(page)
    assert 'class="confusion"' not in page
    assert re.search(r"What is taken for what, the \d+ most frequent of \d+: a matrix of 21", text)
    assert f"roi-cls evaluate {tmp_path / 'set'} --run 'many kinds'" in text
    assert 'class="confusion"' in write_report(evaluated, "--no-audit", "--no-pictures")
