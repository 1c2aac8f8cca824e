"""The page in a real browser: every way in, every way out, and nothing from elsewhere."""

import csv
import io
import json
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from PIL import Image

from roi_cls.data.review import read_corrections

if TYPE_CHECKING:
    from selenium.webdriver import Chrome

PATIENCE_S = 30
ID, CSS = "id", "css selector"
GIVE = """
const [kind, name, bytes] = arguments;
const data = new DataTransfer();
data.items.add(new File([new Uint8Array(bytes)], name, {type: "image/png"}));
const event = kind === "paste"
  ? new ClipboardEvent("paste", {clipboardData: data, bubbles: true})
  : new DragEvent("drop", {dataTransfer: data, bubbles: true, cancelable: true});
document.body.dispatchEvent(event);
"""

pytestmark = pytest.mark.slow


class Page:
    """The page, as somebody uses it."""

    def __init__(self, chrome: "Chrome", address: str, review: Path) -> None:
        self.chrome, self.address, self.review = chrome, address, review

    def open(self) -> None:
        """Open it and wait for the server's facts."""
        self.chrome.get(self.address)
        self.wait("return document.body.dataset.ready")

    def wait(self, script: str, *arguments: object) -> Any:
        """Return what the script does once it is something."""
        deadline = time.monotonic() + PATIENCE_S
        while not (found := self.chrome.execute_script(script, *arguments)):
            assert time.monotonic() < deadline, script
            time.sleep(0.02)
        return found

    def text(self, name: str) -> str:
        """Return the text of an element, seen or not."""
        found: str = self.chrome.execute_script(
            "return document.getElementById(arguments[0]).textContent", name
        )
        return found

    def click(self, name: str) -> None:
        """Press an element."""
        self.chrome.find_element(ID, name).click()

    def choose(self, *paths: Path) -> None:
        """Choose files as the dialog would give them."""
        self.chrome.find_element(ID, "files").send_keys("\n".join(str(path) for path in paths))
        self.wait_until_judged()

    def give(self, kind: str, path: Path) -> None:
        """Drop or paste a picture."""
        self.chrome.execute_script(GIVE, kind, path.name, list(path.read_bytes()))
        self.wait_until_judged()

    def wait_until_judged(self) -> None:
        """Wait for the verdict on every picture."""
        self.wait(
            "return document.querySelector('#verdict .answer')"
            " && document.getElementById('progress-line').hidden"
        )

    def select(self, name: str, value: str) -> None:
        """Choose from a list."""
        self.chrome.find_element(CSS, f"#{name} option[value='{value}']").click()

    def names(self) -> list[str]:
        """Return the names in the list, from above."""
        script = "return [...document.querySelectorAll('#rows .name')].map((e) => e.textContent)"
        found: list[str] = self.chrome.execute_script(script)
        return found


@pytest.fixture(scope="module")
def chrome(browser: "Chrome", tmp_path_factory: pytest.TempPathFactory) -> "Chrome":
    browser.execute_cdp_cmd("Network.enable", {})
    return browser


@pytest.fixture
def page(chrome: "Chrome", serving: Any, face_run: Path, tmp_path: Path) -> Iterator[Page]:
    """The page of a server of its own, which at the end has nothing to complain of."""
    review = tmp_path / "review.csv"
    chrome.get("about:blank")
    read_log(chrome, "browser")  # what others left there
    read_log(chrome, "performance")
    with serving(face_run, review) as served:
        found = Page(chrome, served.address, review)
        found.open()
        yield found
        console = read_log(chrome, "browser")
        asked = requests(chrome)
        chrome.get("about:blank")  # else the page would hold its connection to the server
    assert console == []
    own = (served.address, "data:", f"blob:{served.address}")
    assert [url for url in asked if not url.startswith((*own, "about:blank"))] == []
    assert f"{served.address}/page/page.js" in asked


def read_log(chrome: "Chrome", kind: str) -> list[str]:
    """Return what was logged since it was last read."""
    lines = chrome.get_log(kind)  # type: ignore[no-untyped-call]  # selenium types it in part
    return [line["message"] for line in lines]


def requests(chrome: "Chrome") -> list[str]:
    events = [json.loads(line)["message"] for line in read_log(chrome, "performance")]
    return [
        event["params"]["request"]["url"]
        for event in events
        if event["method"] == "Network.requestWillBeSent"
    ]


