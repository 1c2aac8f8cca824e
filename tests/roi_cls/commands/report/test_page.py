"""The report in a browser: nothing is fetched, all is seen and reached, wide or narrow."""

import itertools
import json
import re
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from subprocess import CompletedProcess
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from selenium.webdriver import Chrome

Command = Callable[..., CompletedProcess[str]]
SCHEMES = ("light", "dark")
WIDTHS = (360, 1600)
MOST_TABS = 400


@pytest.fixture(scope="module")
def report(
    tiny_runs: Path, tiny_set: Path, command: Command, tmp_path_factory: pytest.TempPathFactory
) -> Path:
    """The report on the run ``tiny``, alone in its folder."""
    folder = tmp_path_factory.mktemp("page")
    run = shutil.copytree(tiny_runs / "tiny", folder / "tiny")
    # A margin below which answers are unsure, so that every slice and mark is on the page.
    places = ("--run", run, "--device", "cpu", "--cache", folder / "cache", "--workers", "0")
    done = command("evaluate", tiny_set, "--abstain", "0.02", *places)
    assert done.returncode == 0, done.stderr
    (folder / "alone").mkdir()
    file = folder / "alone" / "report.html"
    done = command("report", "-o", file, *places, "--group-regex", "/([0-9])[0-9]")
    assert done.returncode == 0, done.stderr
    return file


@pytest.fixture
def page(browser: "Chrome", report: Path) -> "Iterator[Chrome]":
    """The report, opened anew on a wide light screen; the browser is left as it was found."""
    show(browser, 1280, "light")
    for log in ("browser", "performance"):
        read_log(browser, log)
    browser.get(report.as_uri())
    yield browser
    browser.execute_cdp_cmd("Emulation.clearDeviceMetricsOverride", {})
    browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": []})


def show(browser: "Chrome", width: int, scheme: str) -> None:
    screen = {"width": width, "height": 900, "deviceScaleFactor": 1, "mobile": width < 500}
    browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", screen)
    features = [
        {"name": "prefers-color-scheme", "value": scheme},
        {"name": "prefers-reduced-motion", "value": "reduce"},
    ]
    browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": features})


def read_log(browser: "Chrome", name: str) -> list[Any]:
    return browser.get_log(name)  # type: ignore[no-untyped-call, no-any-return]  # selenium's


def ask(browser: "Chrome", script: str, *arguments: object) -> Any:
    return browser.execute_script(script, *arguments)


def press(browser: "Chrome", *keys: str) -> None:
    from selenium.webdriver import ActionChains

    ActionChains(browser).send_keys(*keys).perform()


def test_nothing_is_fetched_and_nothing_complains(page: "Chrome", report: Path) -> None:
    ask(page, "for (const image of document.images) image.loading = 'eager'")
    messages = [json.loads(entry["message"])["message"] for entry in read_log(page, "performance")]
    sent = [
        message["params"]["request"]["url"]
        for message in messages
        if message["method"] == "Network.requestWillBeSent"
    ]
    assert report.as_uri() in sent
    assert not [url for url in sent if not url.startswith(("data:", report.as_uri()))]
    assert ask(page, "return performance.getEntriesByType('resource').map(e => e.name)") == []
    assert read_log(page, "browser") == []


def test_the_browser_is_told_to_fetch_nothing_and_run_nothing_else(page: "Chrome") -> None:
    ask(
        page,
        "window.refused = [];"
        "addEventListener('securitypolicyviolation', e => refused.push(e.violatedDirective));"
        "const image = new Image(); image.src = 'elsewhere.png'; document.body.append(image);"
        "const script = document.createElement('script'); script.textContent = 'window.ran = 1';"
        "document.body.append(script);",
    )
    script = "const done = arguments[0]; setTimeout(() => done([window.ran ?? 0, refused]), 200)"
    ran, refused = page.execute_async_script(script)
    assert ran == 0
    assert sorted(refused) == ["img-src", "script-src-elem"]


def test_every_figure_and_picture_is_there(page: "Chrome") -> None:
    ask(page, "for (const one of document.querySelectorAll('details')) one.open = true")
    figures = ask(
        page,
        "return [...document.querySelectorAll('figure [role=img] svg')].map(svg => {"
        "const box = svg.getBoundingClientRect();"
        "return [box.width, box.height, svg.querySelectorAll('path').length]})",
    )
    assert len(figures) == 9
    assert all(width > 200 and height > 150 and paths > 5 for width, height, paths in figures)
    script = (
        "const done = arguments[0]; const images = [...document.images];"
        "for (const image of images) image.loading = 'eager';"
        "Promise.all(images.map(image => image.decode()))"
        ".then(() => done(images.map(i => [i.naturalWidth, i.clientWidth, i.alt])))"
    )
    images = page.execute_async_script(script)
    assert len(images) > 20
    assert all(natural >= 32 and shown > 40 and alt for natural, shown, alt in images)


