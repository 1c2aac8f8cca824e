"""Groups of pictures: which are found, how each fares, and whether the score tells them apart."""

import json
import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from rich.cells import cell_len

from roi_cls.base.errors import BundleError, DataError
from roi_cls.classifier.evaluation.evaluation import Evaluation, evaluate_scores
from roi_cls.classifier.evaluation.grouping import Grouping, Names, find_grouping, judge_groups
from roi_cls.classifier.evaluation.groups import GroupComparison
from roi_cls.classifier.evaluation.pictures import ScoredPictures
from roi_cls.classifier.evaluation.summary import render_summary
from roi_cls.classifier.evaluation.table import EVALUATION_WIDTH, render_evaluation
from roi_cls.classifier.metrics.measure import measure_scores
from roi_cls.classifier.runs.folder import RunFolder
from roi_cls.classifier.runs.scores import ScoreTable
from roi_cls.data.sample import Sample
from roi_cls.data.table import write_split

Part = tuple[str | None, int, int, float]
"""Group, pictures of the target, others, and what is added to all their scores."""


def compare(*parts: Part, skill: float = 0.3) -> GroupComparison:
    """Return the comparison of groups whose scores differ by what is given."""
    labels, names, scores = [], [], []
    generator = np.random.default_rng(4)
    for name, targets, others, shift in parts:
        own = np.repeat([0, 1], (targets, others))
        labels += list(own)
        names += [name] * (targets + others)
        middle = 0.35 + shift + skill * (own == 0)
        scores += list(np.clip(middle + generator.uniform(-0.25, 0.25, len(own)), 0.01, 0.99))
    return compare_scores(labels, scores, tuple(names))


def compare_scores(labels: Any, scores: Any, names: Names) -> GroupComparison:
    probabilities = np.stack([np.asarray(scores), 1 - np.asarray(scores)], axis=1)
    evaluation = evaluate_scores(
        labels, probabilities, ["odd", "plain"], "odd", 0.5, ["face"] * len(names)
    )
    pictures = ScoredPictures(np.array(labels, np.int64), probabilities, evaluation)
    groups = judge_groups(pictures, Grouping(names, "([a-z]+)_")).evaluation.groups
    assert groups is not None
    return groups


def test_each_group_has_the_figures_of_its_own_pictures() -> None:
    generator = np.random.default_rng(0)
    labels, scores = np.arange(90) % 3 // 2, generator.random(90)
    names = tuple("ab"[i < 40] for i in range(90))
    row = compare_scores(labels, scores, names).rows[0]
    at = np.array(names) == "a"
    own = np.stack([scores, 1 - scores], axis=1)[at]
    alone = measure_scores(labels[at], own, "xy", target=0, threshold=0.5, majority=0)
    assert (row.title, row.images, row.targets) == ("a", 50, int((labels[at] == 0).sum()))
    assert (row.roc_auc, row.average_precision) == (alone.roc_auc, alone.average_precision)
    assert row.accuracy == alone.accuracy
    assert row.mean_target == pytest.approx(scores[at][labels[at] == 0].mean())
    assert row.mean_other == pytest.approx(scores[at][labels[at] == 1].mean())


@pytest.mark.parametrize(
    ("targets", "others", "defined"),
    [
        (10, 10, {"roc_auc", "average_precision", "accuracy", "mean_target", "mean_other", "told"}),
        (9, 10, {"accuracy", "mean_other", "told"}),
        (10, 9, {"accuracy", "mean_target"}),
        (0, 30, {"accuracy", "mean_other", "told"}),
        (30, 0, {"accuracy", "mean_target"}),
        (5, 5, {"accuracy"}),
        (4, 5, set()),
        (1, 0, set()),
    ],
)
def test_too_few_pictures_give_no_figure(targets: int, others: int, defined: set[str]) -> None:
    row = compare(("big", 50, 60, 0), ("small", targets, others, 0)).rows[1]
    values = {name: getattr(row, name) for name in ("roc_auc", "average_precision", "accuracy")}
    values |= {"mean_target": row.mean_target, "mean_other": row.mean_other}
    values["told"] = row.told_apart
    assert {name for name, value in values.items() if value is not None} == defined
    assert (row.name, row.images, row.targets) == ("small", targets + others, targets)


