"""Choose the device and the number format that computes fastest on it."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Iterator
from dataclasses import dataclass

import torch

from roi_cls.base.errors import TrainingError
from roi_cls.classifier.config import Device, Precision

FORMATS = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}
"""Number formats by the words of ``Precision``."""


@dataclass(frozen=True, slots=True)
class Backend:
    """A device and the number format of its matrix products."""

    device: torch.device
    format: torch.dtype

    @property
    def name(self) -> str:
        """Device and format in words, e.g. ``cpu (bf16)``."""
        short = next(name for name, dtype in FORMATS.items() if dtype == self.format)
        chip = torch.cuda.get_device_name(self.device) if self.device.type == "cuda" else "cpu"
        return f"{chip if self.device.type != 'mps' else 'mps'} ({short})"

    @property
    def is_exact_cpu(self) -> bool:
        """Whether it computes on the CPU and in fp32."""
        return self.device.type == "cpu" and self.format == torch.float32

    @contextlib.contextmanager
    def autocast(self) -> Iterator[None]:
        """Compute in the backend's format inside; exactly, see ``rounding``, where that is fp32."""
        exact = self.format == torch.float32
        autocast = torch.autocast(self.device.type, dtype=self.format, enabled=not exact)
        with self.rounding(), autocast:
            yield

    @contextlib.contextmanager
    def rounding(self) -> Iterator[None]:
        """Let fp32 be fp32 on a GPU, too, inside: for the way back, which needs no autocast.

        cuDNN's default, TF32, keeps 10 bits of the mantissa, and scores computed so differ from the
        CPU's by 1e-3.
        """
        if self.format != torch.float32:
            yield
            return
        _EXACTNESS.enter()
        try:
            yield
        finally:
            _EXACTNESS.leave()


class _Exactness:
    """Keeps TF32 off while anybody computes in fp32.

    cuDNN's flags are the process's, a server's judges are threads: what each set and put back
    would be put back while another is still at work.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._inside = 0
        self._flags = contextlib.ExitStack()

    def enter(self) -> None:
        """Begin to compute in fp32."""
        with self._lock:
            if not self._inside:
                flags = torch.backends.cudnn.flags(enabled=True, allow_tf32=False)
                self._flags.enter_context(flags)
            self._inside += 1

    def leave(self) -> None:
        """End it; the last one puts the flags back."""
        with self._lock:
            self._inside -= 1
            if not self._inside:
                self._flags.close()


_EXACTNESS = _Exactness()


def choose_backend(device: Device = "auto", precision: Precision = "auto") -> Backend:
    """Return the backend asked for, or the best there is.

    Raises:
        TrainingError: The device or the format asked for is not there.
    """
    kind = _choose_device(device)
    if precision == "auto":
        return Backend(kind, _fastest_format(kind))
    if precision == "fp16" and kind.type == "cpu":
        raise TrainingError(
            "Cannot compute in fp16 on the CPU: torch has no fast fp16 there. "
            "Use --precision bf16, fp32 or auto."
        )
    return Backend(kind, FORMATS[precision])


def _choose_device(device: Device) -> torch.device:
    available = {
        "cuda": torch.cuda.is_available(),
        "mps": torch.backends.mps.is_available(),
        "cpu": True,
    }
    if device == "auto":
        return torch.device(next(name for name, is_there in available.items() if is_there))
    if not available[device]:
        raise TrainingError(
            f"Cannot use the device {device!r}: torch {torch.__version__} sees none. "
            "Use --device auto, or install the torch built for it; `roi-cls doctor` tells more."
        )
    return torch.device(device)


def _fastest_format(device: torch.device) -> torch.dtype:
    if device.type == "cuda":
        # Before Ampere bf16 is emulated, by fp32: slower than fp16, and than fp32 itself.
        has_bf16 = torch.cuda.is_bf16_supported(including_emulation=False)
        return torch.bfloat16 if has_bf16 else torch.float16
    if device.type == "cpu" and torch.ops.mkldnn._is_mkldnn_bf16_supported():
        # Emulated bf16 (AVX-512 without its BF16 part, or AVX2) is slower than fp32.
        is_native = torch.cpu._is_avx512_bf16_supported() or torch.cpu._is_amx_tile_supported()
        return torch.bfloat16 if is_native else torch.float32
    return torch.float32
