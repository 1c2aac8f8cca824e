"""Shared: the command line run in this process, and one tiny trained run per session."""

import contextlib
import io
import os
import re
import shutil
import signal
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from subprocess import CompletedProcess
from typing import TYPE_CHECKING
from unittest import mock

import numpy as np
import pytest
from hypothesis import settings
from PIL import Image

from roi_cls.cli import main
from roi_cls.roi.detection.models import DetectorModel
from tests.helpers.fakes import FakeDetector, replace_mediapipe, see_white, undraw_curves

if TYPE_CHECKING:
    from selenium.webdriver import Chrome

# Torch's threads wait for each other actively: with tiny models, on cores that other work shares,
# most of the time would go there. Read when torch is imported.
os.environ.setdefault("OMP_NUM_THREADS", "1")

# Each export takes 2 s: `train` makes one where a test asks for it, by --export.
os.environ["ROI_CLS_EXPORT"] = "0"

# Shells start background jobs with Ctrl-C ignored, and every child inherits that: the tests that
# interrupt a real process would wait for nothing.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)

# No example has a deadline: other work may share the machine.
settings.register_profile("roi-cls", deadline=None)
settings.load_profile("roi-cls")

Command = Callable[..., CompletedProcess[str]]
_TRAINING = ("train", "compare", "ablate", "tune", "ensemble")
_COLOURS = re.compile(r"\x1b\[[0-9;]*m")
_ENGINE = re.compile(r"^Comput(?:ing|ed) with (?:ONNX Runtime|torch) on .*\n", re.M)
"""Said by each command that opens a model; whole/test_cold_start.py reads it."""
_BROWSER_ARGUMENTS = (
    "--headless=new",
    "--no-sandbox",  # Chromium as root, as in a container, has no sandbox
    "--disable-gpu",
    "--disable-dev-shm-usage",  # a container's /dev/shm may be too small for a page
    # Chromium's own calls home would look like the page's.
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    # A camera that needs neither a device nor a click.
    "--use-fake-device-for-media-stream",
    "--use-fake-ui-for-media-stream",
)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Begin with the files that hold slow tests: one that comes last leaves other cores idle."""
    slow = {item.path for item in items if item.get_closest_marker("slow")}
    items.sort(key=lambda item: item.path not in slow)


def pytest_runtest_setup(item: pytest.Item) -> None:
    """Skip what needs a GPU where there is none."""
    if item.get_closest_marker("gpu"):
        import torch  # here: no other test need wait for it

        if not torch.cuda.is_available():
            pytest.skip("needs a GPU")  # reason: no CPU can show it; docs/how-to/machines/gpus.md


@pytest.fixture(scope="session")
def command() -> Command:
    """Run ``roi-cls`` with arguments in this process, ``stdin`` being the bytes piped into it."""
    return _run_command


@pytest.fixture(scope="session")
def tiny_set(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """40 pictures of 40 px in two class folders, 10 ``odd`` and 30 ``plain``; read only."""
    folder = tmp_path_factory.mktemp("tiny") / "set"
    random = np.random.default_rng(0)
    for i in range(40):
        pixels = random.integers(0, 80, (40, 40, 3), dtype=np.uint8)
        label = "plain" if i % 4 else "odd"
        if label == "odd":
            pixels[:20] += 120
        (folder / label).mkdir(parents=True, exist_ok=True)
        Image.fromarray(pixels).save(folder / label / f"{i:02}.png")
    return folder


@pytest.fixture(scope="session")
def tiny_train_arguments() -> list[str]:
    """What trains a run on whole pictures within a second or two."""
    return [
        *("--crop", "full", "--size", "32", "--model", "test_efficientnet", "--weights", "none"),
        *("--epochs", "1", "--device", "cpu", "--workers", "0"),
    ]


@pytest.fixture(scope="session")
def tiny_runs(
    tiny_set: Path,
    tiny_train_arguments: list[str],
    tmp_path_factory: pytest.TempPathFactory,
) -> Path:
    """Folder of runs with the finished run ``tiny``, trained on ``tiny_set``; read only."""
    runs = tmp_path_factory.mktemp("runs")
    cache = tmp_path_factory.mktemp("cache")
    places = ["--runs", runs, "--cache", cache]
    done = _run_command("train", tiny_set, "--run", "tiny", *tiny_train_arguments, *places)
    assert done.returncode == 0, done.stderr
    return runs


@pytest.fixture(scope="module")
def white_faces() -> Iterator[FakeDetector]:
    """Let every command see a face in each white rectangle, by no model.

    In this process: give ``--workers 0``.
    """
    with pytest.MonkeyPatch.context() as patch, tempfile.TemporaryDirectory() as folder:
        models = (DetectorModel("short", Path(folder) / "model.tflite", "0" * 64),)
        models[0].path.write_bytes(b"model")
        yield replace_mediapipe(patch, see_white, models)


@pytest.fixture(scope="session")
def browser(tmp_path_factory: pytest.TempPathFactory) -> "Iterator[Chrome]":
    """Headless Chromium with a drawn camera, keeping its console log; whoever uses it opens a page.

    Sizes, colour schemes and offline mode that a test sets are its own to set back.
    """
    chromium, driver = shutil.which("chromium"), shutil.which("chromedriver")
    if chromium is None or driver is None:
        missing = "chromium or chromedriver is not installed (Debian: chromium-driver)"
        pytest.skip(missing)  # reason: other parts need none; .ci/run installs it
    from selenium import webdriver

    options = webdriver.ChromeOptions()
    options.binary_location = chromium
    options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
    for argument in (*_BROWSER_ARGUMENTS, f"--user-data-dir={tmp_path_factory.mktemp('chromium')}"):
        options.add_argument(argument)
    with webdriver.Chrome(options, webdriver.ChromeService(driver)) as chrome:
        yield chrome


def _run_command(*arguments: object, stdin: bytes = b"") -> CompletedProcess[str]:
    words = ["roi-cls", *map(str, arguments)]
    stdout, stderr = io.StringIO(), io.StringIO()
    code: object = 0
    with (
        pytest.MonkeyPatch.context() as patch,
        mock.patch.object(sys, "argv", words),
        mock.patch.object(sys, "stdin", io.TextIOWrapper(io.BytesIO(stdin))),
        mock.patch.dict(os.environ, {"COLUMNS": "300"}),  # no message is broken into lines
        mock.patch("gc.freeze"),  # a command's process ends with it, this one does not
        contextlib.redirect_stdout(stdout),
        contextlib.redirect_stderr(stderr),
    ):
        if arguments[:1] and arguments[0] in _TRAINING:
            undraw_curves(patch)
        try:
            main()
        except SystemExit as stop:
            code = stop.code
    assert isinstance(code, int)
    said = _ENGINE.sub("", _COLOURS.sub("", stderr.getvalue()))
    return CompletedProcess(words, code, _COLOURS.sub("", stdout.getvalue()), said)