@pytest.mark.parametrize("kind", ["choose", "drop", "paste"])
def test_picture_comes_in_and_its_verdict_box_and_crop_are_seen(
    page: Page, pictures: Path, kind: str
) -> None:
    if kind == "choose":
        page.choose(pictures / "0.png")
    else:
        page.give(kind, pictures / "0.png")
    name = "pasted-1.png" if kind == "paste" else "0.png"
    assert page.text("detail-name") == name
    assert page.text("detail-size") == "120 \u00d7 90 px"
    assert "Looked at the face, found with a score of 0.90." in page.text("verdict")
    assert "threshold" in page.text("verdict")
    box = page.chrome.find_element(CSS, "#marks .box")
    sides = ("x", "y", "width", "height")
    assert [float(box.get_dom_attribute(side)) for side in sides] == [20, 20, 30, 40]
    crop = page.wait("const i = document.querySelector('#crops img'); return i.naturalWidth && i")
    assert crop.get_property("naturalWidth") == 32
    assert page.text("status").startswith(f"{name}: ")
    assert page.chrome.find_element(ID, "status").get_attribute("aria-live") == "polite"


@pytest.mark.parametrize(
    ("answer", "threshold"),
    [
        (
            "{label: 'bright', score: 0.148, threshold: 0.124}",
            "12.4 %",
        ),
        ("{label: 'dull', score: 0.4, threshold: 0.7}", "70.0 %"),
        ("{label: 'bright', score: 0.5, threshold: 0.124}", ""),
        ("{label: 'bright', score: 0.4, threshold: null}", ""),
    ],
)
def test_threshold_stands_beside_an_answer_below_one_half(
    page: Page, pictures: Path, answer: str, threshold: str
) -> None:
    page.choose(pictures / "0.png", pictures / "1.png")
    # What the server might have said of the first picture, as the page shows it.
    page.chrome.execute_script(f"""
        const answer = {answer};
        const look = window.fetch;
        window.fetch = async (...asked) => {{
            const response = await look(...asked);
            const found = await response.json();
            Object.assign(found.prediction, answer);
            return new Response(JSON.stringify(found));
        }};
    """)
    page.click("clear")
    page.choose(pictures / "0.png", pictures / "1.png")
    shown = page.chrome.execute_script(
        "return [...document.querySelectorAll('.answer .quiet, .name-cell .why')]"
        ".map((e) => e.textContent)"
    )
    words = f"bright is the answer from {threshold} on"
    assert shown == ([words, *[f"threshold {threshold}"] * 2] if threshold else [])
    page.click("clear")
    page.choose(pictures / "0.png")
    assert (f"%; {words}. Looked" in page.text("status")) == bool(threshold)


def test_why_the_whole_picture_was_looked_at_is_told(page: Page, pictures: Path) -> None:
    page.choose(pictures / "8.png")
    words = "Looked at the whole picture, because no face was found."
    assert words in page.text("verdict")
    assert words in page.text("status")
    assert not page.chrome.find_elements(CSS, "#marks .box")


def test_file_that_is_no_picture_says_so(page: Page, pictures: Path) -> None:
    page.choose(pictures / "9.png")
    assert "it is not a picture (it begins with b'no picture')" in page.text("verdict")
    assert not page.chrome.find_element(ID, "actions").is_displayed()
    page.wait("return !document.getElementById('unshown').hidden")


def test_box_lies_on_the_face_of_a_picture_that_is_turned_by_its_exif(
    page: Page, pictures: Path, tmp_path: Path
) -> None:
    picture = Image.open(pictures / "0.png")
    exif = Image.Exif()
    exif[0x0112] = 6  # to be turned by a quarter
    turned = tmp_path / "turned.png"
    picture.transpose(Image.Transpose.ROTATE_90).save(turned, exif=exif)
    page.choose(turned)
    assert page.text("detail-size") == "120 \u00d7 90 px"
    box = page.chrome.find_element(CSS, "#marks .box")
    assert float(box.get_dom_attribute("x")) == 20
    size = (
        "const i = document.getElementById('frame-image'); return [i.naturalWidth, i.naturalHeight]"
    )
    assert page.chrome.execute_script(size) == [120, 90]


