"""A library is imported without what it does not use, and gets it when it does."""

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from roi_cls.roi.mediapipe_detector import stand_ins

LIBRARY = "import heavy_parent.child as child\nimport heavy_other\n"


@pytest.fixture
def library(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Modules in a folder of their own; each notes when it is imported."""
    log = str(tmp_path / "log")
    note = f"with open({log!r}, 'a') as file:\n    file.write(__name__ + ' ')\n"
    (tmp_path / "heavy_parent").mkdir()
    (tmp_path / "heavy_parent" / "__init__.py").write_text(note + "VALUE = 1\n")
    (tmp_path / "heavy_parent" / "child.py").write_text(note + "VALUE = 2\n")
    (tmp_path / "heavy_other.py").write_text(note)
    (tmp_path / "light_library.py").write_text(note + LIBRARY)
    (tmp_path / "log").touch()
    monkeypatch.syspath_prepend(str(tmp_path))
    yield tmp_path / "log"
    for name in ("heavy_parent", "heavy_parent.child", "heavy_other", "light_library"):
        sys.modules.pop(name, None)


NAMES = ("heavy_parent", "heavy_parent.child", "heavy_other")


def test_parts_not_used_are_not_imported_until_they_are(library: Path) -> None:
    with stand_ins(*NAMES):
        import light_library  # type: ignore[import-not-found]  # written by the test
    assert library.read_text() == "light_library "
    assert not {*NAMES} & {*sys.modules}
    assert light_library.child.VALUE == 2
    assert library.read_text() == "light_library heavy_parent heavy_parent.child "
    import heavy_parent.child  # type: ignore[import-not-found]  # written by the test

    assert heavy_parent.child.VALUE == 2


def test_part_used_while_importing_is_imported_then(library: Path) -> None:
    with stand_ins(*NAMES):
        import heavy_parent.child as child

        assert child.VALUE == 2
    assert sys.modules["heavy_parent.child"].VALUE == 2  # the true one


def test_what_is_imported_already_stays(library: Path) -> None:
    import heavy_parent

    with stand_ins(*NAMES):
        import heavy_other  # type: ignore[import-not-found]  # written by the test

        assert sys.modules["heavy_parent"] is heavy_parent
        assert sys.modules["heavy_other"] is heavy_other
    assert "heavy_other" in library.read_text()


def test_mediapipe_comes_without_matplotlib_and_draws_with_it() -> None:
    code = """
import sys
from roi_cls.roi.mediapipe_detector import import_mediapipe
import_mediapipe()
from mediapipe.tasks.python import vision
print("matplotlib" in sys.modules, "sounddevice" in sys.modules)
print(vision.drawing_utils.plt.figure.__module__)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "False False\nmatplotlib.pyplot\n"
