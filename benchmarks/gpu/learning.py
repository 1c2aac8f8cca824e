"""Whether training on this device learns, resumes, repeats itself, and tells what fits."""

from __future__ import annotations

import math
import re
import warnings
from typing import Any

import torch

from benchmarks.gpu.rows import Book, timed
from benchmarks.gpu.setting import GIB, Setting
from benchmarks.training.sides import our_sides
from roi_cls.base.errors import TrainingError
from roi_cls.classifier.config import TrainConfig
from roi_cls.classifier.models.device import choose_backend
from roi_cls.classifier.training.job import EpochReport, Observers

_LEFT_GIB = 3
"""Of the GPU's memory, for a training that is to have too little."""
_LARGE = 1024
"""Crops of a batch that is too large for that: 90 MB each in fp32."""


class CutError(Exception):
    """Ends a training in between, as a lost machine would."""


def check_learning(setting: Setting, book: Book) -> None:
    """Tell whether each number format learns, what ``auto`` chooses, and how often a step waits."""
    count, size = _sizes(setting)
    formats = ("fp32", "bf16", "fp16") if setting.has_gpu else ("fp32", "bf16")
    for name in formats:
        with book.trying(f"{name} learns"):
            epochs = setting.learn(f"learns-{name}", count, precision=name, batch_size=size)
            _expect_learned(f"{name}: loss of the first and the last epoch", epochs, book)
    if not setting.has_gpu:
        book.skip("fp16: loss of the first and the last epoch")
    with book.trying("a running average"):
        options: dict[str, Any] = {"precision": setting.fast, "batch_size": size, "ema": 0.9}
        epochs = setting.learn("averages", count, **options)
        _expect_learned("--ema 0.9: loss of the first and the last epoch", epochs, book)
    with book.trying("auto"):
        _check_auto(setting, book)
    with book.trying("waits"):
        _count_waits(setting, book)


def _sizes(setting: Setting) -> tuple[int, int]:
    """Return crops and batch size of a short training."""
    return (8, 4) if setting.is_tiny else (512, 64)


def _expect_learned(what: str, epochs: list[EpochReport], book: Book) -> None:
    first, last = epochs[0].train_loss, epochs[-1].train_loss
    is_right = math.isfinite(last) and last < first
    book.expect(what, f"{first:.3g}, {last:.3g}", "falls", is_right=is_right)


def check_resume(setting: Setting, book: Book) -> None:
    """Tell whether a training repeats itself, and goes on as if it had not been cut.

    In a process of its own: cuBLAS looks once how it is to compute.
    """
    count, _ = _sizes(setting)
    options: dict[str, Any] = {"epochs": 1, "batch_size": "auto", "deterministic": True}
    with book.trying("--deterministic, format and batch by auto"):
        (epoch,) = setting.learn("exact", count, **options)
        book.note("--deterministic, format and batch by auto: loss", epoch.train_loss)
    precision = "fp16" if setting.has_gpu else "fp32"
    with book.trying(f"{precision} resumes"):
        _check_resumed(setting, precision, book)


def _check_resumed(setting: Setting, precision: str, book: Book) -> None:
    """Compare a run that was cut after its second epoch with one that was not, and with a twin."""
    count, size = _sizes(setting)
    options: dict[str, Any] = {
        **{"precision": precision, "batch_size": size, "epochs": 4, "ema": 0.9},
        **{"augmentation": "strong", "mixup": 0.2, "deterministic": True},
    }
    whole = setting.learn("whole", count, **options)
    twin = setting.learn("twin", count, **options)
    book.at_most(f"{precision} --deterministic, twice: losses differ by", _apart(whole, twin), 0.0)

    def cut(report: EpochReport) -> None:
        if report.epoch == 2:
            raise CutError

    try:
        setting.learn("cut", count, Observers(on_epoch=cut), **options)
    except CutError:
        pass
    else:
        raise AssertionError("the training was not cut")
    resumed = setting.learn("cut", count, **options)
    found = _apart(whole[2:], resumed)
    book.at_most(f"{precision}, cut after 2 of 4 epochs and resumed: losses differ by", found, 0.0)


