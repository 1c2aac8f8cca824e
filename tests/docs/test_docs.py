"""Our pages name what exists; what runs their commands reads pages and compares shapes."""

import re
from pathlib import Path

import pytest

from docs.tools import command_words, page_steps, run_commands, shape

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"


PAGE = """# A page
<!-- docs-test: classes: odd plain -->
<!-- docs-test: run: roi-cls train photos --run first -->
```sh
roi-cls crops photos    # comment
# nothing but a comment
roi-cls train photos \\
  --run second
```
<!-- docs-test: exit: 3 -->
```console
$ roi-cls predict img.png
img.png: odd 0.8
$ roi-cls recipes
```
- in a list:
  ```sh
  torchrun x
  ```
<!-- docs-test: output of: roi-cls predict img.png --json -->
```json
{"path": "img.png"}
```
<!-- docs-test: output of: roi-cls evaluate photos -->
<!-- docs-test: free: 1 -->
```text
Clearly better.
accuracy 0.97
```
<!-- docs-test: skip: needs the network -->
```sh
roi-cls predict https://example.org/img.png
```
```python
first = 1
```
words
```python
print(first)
```
"""


def test_page_is_read_in_order_with_lines() -> None:
    page = page_steps.read_page(PAGE)
    assert page.classes == ("odd", "plain")
    *shell, script = page.steps
    found = [(step.line, step.command, step.expected, step.exit_code) for step in shell]
    assert found == [
        (3, "roi-cls train photos --run first", None, 0),
        (5, "roi-cls crops photos    # comment", None, 0),
        (7, "roi-cls train photos \\\n  --run second", None, 0),
        (12, "roi-cls predict img.png", "img.png: odd 0.8", 3),
        (14, "roi-cls recipes", None, 3),
        (18, "torchrun x", None, 0),
        (21, "roi-cls predict img.png --json", '{"path": "img.png"}', 0),
        (26, "roi-cls evaluate photos", "…\naccuracy 0.97", 0),
        (32, "roi-cls predict https://example.org/img.png", None, 0),
    ]
    assert [step.is_json for step in shell] == [False] * 6 + [True, False, False]
    assert [step.skip for step in shell] == [None] * 8 + ["needs the network"]
    lines = script.command.splitlines()
    assert (script.language, lines[34], lines[38]) == ("python", "first = 1", "print(first)")
    assert not any(lines[:34])


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("```sh\nroi-cls recipes\n", "1: this code block does not end"),
        ("\n```\nroi-cls recipes\n```\n", "2: a block of commands without a language; write ```sh"),
        ("<!-- docs-test: skip -->\n```sh\nx\n```\n", "1: docs-test: skip says nothing"),
        ("<!-- docs-test: skipp: x -->\n", "1: docs-test knows no 'skipp'; it knows skip, exit,"),
        ("<!-- docs-test: free: x -->\n", "1: docs-test: free must be lines like 1-2 7, got 'x'"),
        ("<!-- docs-test: exit: no -->\n", "1: docs-test: exit must be a number, got 'no'"),
        ("<!-- docs-test: skip: x -->\nwords\n", "1: this docs-test comment stands above no code"),
        ("<!-- docs-test: skip: x -->\n", "1: this docs-test comment stands above no code block"),
        ("```console\nroi-cls recipes\n```\n", "2: a console block begins with a command behind"),
    ],
)
def test_page_that_cannot_be_read_is_told(text: str, message: str) -> None:
    with pytest.raises(page_steps.PageError) as error:
        page_steps.read_page(text)
    assert str(error.value).startswith(message)


@pytest.mark.parametrize(
    ("expected", "got"),
    [
        ("accuracy 0.97 [0.95, 0.99]", "accuracy undefined"),
        ("60 pictures in 2.5 s", "1 picture in 3 min 4 s"),
        ("a.png: odd 0.838 (face at 1,2-3,4)", "b.png: plain 1.0 (face at 10,20-30,40)"),
        ("index, 3 entries, 1.2 MB", "index, 1 entry, 800 kB"),
        ("run b79c06d815bc", "run 0123456789ab"),
        ("metric    all\n───────────", "metric all\n─────"),
        ("first\n…\nlast", "first\nx\ny\nlast"),
        ("first\n…", "first"),
        ("the interval … excludes 0.5.", "the interval of ROC-AUC 0.9-0.99 excludes 0.5."),
        (".venv/bin/roi-cls recipes", "roi-cls recipes"),
        ("", ""),
    ],
)
def test_texts_of_one_shape_are_alike(expected: str, got: str) -> None:
    expected, got = (
        text.replace("b.png", "a.png").replace("entry", "entrie") for text in (expected, got)
    )
    assert shape.text_mismatch(expected, got, ("odd", "plain")) is None


@pytest.mark.parametrize(
    "got",
    ["a.png: odd 0.9 (face)", "a.png: plain 0.4, threshold 0.3 (face)",
     "a.png: plain 0.6, threshold for odd 0.7 (face)"],
)  # fmt: skip
def test_threshold_that_is_told_only_at_times_does_not_matter(got: str) -> None:
    assert shape.text_mismatch("a.png: odd 0.9 (face)", got, ("odd", "plain")) is None
    got = got.replace(" (face)", ", most at 1,2")
    assert shape.text_mismatch("a.png: odd 0.9, most at 3,4", got, ("odd", "plain")) is None


