"""Draw the documentation's pictures of the page and the report, from a finished demo run.

.venv/bin/python -m docs.tools.draw_pages artifacts/demo artifacts/runs/demo docs/pictures

Needs Chromium and its driver. The people in the pictures are drawn: they do not exist.
"""

from __future__ import annotations

import contextlib
import io
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from PIL import Image as PillowImage
from selenium import webdriver
from selenium.webdriver.common.by import By
from selenium.webdriver.support.ui import WebDriverWait

PICTURES = 6
"""Of each class."""
SHOWN = "image_00077_0.png"
"""Of the demo set: the README's example."""
SIZE = (1280, 860)
"""Width and height of the window, CSS pixels."""
QUALITY = 82
PATIENCE_S = 120
ARGUMENTS = ("--headless=new", "--no-sandbox", "--disable-gpu", "--hide-scrollbars")


def main(data: Path, run: Path, folder: Path) -> None:
    """Write ``page.jpg`` and ``report.jpg`` into ``folder``."""
    pictures = [
        path
        for label in ("0", "1")
        for path in sorted((data / "test").glob(f"*_{label}.png"))[:PICTURES]
    ]
    pictures.sort(key=lambda path: path.name != SHOWN)
    with open_browser() as browser, tempfile.TemporaryDirectory() as scratch:
        with serve(run, Path(scratch)) as address:
            show_page(browser, address, pictures)
            save(browser, folder / "page.jpg")
        report = Path(scratch) / "report.html"
        command = ["report", "--run", str(run), "-o", str(report), "--no-audit"]
        subprocess.run([sys.executable, "-m", "roi_cls", *command], check=True)
        browser.get(report.as_uri())
        save(browser, folder / "report.jpg")


@contextlib.contextmanager
def open_browser() -> Iterator[webdriver.Chrome]:
    """Give a browser whose windows have ``SIZE``."""
    options = webdriver.ChromeOptions()
    options.binary_location = shutil.which("chromium") or ""
    for argument in (*ARGUMENTS, f"--window-size={SIZE[0]},{SIZE[1]}"):
        options.add_argument(argument)
    service = webdriver.ChromeService(shutil.which("chromedriver") or "")
    with webdriver.Chrome(options, service) as browser:
        browser.execute_cdp_cmd(
            "Emulation.setDeviceMetricsOverride",
            {"width": SIZE[0], "height": SIZE[1], "deviceScaleFactor": 1, "mobile": False},
        )
        yield browser


@contextlib.contextmanager
def serve(run: Path, scratch: Path) -> Iterator[str]:
    """Give the address of a server of the run; it ends with the block."""
    command = ["serve", "--run", str(run), "--port", "0", "--review", str(scratch / "review.csv")]
    server = subprocess.Popen(
        [sys.executable, "-m", "roi_cls", *command], stderr=subprocess.PIPE, text=True
    )
    try:
        assert server.stderr is not None
        yield next(
            word.rstrip(".,")
            for line in server.stderr
            for word in line.split()
            if word.startswith("http://")
        )
    finally:
        server.terminate()
        server.communicate()


def show_page(browser: webdriver.Chrome, address: str, pictures: list[Path]) -> None:
    """Judge the pictures on the page, and show the first with its heat map."""
    browser.get(address)
    files = browser.find_element(By.ID, "files")
    files.send_keys("\n".join(str(path.resolve()) for path in pictures))
    wait = WebDriverWait(browser, PATIENCE_S)
    rows = f"return document.querySelectorAll('#rows > *').length === {len(pictures)}"
    wait.until(lambda b: b.execute_script(rows))
    wait.until(lambda b: b.execute_script("return document.getElementById('progress-line').hidden"))
    browser.find_element(By.ID, "heat").click()
    wait.until(lambda b: b.find_element(By.ID, "heat").text.startswith("Hide"))
    time.sleep(2)  # the heat map is drawn, and the page has settled
    browser.execute_script("document.getElementById('workspace').scrollIntoView()")


def save(browser: webdriver.Chrome, path: Path) -> None:
    """Write what the window shows."""
    time.sleep(1)
    shot = PillowImage.open(io.BytesIO(browser.get_screenshot_as_png())).convert("RGB")
    shot.save(path, quality=QUALITY, optimize=True)


if __name__ == "__main__":
    main(*map(Path, sys.argv[1:4]))