def _apart(one: list[EpochReport], other: list[EpochReport]) -> float:
    """Return the largest difference of training and validation losses, epoch by epoch."""
    if len(one) != len(other):
        return math.nan
    pairs = zip(one, other, strict=True)
    return max(
        max(abs(a.train_loss - b.train_loss), abs(a.validation_loss - b.validation_loss))
        for a, b in pairs
    )


def _check_auto(setting: Setting, book: Book) -> None:
    """Let the machine choose format and batch, and train with what it chose."""
    facts: dict[str, Any] = {}
    if setting.has_gpu:
        torch.cuda.reset_peak_memory_stats(setting.device)
    count = None if setting.has_gpu else 16
    observers = Observers(on_fact=facts.__setitem__)
    model = setting.models[min(1, len(setting.models) - 1)]
    options = {"model": model, "batch_size": "auto", "epochs": 1, "ema": 0.9}

    def learn() -> None:
        setting.learn("auto", count or setting.batch * setting.steps, observers, **options)

    seconds = timed(learn, setting.wait)
    book.note(f"{model}, auto chose", f"{facts['backend']}, batches of {facts['batch_size']}")
    book.note(f"{model}, auto: seconds with an epoch", seconds)
    if setting.has_gpu:
        total = torch.cuda.get_device_properties(setting.device).total_memory
        share = torch.cuda.max_memory_allocated(setting.device) / total
        book.note(f"{model}, auto: share of the GPU's memory at the peak", share)


def _count_waits(setting: Setting, book: Book) -> None:
    """Count the calls in a step after which the CPU waited for the GPU."""
    what = "calls of a step that wait for the GPU, strong augmentation, mixup, average"
    if not setting.has_gpu:
        book.skip(what)
        return
    changes: dict[str, Any] = {"augmentation": "strong", "mixup": 0.2, "ema": 0.9}
    size = 4 if setting.is_tiny else 32
    config = TrainConfig(model=setting.models[0], weights="none", batch_size=size, **changes)
    backend = choose_backend(setting.kind, setting.fast)
    epoch = our_sides(config, setting.crops(2 * size), backend, size)["roi-cls"]
    epoch()  # the first steps make what the others reuse
    setting.wait()
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        torch.cuda.set_sync_debug_mode("warn")
        try:
            epoch()
        finally:
            torch.cuda.set_sync_debug_mode("default")
    waits = [w for w in caught if "called a synchronizing" in str(w.message)]
    # fp16's loss scale is looked at once in each step.
    book.at_most(what, len(waits) / 2, 1.0 if setting.fast == "fp16" else 0.0, must=False)


def check_memory(setting: Setting, book: Book) -> None:
    """Tell what is said where a batch does not fit, and whether what it names fits."""
    what = "a batch that does not fit: the message names one that does"
    if not setting.has_gpu or setting.is_tiny:  # tiny batches always fit
        book.skip(what)
        return
    free, _ = torch.cuda.mem_get_info(setting.device)
    size = max(0, free - _LEFT_GIB * GIB)
    # The rest of the memory is taken, so that it takes no chip longer to run out of it.
    ballast = torch.empty(size, dtype=torch.uint8, device=setting.device)
    options: dict[str, Any] = {"model": setting.models[1], "epochs": 1}
    with book.trying(what):
        try:
            setting.learn("large", _LARGE, batch_size=_LARGE, **options)
            message = "no message"
        except TrainingError as error:
            message = str(error)
        start = f"Cannot train with batches of {_LARGE}: the GPU's memory is too small. "
        found = re.search(r"use --batch-size (\d+) --accumulate (\d+)", message)
        is_right = message.startswith(start) and found is not None
        book.expect(what, message, "the clear message", is_right=is_right)
        if found:
            fitting, parts = map(int, found.groups())
            options |= {"batch_size": fitting, "accumulate": parts}
            setting.learn("fitting", _LARGE, **options)
            book.note("an epoch with the named batch", "trained")
    del ballast
