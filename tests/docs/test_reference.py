"""docs/reference.md is what the code says now, and leaves nothing out."""

import re
from dataclasses import fields
from pathlib import Path
from typing import Literal

import pytest

from docs.tools import command_words, make_reference, reference_words
from roi_cls.classifier.config import TrainConfig
from roi_cls.roi import CropParams

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"


@pytest.fixture(scope="module")
def page() -> str:
    text: str = make_reference.render()
    return text


def test_reference_is_up_to_date(page: str) -> None:
    written = (DOCS / "reference.md").read_text(encoding="utf-8")
    assert written == page, "run: make reference"


def test_every_command_and_option_is_in_it(page: str) -> None:
    for name, command in command_words.all_commands().items():
        assert f"\n### roi-cls {name}\n" in page
        for option in command_words.options_of(command) - {"--help"}:
            assert f"`{option}`" in page


def test_every_example_uses_commands_and_options_that_exist(page: str) -> None:
    examples = re.findall(r"^    (.*roi-cls.*)$", page, re.M)
    assert len(examples) >= len(command_words.all_commands())
    for example in examples:
        assert list(command_words.unknown_words(example)) == []


@pytest.mark.parametrize("settings", [TrainConfig, CropParams])
def test_every_setting_has_a_row_with_its_default_and_meaning(page: str, settings: type) -> None:
    for field in fields(settings):
        (row,) = re.findall(
            rf"^\| `{field.name}` \| .* \|$", page[page.index("## Settings") :], re.M
        )[:1]
        *_, default, meaning = [cell.strip() for cell in row.strip("|").split(" | ")]
        assert default
        assert meaning


def test_every_environment_variable_of_the_code_is_in_it(page: str) -> None:
    places = [ROOT / name for name in ("roi_cls", "roi", "cache", "data", "classifier")]
    code = "".join(p.read_text(encoding="utf-8") for place in places for p in place.rglob("*.py"))
    assert len(set(re.findall(r"ROI_CLS_[A-Z_]+", code))) > 5
    for name in set(re.findall(r"ROI_CLS_[A-Z_]*[A-Z]", code)):
        assert f"| `{name}` |" in page


def test_every_link_inside_leads_somewhere(page: str) -> None:
    heads = re.findall(r"^#+ (.*)$", page, re.M)
    anchors = {head.lower().replace(" ", "-") for head in heads}
    assert set(re.findall(r"\]\(#([^)]*)\)", page)) <= anchors


def test_every_table_has_as_many_cells_in_each_row(page: str) -> None:
    for table in re.findall(r"(?:^\|.*\|\n)+", page, re.M):
        counts = {len(re.findall(r"(?<!\\)\|", row)) for row in table.splitlines()}
        assert len(counts) == 1, table


@pytest.mark.parametrize(
    ("hint", "words"),
    [
        (int | None, "whole number"),
        (Literal["a", "b"] | None, "`a`, `b`"),
        (list[Path], "path, several"),
        (tuple[float, float, float, float], "list of numbers"),
        (tuple[tuple[float, float], ...], "list of lists"),
        (bool, "on or off"),
        (dict[str, float] | None, "object"),
    ],
)
def test_types_are_told_in_words(hint: object, words: str) -> None:
    assert reference_words.type_words(hint) == words


@pytest.mark.parametrize(
    ("text", "written"),
    [
        ("one of 'a' or ``b``", "one of `a` or `b`"),
        ("the model's own, others' too", "the model's own, others' too"),
        ("this | that; None", "this \\| that; null"),
    ],
)
def test_quoted_words_become_code(text: str, written: str) -> None:
    assert reference_words.escape(text) == written