def test_heat_map_comes_and_goes(page: Page, pictures: Path) -> None:
    page.choose(pictures / "0.png")
    plain = page.chrome.find_element(ID, "frame-image").get_property("src")
    page.click("heat")
    page.wait("return document.getElementById('frame-image').src.startsWith('data:image/png')")
    assert page.text("heat-words") == "speaks littlemuch for “bright”"
    assert page.chrome.find_element(ID, "heat").get_attribute("aria-pressed") == "true"
    page.wait("return document.querySelector('#crops img').naturalWidth === 448")
    page.click("heat")
    page.wait("return document.getElementById('frame-image').src === arguments[0]", plain)
    assert page.chrome.find_element(ID, "heat").get_attribute("aria-pressed") == "false"


def test_camera_takes_a_picture(page: Page) -> None:
    page.click("open-camera")
    page.wait("return !document.getElementById('shoot').disabled")
    page.click("shoot")
    page.wait_until_judged()
    assert page.text("detail-name").startswith("camera-")
    assert not page.chrome.find_element(ID, "camera").is_displayed()
    assert page.chrome.execute_script("return document.getElementById('video').srcObject") is None


def test_many_are_listed_sorted_filtered_and_walked_through(page: Page, pictures: Path) -> None:
    page.choose(*sorted(pictures.iterdir()))
    assert page.names() == [f"{i}.png" for i in range(10)]
    assert page.text("status").startswith("10 pictures: ")
    assert page.text("status").endswith("1 cannot be read.")
    page.select("order", "most")
    shares = page.chrome.execute_script(
        "const cells = [...document.querySelectorAll('#rows .number')];"
        "return cells.map((cell) => parseFloat(cell.textContent))"
    )
    assert shares[-1] is None  # what has no probability stands last
    assert shares[:-1] == sorted(shares[:-1], reverse=True)
    page.select("order", "added")
    page.select("filter", "errors")
    assert page.names() == ["9.png"]
    page.select("filter", "full")
    assert page.names() == ["8.png"]
    page.select("filter", "marked")
    assert page.names() == []
    assert page.chrome.find_element(ID, "nothing").is_displayed()
    page.select("filter", "all")
    page.chrome.find_element(CSS, "#rows tr:nth-child(3) .name").click()
    assert page.text("detail-name") == "2.png"
    page.chrome.switch_to.active_element.send_keys("\ue015")  # arrow down
    assert page.text("detail-name") == "3.png"
    assert page.chrome.switch_to.active_element.text == "3.png"


def test_table_is_downloaded_as_the_command_line_writes_it(
    page: Page, pictures: Path, command: Callable[..., Any], face_run: Path, tmp_path: Path
) -> None:
    behaviour = {"behavior": "allow", "downloadPath": str(tmp_path)}
    page.chrome.execute_cdp_cmd("Browser.setDownloadBehavior", behaviour)
    evil = tmp_path / '=cmd"1".png'
    evil.write_bytes((pictures / "0.png").read_bytes())
    page.choose(evil, pictures / "8.png", pictures / "9.png")
    page.click("download")
    table = tmp_path / "verdicts.csv"
    deadline = time.monotonic() + PATIENCE_S
    while not (table.exists() and table.stat().st_size):
        assert time.monotonic() < deadline
        time.sleep(0.05)
    rows = list(csv.DictReader(io.StringIO(table.read_text(encoding="utf-8"), newline="")))
    words = ("--run", face_run, "--csv", "--device", "cpu")
    done = command("predict", evil, pictures / "8.png", pictures / "9.png", *words)
    expected = list(csv.DictReader(io.StringIO(done.stdout)))
    assert [*rows[0]] == [*expected[0], "sha256", "corrected"]
    assert [row["path"] for row in rows] == ['\'=cmd"1".png', "8.png", "9.png"]
    for row, other in zip(rows, expected, strict=True):
        for name in ("status", "label", "unsure", "source", "reason", "faces"):
            assert row[name] == other[name]
        if row["score"]:
            assert float(row["score"]) == pytest.approx(float(other["score"]), abs=1e-6)
            assert json.loads(row["probabilities"]).keys() == {"bright", "dull"}


