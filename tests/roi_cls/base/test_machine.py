"""What is freed stays with the process: arrays of any size come without page faults."""

import os
import platform
import subprocess
import sys
from pathlib import Path

import pytest

from roi_cls.base import machine as module

_COUNT = """
import resource, sys
import numpy as np
from roi_cls.base import machine

getattr(machine, sys.argv[1])() if len(sys.argv) > 1 else None
size = 48 * 2**20  # above what glibc takes from its heap by itself

def faults():
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    for _ in range(10):
        np.ones(size, np.uint8)
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before

faults()
print(faults())
"""


def _count_faults(*arguments: str) -> int:
    command = [sys.executable, "-c", _COUNT, *arguments]
    # In pages of 4 KiB: numpy asks for huge ones, and faults would be few either way.
    environment = {**os.environ, "NUMPY_MADVISE_HUGEPAGE": "0"}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
    return int(done.stdout)


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="an allocator of its own")
def test_large_arrays_come_without_page_faults_once_all_memory_is_kept() -> None:
    assert _count_faults("keep_all_memory") < 100
    assert _count_faults() > 1000  # or there would be nothing to gain


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="an allocator of its own")
def test_settings_of_the_allocator_do_not_exclude_each_other() -> None:
    both = "import roi_cls.base.machine as m; m.keep_freed_memory(); m.keep_all_memory()"
    subprocess.run([sys.executable, "-c", both], check=True)


def test_available_memory_is_the_smaller_of_machine_and_container(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for machine, container, expected in ((8, 4, 4), (8, None, 8), (None, 4, 4)):
        monkeypatch.setattr(module, "_linux_available", lambda size=machine: size)
        monkeypatch.setattr(module, "_container_available", lambda size=container: size)
        assert module.available_bytes() == expected


def test_available_memory_of_this_machine_is_plausible() -> None:
    available = module.available_bytes()
    assert available is None or 2**20 < available < 2**50


def test_unknown_memory_is_none(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_linux_available", lambda: None)
    monkeypatch.setattr(module, "_container_available", lambda: None)
    monkeypatch.delattr(os, "sysconf", raising=False)
    assert module.available_bytes() is None


def test_garbage_is_looked_for_less_often_and_not_at_the_exit() -> None:
    code = """
import atexit, gc
from roi_cls.base.machine import look_for_less_garbage
atexit.register(lambda: print(gc.get_freeze_count() > 1000))  # the last registered runs first
look_for_less_garbage()
print(gc.isenabled(), gc.get_threshold()[0])
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "True 20000\nTrue\n"


@pytest.mark.parametrize(
    ("system", "processor", "there", "wanted"),
    [
        ("linux", "x86_64", [], False),
        ("linux", "x86_64", ["/dev/nvidiactl"], True),
        ("linux", "aarch64", ["/dev/nvmap"], True),
        ("linux", "x86_64", ["/dev/kfd"], True),
        ("darwin", "arm64", [], True),
        ("darwin", "x86_64", ["/dev/nvidiactl"], False),
        ("win32", "AMD64", ["C:/Windows/System32/nvcuda.dll"], True),
        ("win32", "AMD64", [], False),
    ],
)
def test_gpu_is_looked_for_where_its_driver_would_be(
    system: str, processor: str, there: list[str], wanted: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "platform", system)
    monkeypatch.setattr(platform, "machine", lambda: processor)
    monkeypatch.setattr(Path, "exists", lambda path: path.as_posix() in there)
    monkeypatch.delenv("SYSTEMROOT", raising=False)
    assert module.may_have_gpu() is wanted
