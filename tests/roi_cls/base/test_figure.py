"""A figure as SVG stands in a page: its own ids, the page's colours, text as text, no address."""

import re
import subprocess
import sys

import pytest

from roi_cls.base.figure import FIRST, MARK, figure_svg, finish_panel, new_figure


def draw(label: str = "line", name: str = "one") -> str:
    figure, (axes,) = new_figure()
    axes.plot([0, 1], [0, 1], color=FIRST, marker="o", label=label)
    axes.axvspan(0, 0.5, color=MARK, alpha=0.1)
    finish_panel(axes, "title", "across", "up")
    return figure_svg(figure, name)


def test_it_is_one_element_that_names_no_address() -> None:
    svg = draw()
    assert re.match(r"<svg viewBox=\"[\d. ]+\">", svg)
    assert svg.rstrip().endswith("</svg>")
    assert "http" not in svg
    assert "<style" not in svg
    assert "<metadata" not in svg


def test_ids_of_two_figures_differ_and_every_reference_is_kept() -> None:
    found = [set(re.findall(r' id="([^"]+)"', draw(name=name))) for name in ("one", "other")]
    assert found[0]
    assert not found[0] & found[1]
    used = set(re.findall(r'(?:href="#|url\(#)([^")]+)', draw()))
    assert used
    assert used <= found[0]


def test_colours_are_the_pages() -> None:
    svg = draw()
    assert not re.search(r"#[0-9a-f]{6}", svg)
    assert {"first", "mark", "quiet", "ink", "grid", "paper"} == set(
        re.findall(r"var\(--figure-(\w+)\)", svg)
    )


@pytest.mark.parametrize(
    ("label", "written"),
    [
        ("<script>", "&lt;script&gt;"),
        ("a$b$c", "a$b$c"),
        ("日本", "日本"),
        (' id="x" #2a63a8', ' id="x" #2a63a8'),
        (repr("\udc80b"), repr("\udc80b")),
    ],
)
def test_words_stay_as_they_are(label: str, written: str) -> None:
    assert f">{written}</text>" in draw(label)


def test_the_title_is_left_to_the_page() -> None:
    svg = draw()
    assert ">title<" not in svg
    assert ">across<" in svg


def test_same_numbers_give_the_same_text() -> None:
    assert draw() == draw()


def test_figure_shows_itself_without_pyplot() -> None:
    figure, (axes,) = new_figure()
    axes.plot([0, 1], [0, 1])
    data = figure._repr_png_()  # type: ignore[attr-defined]  # what a notebook asks for
    assert data.startswith(b"\x89PNG")
    code = (
        "import sys; from roi_cls.base.figure import new_figure; new_figure()[0]._repr_png_();"
        "assert 'matplotlib.pyplot' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