@pytest.mark.parametrize(
    ("parts", "titles", "remark"),
    [
        ([("b", 9, 9, 0), ("a", 9, 9, 0), ("c", 9, 10, 0)], ["c", "a", "b"], ""),
        ([(None, 9, 9, 0), ("a", 1, 0, 0)], ["a", "no source named"], ""),
        ([("a", 3, 3, 0)], ["a"], ""),
        ([(f"g{i:02}", 2, 2, 0) for i in range(13)], [f"g{i:02}" for i in range(13)], ""),
        (
            [*((f"g{i:02}", 2, 2, 0) for i in range(14)), (None, 1, 1, 0)],
            [*(f"g{i:02}" for i in range(12)), "2 others", "no source named"],
            "Of 14 sources the 12 largest have a row each, the others one.",
        ),
    ],
)
def test_rows_are_the_largest_groups_the_others_and_the_unnamed(
    parts: list[Part], titles: list[str], remark: str
) -> None:
    groups = compare(*parts)
    assert [row.title for row in groups.rows] == titles
    assert groups.remark == remark
    assert sum(row.images for row in groups.rows) == sum(part[1] + part[2] for part in parts)


@pytest.mark.parametrize(
    ("parts", "is_told", "words"),
    [
        ([("omi", 20, 60, 0), ("far", 20, 60, 0)], False, "not clearly tell the sources apart: RO"),
        (
            [("omi", 20, 60, 0.15), ("far", 20, 60, 0)],
            True,
            "those of 'omi' score higher than those of 'far' (ROC-AUC between them 0.7",
        ),
        (
            [("omi", 20, 60, -0.15), ("far", 20, 60, 0)],
            True,
            "those of 'far' score higher than those of 'omi' (ROC-AUC between them 0.7",
        ),
        (
            [("omi", 20, 60, 0.15), (None, 20, 60, 0)],
            True,
            "those of 'omi' score higher than those of no named source (",
        ),
        (
            [("a", 20, 60, 0.2), ("b", 20, 60, 0), ("c", 20, 60, 0)],
            True,
            "those of 'a' score higher than all others (ROC-AUC 0.",
        ),
        (
            [("a", 20, 60, 0), ("b", 20, 60, 0), ("c", 20, 60, 0)],
            False,
            "apart: no interval of ROC-AUC between one and the others excludes 0.5.",
        ),
        (
            [("a", 20, 60, 0.2), ("b", 20, 60, 0), ("c", 20, 60, -0.2)],
            True,
            "], chance is 0.5), those of 'a' higher (0.",
        ),
        (
            [(name, 0, 60, 0.1 * i) for i, name in enumerate("abcd")],
            True,
            "and 1 more differs, too. So the run",
        ),
        (
            [(name, 0, 60, 0.4 * i) for i, name in enumerate("abcdefghi")],
            True,
            "and 6 more differ, too. So the run may be sure for a reason that is not the face",
        ),
        ([("a", 20, 60, 0.5)], False, "All pictures are of one source: there is nothing to comp"),
        (
            [("a", 90, 9, 0.5), ("b", 90, 60, 0)],
            False,
            "cannot be said: that takes 10 pictures that are not 'odd' in each of two.",
        ),
        ([("a", 90, 0, 0.5), ("b", 0, 90, 0)], False, "cannot be said"),
    ],
)
def test_score_that_tells_the_source_among_the_others_is_said(
    parts: list[Part], is_told: bool, words: str
) -> None:
    groups = compare(*parts)
    assert groups.is_told == is_told
    assert words in groups.verdict("odd")


def test_a_target_that_scores_otherwise_does_not_tell_the_source() -> None:
    labels = [0] * 40 + [1] * 80 + [0] * 40 + [1] * 80
    generator = np.random.default_rng(1)
    scores = generator.uniform(0.1, 0.4, 240)
    scores[:40] += 0.5  # found in one source, missed in the other
    groups = compare_scores(labels, scores, ("a",) * 120 + ("b",) * 120)
    assert not groups.is_told
    best, worst = (row.roc_auc for row in groups.rows)
    assert f" ROC-AUC differs clearly: {best} for 'a', {worst} for 'b'." in groups.verdict("odd")
    assert "differs" not in compare(("a", 20, 60, 0), ("b", 20, 60, 0)).verdict("odd")