@pytest.mark.parametrize("scheme", SCHEMES)
@pytest.mark.parametrize("width", WIDTHS)
def test_nothing_leaves_the_screen_sideways(page: "Chrome", width: int, scheme: str) -> None:
    show(page, width, scheme)
    ask(page, "for (const one of document.querySelectorAll('details')) one.open = true")
    wide, beyond = ask(
        page,
        "const wide = document.documentElement.scrollWidth - document.documentElement.clientWidth;"
        "const all = [...document.body.querySelectorAll('*')];"
        "const beyond = all.filter(one => !one.closest('.scroll, nav, svg, .unseen, .skip, dialog')"
        " && one.getBoundingClientRect().right > innerWidth + 1);"
        "return [wide, beyond.map(one => one.outerHTML.slice(0, 80))]",
    )
    assert (wide, beyond) == (0, [])


CONTRAST = """
const canvas = document.createElement("canvas");
canvas.width = canvas.height = 1;
const pen = canvas.getContext("2d", {willReadFrequently: true});
const over = (colours) => {  // what is painted one over the other, as the browser mixes it
  pen.clearRect(0, 0, 1, 1);
  for (const colour of colours) { pen.fillStyle = colour; pen.fillRect(0, 0, 1, 1); }
  return [...pen.getImageData(0, 0, 1, 1).data.slice(0, 3)];
};
const light = (rgb) => rgb.map((c) => c / 255)
  .map((c) => (c <= 0.04045 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4))
  .reduce((sum, c, i) => sum + c * [0.2126, 0.7152, 0.0722][i], 0);
const bad = [];
let seen = 0;
const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
while (walker.nextNode()) {
  const one = walker.currentNode.parentElement;
  if (!walker.currentNode.data.trim() || one.closest("script, style, dialog, .skip")) continue;
  if (!one.checkVisibility()) continue;
  const style = getComputedStyle(one);
  const grounds = [];
  for (let up = one; up; up = up.parentElement) {
    grounds.unshift(getComputedStyle(up).backgroundColor);
  }
  const ground = over(["white", ...grounds]);
  const ink = over([`rgb(${ground})`, one.closest("svg") ? style.fill : style.color]);
  const [low, high] = [light(ground), light(ink)].sort((a, b) => a - b);
  const size = parseFloat(style.fontSize);
  const needed = size >= 24 || (size >= 18.66 && style.fontWeight >= 700) ? 3 : 4.5;
  seen += 1;
  if ((high + 0.05) / (low + 0.05) < needed) bad.push([one.outerHTML.slice(0, 90), ink, ground]);
}
return [seen, bad];
"""


def test_slices_are_seen_whole_on_a_laptop(page: "Chrome") -> None:
    show(page, 1024, "light")
    wide = ask(
        page,
        "return [...document.querySelectorAll('#slices .scroll, #sources .scroll')]"
        ".map(each => each.scrollWidth - each.clientWidth)",
    )
    assert set(wide) == {0}


@pytest.mark.parametrize("scheme", SCHEMES)
def test_all_text_stands_out_from_its_ground(page: "Chrome", scheme: str) -> None:
    show(page, 1280, scheme)
    ask(page, "for (const one of document.querySelectorAll('details')) one.open = true")
    ground = ask(page, "return getComputedStyle(document.body).backgroundColor")
    assert (sum(int(part) for part in ground[4:-1].split(",")) > 380) == (scheme == "light")
    seen, bad = ask(page, CONTRAST)
    assert seen > 300
    assert bad == []


def test_the_theme_can_be_chosen(page: "Chrome") -> None:
    grounds = []
    for _ in range(3):
        ask(page, "document.getElementById('theme').click()")
        ground = "return getComputedStyle(document.body).backgroundColor"
        grounds.append((ask(page, "return theme.textContent"), ask(page, ground)))
    assert [text for text, _ in grounds] == [
        *("Theme: light", "Theme: dark", "Theme: as the system")
    ]
    assert grounds[0][1] == grounds[2][1] != grounds[1][1]


def test_headings_go_down_one_step_at_a_time_and_landmarks_are_there(page: "Chrome") -> None:
    levels = ask(
        page,
        "return [...document.querySelectorAll('h1, h2, h3, h4')].filter(h => !h.closest('dialog'))"
        ".map(h => Number(h.tagName[1]))",
    )
    assert levels[0] == 1
    assert levels.count(1) == 1
    assert all(after <= before + 1 for before, after in itertools.pairwise(levels))
    for landmark in ("main", "nav", "header"):
        assert ask(page, "return document.querySelectorAll(arguments[0]).length", landmark) == 1
    assert ask(page, "return document.documentElement.lang") == "en"
    doubles = "const ids = [...document.querySelectorAll('[id]')].map(one => one.id);"
    assert ask(page, f"{doubles} return ids.filter((id, i) => ids.indexOf(id) !== i)") == []


def test_tab_reaches_every_control_in_order(page: "Chrome") -> None:
    from selenium.webdriver import Keys

    wanted = ask(
        page,
        "const all = 'a[href], button, select, summary, [tabindex=\"0\"]';"
        "window.wanted = [...document.querySelectorAll(all)]"
        ".filter(one => one.checkVisibility() && !one.closest('dialog'));"
        "return wanted.length",
    )
    assert wanted > 40
    found = []
    for _ in range(MOST_TABS):
        press(page, Keys.TAB)
        found.append(ask(page, "return wanted.indexOf(document.activeElement)"))
        if found[-1] in (-1, wanted - 1):
            break
    assert found == list(range(wanted))