def test_verdict_marked_as_wrong_is_in_the_review_and_can_be_taken_back(
    page: Page, pictures: Path
) -> None:
    page.choose(pictures / "0.png")
    answer = page.text("verdict").partition(".")[0]
    answer = "bright" if answer.startswith("bright") else "dull"
    right = {"bright": "dull", "dull": "bright"}[answer]
    assert page.chrome.find_element(ID, "right").get_property("value") == right
    page.chrome.find_element(CSS, "#correct button").click()
    page.wait("return document.getElementById('correct-words').textContent")
    assert page.text("correct-words") == f"Noted: 0.png is “{right}”."
    assert f"corrected: {right}" in page.text("verdict")
    ((correction,), _) = read_corrections(page.review)
    assert (correction.name, correction.answer, correction.label) == ("0.png", answer, right)
    page.select("right", answer)
    page.chrome.find_element(CSS, "#correct button").click()
    page.wait("return document.getElementById('correct-words').textContent.includes('after all')")
    ((correction,), _) = read_corrections(page.review)
    assert correction.label == answer


def test_names_are_text_and_never_markup(page: Page, pictures: Path, tmp_path: Path) -> None:
    evil = tmp_path / "<img src=x onerror=alert(1)>.png"
    evil.write_bytes((pictures / "0.png").read_bytes())
    page.choose(evil, pictures / "9.png")
    assert page.text("detail-name") == evil.name
    assert page.names()[0] == evil.name
    assert not page.chrome.find_elements(CSS, "img[src='x']")


@pytest.mark.parametrize("width", [320, 390, 800, 1280, 2000])
def test_nothing_is_wider_than_the_window(page: Page, pictures: Path, width: int) -> None:
    metrics = {"width": width, "height": 800, "deviceScaleFactor": 1, "mobile": False}
    page.chrome.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", metrics)
    try:
        page.choose(*sorted(pictures.iterdir()))
        widths = "return [document.documentElement.scrollWidth, innerWidth]"
        content, window = page.chrome.execute_script(widths)
        assert content <= window == width
        table = "const s = document.querySelector('.scroll'); return s.scrollWidth <= s.clientWidth"
        assert page.chrome.execute_script(table)
    finally:
        page.chrome.execute_cdp_cmd("Emulation.clearDeviceMetricsOverride", {})


CONTRAST = """
const parts = (text) => { const c = document.createElement("canvas").getContext("2d");
  c.fillStyle = text; c.fillRect(0, 0, 1, 1); return [...c.getImageData(0, 0, 1, 1).data]; };
const light = (rgb) => { const [r, g, b] = rgb.map((v) => { v /= 255;
  return v <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4; });
  return 0.2126 * r + 0.7152 * g + 0.0722 * b; };
const behind = (e) => { for (; e; e = e.parentElement) {
  const c = parts(getComputedStyle(e).backgroundColor); if (c[3] === 255) return c; }
  return [255, 255, 255, 255]; };
const found = [];
for (const e of document.querySelectorAll("body *")) {
  const own = [...e.childNodes].some((n) => n.nodeType === 3 && n.textContent.trim());
  if (!own || !e.checkVisibility() || e.matches(".unseen, .skip, option, :disabled")) continue;
  const a = light(parts(getComputedStyle(e).color).slice(0, 3));
  const b = light(behind(e).slice(0, 3));
  const ratio = (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05);
  if (ratio < 4.5) found.push(`${e.tagName}.${e.className} ${e.textContent}: ${ratio.toFixed(2)}`);
}
return found;
"""


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_every_text_stands_out_from_what_is_behind_it(
    page: Page, pictures: Path, scheme: str
) -> None:
    features = {"features": [{"name": "prefers-color-scheme", "value": scheme}]}
    page.chrome.execute_cdp_cmd("Emulation.setEmulatedMedia", features)
    try:
        page.choose(*sorted(pictures.iterdir()))
        page.click("heat")
        page.wait("return document.querySelector('.scale')")
        assert page.chrome.execute_script(CONTRAST) == []
    finally:
        page.chrome.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": []})


def test_all_of_it_is_reached_by_keyboard_and_has_a_name(page: Page, pictures: Path) -> None:
    page.choose(pictures / "0.png", pictures / "8.png")
    reached: list[str] = []
    page.chrome.execute_script("document.activeElement.blur()")
    for _ in range(25):
        page.chrome.execute_cdp_cmd(
            "Input.dispatchKeyEvent", {"type": "keyDown", "key": "Tab", "windowsVirtualKeyCode": 9}
        )
        element = page.chrome.switch_to.active_element
        assert element.accessible_name or element.tag_name == "body"
        reached.append(element.get_attribute("id") or element.text)
    wanted = {"choose", "open-camera", "heat", "right", "filter", "order", "download", "clear"}
    assert wanted <= set(reached)
    assert {"0.png", "8.png"} <= set(reached)
    assert reached[0] == "Skip to the pictures"