@pytest.mark.parametrize(
    ("expected", "got", "message"),
    [
        ("accuracy 0.97", "precision 0.97", "nothing printed is like: accuracy N"),
        ("a 1\nb 2", "a 1", "nothing printed is like: b N"),
        ("a 1", "a 1\nb 2", "it prints more than is shown, such as: b N"),
        ("…\nlast", "first\nlost", "nothing printed is like: last"),
        ("odd 0.8", "plains 0.8", "nothing printed is like: NAME N"),
        ("a.b", "axb", "nothing printed is like: a.b"),
    ],
)
def test_text_of_another_shape_is_told(expected: str, got: str, message: str) -> None:
    assert shape.text_mismatch(expected, got, ("odd", "plain")) == message


JSON = '{"path": "a", "score": 0.5, "box": [1, 2], "error": null, "p": {"odd": 0.1}}'


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        (JSON, None),
        (JSON.replace("null", '"why"').replace("odd", "plain").replace("[1, 2]", "[]"), None),
        (JSON.replace("0.5", '"0.5"'), "the answer.score is text, the page shows a number"),
        (JSON.replace('"path": "a", ', ""), "the answer lacks path"),
        (JSON.replace('"path"', '"more": 1, "path"'), "the answer also has more"),
        (JSON.replace("[1, 2]", '["1"]'), "the answer.box[0] is text, the page shows a number"),
        (f"[{JSON}]", "the answer is a list, the page shows an object"),
        ("{", "what is printed is not JSON: "),
    ],
)
def test_json_is_compared_by_keys_and_types(changed: str, message: str | None) -> None:
    found = shape.json_mismatch(JSON, changed, ("odd", "plain"))
    assert (found or "").startswith(message or "")
    assert (found is None) == (message is None)


@pytest.mark.parametrize(
    ("words", "faults"),
    [
        ("cat x | .venv/bin/roi-cls predict - --json > y", []),
        ("roi-cls data demo x --images 20 && roi-cls cache info", []),
        ("roi-cls crops show img.png -o x.png", []),
        ("roi-cls trian photos", ["there is no command roi-cls trian"]),
        ("roi-cls train photos --epoch 3", ["roi-cls train has no option --epoch"]),
        ("torchrun -m -- roi_cls train x --marign=1", ["roi-cls train has no option --marign"]),
        (
            "roi-cls train photos --weights 'a b' \\\n  --rum x",
            ["roi-cls train has no option --rum"],
        ),
        ("roi-cls --help; roi-cls --version", []),
    ],
)
def test_unknown_commands_and_options_are_found(words: str, faults: list[str]) -> None:
    assert list(command_words.unknown_words(words)) == faults


def test_unknown_options_in_running_text_are_found() -> None:
    text = "use `--margin 0.3`\nor `--marign`, or `roi-cls recipe`\n```sh\n`--blok`\n```\n"
    assert list(command_words.unknown_inline(text)) == [
        (2, "no command has an option --marign"),
        (2, "there is no command roi-cls recipe"),
    ]


PAGES = sorted(["README.md", *(str(p.relative_to(ROOT)) for p in DOCS.rglob("*.md"))])


@pytest.mark.parametrize("name", PAGES)
def test_every_command_and_option_on_our_pages_exists(name: str) -> None:
    if name in run_commands.GENERATED:
        return
    _, report = run_commands.check_page(ROOT / name, name)
    assert report.failures == []


def test_no_page_hides_commands_from_the_runner_by_indenting_them() -> None:
    for name in PAGES:
        if name == "docs/reference.md":  # written from the help texts, whose examples a test checks
            continue
        in_block = False
        for line in (ROOT / name).read_text(encoding="utf-8").splitlines():
            in_block ^= line.lstrip().startswith(("```", "~~~"))
            is_command = line.lstrip().startswith(("roi-cls ", ".venv/bin/", "pip install "))
            assert in_block or not (line.startswith("    ") and is_command), f"{name}: {line}"


OTHERS = [
    "CHANGELOG.md",
    "CONTRIBUTING.md",
    *(str(p.relative_to(ROOT)) for p in sorted((ROOT / "benchmarks").rglob("*.md"))),
]


@pytest.mark.parametrize("name", [*PAGES, *OTHERS])
def test_every_link_to_another_file_leads_there(name: str) -> None:
    text = (ROOT / name).read_text(encoding="utf-8")
    links = [link for link in re.findall(r"\]\(([^)#\s]+)", text) if "://" not in link]
    assert [link for link in links if not (ROOT / name).parent.joinpath(link).exists()] == []


def test_every_figure_of_the_explanation_stands_in_its_source() -> None:
    text = (DOCS / "explanation.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\|.*\d \[.*\]\(([\w.]+)\) \|$", text, re.M)
    assert len(rows) == 2
    for line in text.splitlines():
        for source in re.findall(r"\]\(([\w.]+)\) \|$", line):
            shown = re.findall(r"\d\.\d\d \[\d\.\d\d, \d\.\d\d\]", line)
            assert len(shown) == 3
            written = (DOCS / source).read_text(encoding="utf-8")
            assert [figure for figure in shown if figure not in written] == []


def test_every_make_target_on_our_pages_exists() -> None:
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    for name in PAGES:
        for line in (ROOT / name).read_text(encoding="utf-8").splitlines():
            if line.startswith("make "):
                assert f"\n{line.split()[1]}:" in makefile, f"{name}: {line}"