def test_the_focus_is_seen_and_the_skip_link_leads_to_the_report(page: "Chrome") -> None:
    from selenium.webdriver import Keys

    press(page, Keys.TAB)
    seen = "const box = document.activeElement.getBoundingClientRect(); return box.left >= 0"
    assert ask(page, "return document.activeElement.className") == "skip"
    assert ask(page, seen)
    assert ask(page, "return getComputedStyle(document.activeElement).outlineStyle") == "solid"
    press(page, Keys.ENTER)
    assert ask(page, "return document.activeElement.id") == "main"


def test_a_picture_opens_large_and_the_keys_go_through_them(page: "Chrome") -> None:
    from selenium.webdriver import Keys

    ask(page, "document.querySelector('#least-certain .enlarge').focus()")
    press(page, Keys.ENTER)
    title = "return document.querySelector('dialog[open] h2').textContent"
    first = ask(page, title)
    path = "return document.querySelector('#least-certain .picture').dataset.path"
    assert first == ask(page, path)
    shown = "return [...document.querySelectorAll('dialog .large img')].map(i => i.clientHeight)"
    assert len(ask(page, shown)) == 3  # crop, heat, whole picture
    assert min(ask(page, shown)) > 100
    press(page, Keys.ARROW_RIGHT)
    assert ask(page, title) != first
    press(page, Keys.ARROW_LEFT)
    assert ask(page, title) == first
    press(page, Keys.ESCAPE)
    assert ask(page, "return document.querySelector('dialog[open]')") is None
    assert ask(page, "return document.activeElement.className") == "enlarge"


def test_pictures_are_filtered_and_ordered(page: "Chrome", report: Path, tmp_path: Path) -> None:
    kinds = itertools.cycle(("right", "missed", "right", "false_alarm"))
    begin, mark, end = report.read_text().partition('id="sample"')
    (tmp_path / "kinds.html").write_text(
        begin + mark + re.sub(r'data-kind="\w+"', lambda _: f'data-kind="{next(kinds)}"', end)
    )
    page.get((tmp_path / "kinds.html").as_uri())
    cards = "return [...document.querySelectorAll('#sample .picture')]"
    shown = f"{cards}.filter(card => card.checkVisibility()).map(card => card.dataset.kind)"
    given = ask(page, f"{cards}.map(card => card.dataset.kind)")
    buttons = page.find_elements("css selector", "#sample .controls button")
    assert [button.text for button in buttons] == [
        f"all ({len(given)})",
        f"missed ({given.count('missed')})",
        f"false alarms ({given.count('false_alarm')})",
        f"right ({given.count('right')})",
    ]
    buttons[1].click()
    assert ask(page, shown) == ["missed"] * given.count("missed")
    assert [button.get_attribute("aria-pressed") for button in buttons[:2]] == ["false", "true"]
    buttons[0].click()
    assert ask(page, shown) == given
    ask(
        page,
        "const order = document.querySelector('#sample select');"
        "order.value = 'sure'; order.dispatchEvent(new Event('change'))",
    )
    margins = ask(page, f"{cards}.map(card => Number(card.dataset.margin))")
    assert margins == sorted(margins, reverse=True)


def test_without_scripts_all_is_there_and_no_dead_control(page: "Chrome", report: Path) -> None:
    page.execute_cdp_cmd("Emulation.setScriptExecutionDisabled", {"value": True})
    try:
        page.get(report.as_uri())
        counts = ask(
            page,
            "const seen = (what) => [...document.querySelectorAll(what)]"
            ".filter(one => one.checkVisibility()).length;"
            "return ['button, select', 'figure', '.picture', 'table'].map(seen)",
        )
    finally:
        page.execute_cdp_cmd("Emulation.setScriptExecutionDisabled", {"value": False})
    controls, figures, pictures, tables = counts
    assert controls == 0
    assert figures == 9
    assert pictures > 10
    assert tables > 8


@pytest.mark.parametrize("theme", SCHEMES)
def test_on_paper_it_is_dark_on_light_and_what_is_closed_is_either_open_or_gone(
    page: "Chrome", theme: str
) -> None:
    ask(page, "document.documentElement.dataset.theme = arguments[0]", theme)
    page.execute_cdp_cmd("Emulation.setEmulatedMedia", {"media": "print"})
    try:
        ink = ask(page, "return getComputedStyle(document.querySelector('.prose p')).color")
        assert max(map(int, re.findall(r"\d+", ink))) < 60
        seen = "return [...document.querySelectorAll(arguments[0])].map(e => e.checkVisibility({}))"
        assert any(ask(page, seen, "details.more"))
        assert all(ask(page, seen, "details.more table"))
        assert not any(ask(page, seen, ".drawing details, .picture details, nav, #theme"))
    finally:
        page.execute_cdp_cmd("Emulation.setEmulatedMedia", {"media": ""})
