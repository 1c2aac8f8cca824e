"""How this process shares the machine: memory taken from the system, cores, other processes."""

from __future__ import annotations

import atexit
import contextlib
import ctypes
import gc
import os
import platform
import sys
from pathlib import Path

_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD, _M_MMAP_MAX = -1, -3, -4  # of glibc's malloc.h
_FROM_HEAP_BYTES = 32 * 2**20  # the largest that glibc allows
_KEPT_BYTES = 256 * 2**20
_UNLIMITED_BYTES = 2**31 - 1
_GPU_PLACES = (
    *("/dev/nvidiactl", "/proc/driver/nvidia/version"),  # NVIDIA's driver
    "/dev/nvmap",  # its Jetsons
    "/dev/dxg",  # Windows, seen from its Linux
    "/dev/kfd",  # AMD's
)


def keep_freed_memory() -> None:
    """Let the C allocator keep what is freed, for a process that decodes picture after picture.

    By default glibc gives every large array back and asks for the next one anew, page by page:
    decoding 1024 px JPEGs took 6.1 ms each, 3 of them in page faults, and takes 2.7 ms so. Costs
    up to 256 MiB of memory that is not used at the moment; does nothing with other C libraries.
    """
    _set_allocator((_M_MMAP_THRESHOLD, _FROM_HEAP_BYTES), (_M_TRIM_THRESHOLD, _KEPT_BYTES))


def look_for_less_garbage() -> None:
    """Let Python look for garbage less often, and not at the exit: for a process of its own.

    Importing torch, timm and mediapipe makes a million objects, all of which stay: a fifth of the
    time went into going through them again and again, and 0.7 s at the exit.
    """
    gc.set_threshold(20_000)  # objects more than there were, in place of 700
    atexit.register(gc.freeze)


def keep_all_memory() -> None:
    """Let the C allocator keep arrays of any size, for a process that trains on the CPU.

    A step of training takes and frees the same large arrays, of hundreds of megabytes together. Of
    MobileNetV2's processor time at 224 px, batch 32, page faults were 45 % in fp32 and 8 % in bf16.
    """
    _set_allocator((_M_MMAP_MAX, 0), (_M_TRIM_THRESHOLD, _UNLIMITED_BYTES))


def _set_allocator(*settings: tuple[int, int]) -> None:
    if not sys.platform.startswith("linux"):
        return
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is not None:  # musl has none
        for name, value in settings:
            mallopt(name, value)


def available_bytes() -> int | None:
    """Return how much memory this process may still take without swapping; None: unknown.

    On Linux what the kernel deems available, within the limit of a container; elsewhere half of
    what is built in.
    """
    known = [size for size in (_linux_available(), _container_available()) if size is not None]
    if known:
        return min(known)
    with contextlib.suppress(AttributeError, OSError, ValueError):  # Windows has no sysconf
        return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") // 2
    return None


def _linux_available() -> int | None:
    with contextlib.suppress(OSError, ValueError, IndexError):
        for line in Path("/proc/meminfo").read_text().splitlines():
            if line.startswith("MemAvailable:"):
                return int(line.split()[1]) * 1024
    return None


def _container_available() -> int | None:
    folder = Path("/sys/fs/cgroup")
    with contextlib.suppress(OSError, ValueError):  # memory.max may say "max"
        limit = int((folder / "memory.max").read_text())
        return max(0, limit - int((folder / "memory.current").read_text()))
    return None


def available_cores() -> int:
    """Return how many cores this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def may_have_gpu() -> bool:
    """Whether a GPU that torch computes on may be here; asks the system, and no library.

    Importing torch takes seconds: it is asked only where it may say yes.
    """
    if sys.platform == "darwin":
        return platform.machine() == "arm64"
    if sys.platform == "win32":
        root = os.environ.get("SYSTEMROOT", "C:/Windows")
        return (Path(root) / "System32" / "nvcuda.dll").exists()
    return any(Path(place).exists() for place in _GPU_PLACES)


def is_first_process() -> bool:
    """Whether this process speaks and writes: of several that torchrun started, the first alone."""
    return "WORLD_SIZE" not in os.environ or os.environ.get("RANK", "0") == "0"