def test_several_comparisons_are_as_sure_together_as_one() -> None:
    assert compare(("a", 9, 60, 0), ("b", 9, 60, 0)).confidence == pytest.approx(0.95)
    parts: list[Part] = [(name, 9, 60, 0) for name in "abcde"]
    assert compare(*parts, ("f", 9, 9, 0)).confidence == pytest.approx(0.99)


def test_what_is_gained_by_telling_the_source_is_gone_within_it() -> None:
    groups = compare(("a", 60, 20, 0.3), ("b", 20, 60, 0), skill=0)
    assert groups.within is not None
    assert groups.within.holds(0.5)
    assert groups.is_told
    assert groups.verdict("odd").endswith(
        f"With pictures compared only within their source, ROC-AUC is {groups.within}."
    )
    assert compare(("a", 60, 0, 0), ("b", 0, 60, 0)).within is None


def table(*paths: str) -> ScoreTable:
    digests = tuple(f"digest {path}" for path in paths)
    kinds = ("odd",) * len(paths), ("face",) * len(paths)
    return ScoreTable(paths, digests, *kinds, np.ones((len(paths), 2)) / 2)


def numbered(**counts: int) -> tuple[str, ...]:
    return tuple(f"{name}_{i}.png" for name, count in counts.items() for i in range(count))


@pytest.mark.parametrize(
    ("regex", "names"),
    [
        ("^([a-z]+)_", ("omi", "far", None)),
        ("^[a-z]+_", ("omi_", "far_", None)),
        ("omi", ("omi", None, None)),
    ],
)
def test_pattern_names_groups_in_the_paths_however_few(
    tmp_path: Path, regex: str, names: Names
) -> None:
    found = find_grouping(
        RunFolder(tmp_path),
        {"group_regex": "png"},
        table("omi_1.png", "far_1.png", "1.png"),
        regex,
        {"omi_1.png": "not asked for"},
    )
    assert found == Grouping(names, regex)


def test_pattern_that_names_no_scored_picture_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"it matches none of the 2 paths, like 'a_0\.png'"):
        find_grouping(RunFolder(tmp_path), {}, table(*numbered(a=2)), "x+")


@pytest.mark.parametrize(
    ("counts", "are_sources"),
    [
        ({"a": 20, "b": 20}, True),
        ({"a": 35, "b": 5}, True),  # on the average
        ({"a": 20, "b": 19}, False),
        ({"a": 100}, False),  # one is nothing to compare
        ({f"{i:c}": 20 for i in range(97, 109)}, True),
        ({f"{i:c}": 20 for i in range(97, 110)}, False),  # so many are persons
        ({}, False),
    ],
)
def test_few_large_groups_of_the_split_are_sources_and_many_small_ones_persons(
    tmp_path: Path, counts: dict[str, int], are_sources: bool
) -> None:
    run, paths = RunFolder(tmp_path), numbered(**counts) or ("alone.png",)
    groups = [path.partition("_")[0] if counts else None for path in paths]
    scored = table(*paths)
    samples = [Sample(Path(p), "odd", "test", g) for p, g in zip(paths, groups, strict=True)]
    write_split(run.split, samples, Path(), scored.sha256)
    moved = replace(scored, paths=tuple(f"elsewhere/{path}" for path in paths))
    found = find_grouping(run, {"group_regex": None}, moved)
    assert (found is not None) == are_sources
    if found:
        assert found == Grouping(tuple(groups), None)


@pytest.mark.parametrize(
    ("regex", "known", "expected"),
    [
        ("^([a-z]+)_", {}, True),
        ("^([a-z]+)_", {"a_0.png": "one alone"}, False),
        (None, {path: path[0] for path in numbered(a=30, b=30)}, True),
        (None, {}, False),
        ("none such", {}, False),
        ("(", {}, False),  # of a config.json that somebody wrote
        (3, {}, False),
    ],
)
def test_other_pictures_are_grouped_as_they_say_or_as_the_run_was(
    tmp_path: Path, regex: Any, known: dict[str, str], expected: bool
) -> None:
    paths = numbered(a=30, b=30)
    found = find_grouping(RunFolder(tmp_path), {"group_regex": regex}, table(*paths), None, known)
    assert (found is not None) == expected
    if found:
        assert found.names == tuple(path[0] for path in paths)
        assert found.regex == regex


def test_comparison_is_kept_in_the_evaluation() -> None:
    groups = compare(("a", 20, 60, 0.2), ("b", 5, 9, 0), (None, 0, 20, 0))
    evaluation = evaluate_scores(
        [0, 1], [[0.9, 0.1], [0.2, 0.8]], ["odd", "plain"], "odd", 0.5, ["face"] * 2
    )
    assert json.loads(json.dumps(evaluation.to_dict()))["groups"] is None
    kept = Evaluation.from_dict(evaluation.to_dict() | {"groups": groups.to_dict("odd")})
    assert kept.groups == groups
    text = json.dumps(kept.to_dict(), allow_nan=False)
    assert Evaluation.from_dict(json.loads(text)) == kept
    values = json.loads(text)["groups"]
    assert values["verdict"] == groups.verdict("odd")
    assert [row["kind"] for row in values["rows"]] == ["group", "group", "unnamed"]
    older = {name: value for name, value in evaluation.to_dict().items() if name != "groups"}
    assert Evaluation.from_dict(older) == evaluation


@pytest.mark.parametrize("change", [{"kind": "odd"}, {"images": None}, {"roc_auc": {"value": 1}}])
def test_damaged_comparison_is_explained(change: dict[str, Any]) -> None:
    groups = compare(("a", 20, 20, 0), ("b", 20, 20, 0)).to_dict("odd")
    groups["rows"][0] |= change
    evaluation = evaluate_scores(
        [0, 1], [[0.9, 0.1], [0.2, 0.8]], ["odd", "plain"], "odd", 0.5, ["face"] * 2
    )
    with pytest.raises(BundleError, match="incomplete or was changed by hand"):
        Evaluation.from_dict(evaluation.to_dict() | {"groups": groups})


LONG = [
    *("omi", "far", "a long name of a source with blanks, number 1", "部门" * 30),
    *(f"prefix_{'x' * 40}_{i}" for i in range(20)),
]


def evaluated(groups: GroupComparison) -> Evaluation:
    labels = np.arange(200) % 2
    scores = np.stack([1 - labels, labels], axis=1) * 0.6 + 0.2
    evaluation = evaluate_scores(labels, scores, ["odd", "plain"], "odd", 0.5, ["face"] * 200)
    return replace(evaluation, groups=groups)


def test_screen_shows_a_short_table_and_the_sentence() -> None:
    groups = compare(("omi", 20, 61, 0.2), ("far", 20, 60, 0), ("new", 3, 12, 0))
    lines = render_summary(evaluated(groups)).splitlines()
    rows = {line[:8].strip(): line.split()[1:] for line in lines}
    omi = groups.rows[0]
    assert omi.roc_auc
    assert omi.mean_other
    assert rows["omi"][:3] == ["81", "20", f"{omi.roc_auc.value:.2f}"]
    assert rows["omi"][-1] == f"{omi.mean_other:.2f}"
    assert rows["new"][:4] == ["15", "3", "too", "few"]
    text = " ".join(" ".join(lines).split())
    assert groups.verdict("odd") in text
    assert "Too few: below 10 pictures of what a figure is of." in text


@pytest.mark.parametrize("count", [1, 2, 5, 6, 20])
@pytest.mark.parametrize("render", [render_summary, render_evaluation])
def test_groups_of_any_name_leave_the_lines_narrow(
    count: int, render: Callable[[Evaluation], str]
) -> None:
    groups = compare(*((name, 10, 30 - i, i / 50) for i, name in enumerate(LONG[:count])))
    lines = render(evaluated(groups)).splitlines()
    assert max(map(cell_len, lines)) <= EVALUATION_WIDTH
    rows = sum(bool(re.match(r".* +\d+ +10  ", line)) for line in lines)
    text = " ".join(lines)
    if render is render_summary:
        assert rows == min(count, 5)
        assert len(lines) <= 46
        left = {6: "And 1 more row: --full", 20: "And 8 more rows: --full shows all."}
        assert left.get(count, "all") in text
        assert ("--full" in text) == (count > 5)
    else:
        assert rows == min(count, 12)
    assert ("Of 20 sources the 12 largest have a row each" in text) == (count == 20)
