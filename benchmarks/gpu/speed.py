"""How fast training is: against the same steps on one resident batch, the chip, and timm's."""

from __future__ import annotations

import gc
import statistics
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import partial
from unittest import mock

import torch

from benchmarks.gpu.chips import find_chip
from benchmarks.gpu.rows import Book, timed
from benchmarks.gpu.setting import GIB, Setting
from benchmarks.training.run import Case, count_flops, ratio, time_in_turns
from benchmarks.training.sides import Side, our_sides, timm_side
from roi_cls.base.machine import keep_all_memory
from roi_cls.classifier.config import TrainConfig
from roi_cls.classifier.models.device import Backend, choose_backend
from roi_cls.classifier.models.timm_model import create_model
from roi_cls.classifier.training import batches

MOST_TO_ONE_BATCH = 1.10
"""Time of an epoch to that of the same steps on one batch that lies ready on the device."""
_EPOCH_SECONDS = 1.0
"""About how long a timed epoch takes: fewer steps where they are slow."""


def measure_speed(setting: Setting, book: Book, model: str) -> None:
    """Tell what an epoch of a model takes, on each side."""
    keep_all_memory()
    course = _Course(setting, book, model, choose_backend(setting.kind, setting.fast))
    with book.trying("steps of an epoch"):
        course = replace(course, steps=_fitting_steps(course))
    for what, measure in {
        "an epoch": _measure_ours,
        "timm's training": _measure_timm,
        "crops that stay in the host's memory": _measure_host,
    }.items():
        free(setting)
        with book.trying(what):
            measure(course)


@dataclass(frozen=True, slots=True)
class _Course:
    """Epochs of one model."""

    setting: Setting
    book: Book
    model: str
    backend: Backend
    steps: int = 4
    """In an epoch."""

    @property
    def count(self) -> int:
        """Crops of an epoch."""
        return self.setting.batch * self.steps

    def sides(self, *names: str) -> dict[str, Side]:
        """Return ways to take an epoch, see ``our_sides``."""
        size = self.setting.batch
        config = TrainConfig(model=self.model, weights="none", batch_size=size)
        sides = our_sides(config, self.setting.crops(self.count), self.backend, size)
        return {name: sides[name] for name in names}

    def time(self, sides: Mapping[str, Side], rounds: int) -> dict[str, list[float]]:
        """Return seconds of each side's epochs."""
        return time_in_turns(sides, min(rounds, self.setting.rounds), self.setting.device)


def _fitting_steps(course: _Course) -> int:
    """Return as many steps as a second has, within limits."""
    if course.setting.is_tiny:
        return course.setting.steps
    (epoch,) = course.sides("one batch").values()
    epoch()
    seconds = timed(epoch, course.setting.wait) / course.steps
    return max(course.steps, min(course.setting.steps, round(_EPOCH_SECONDS / seconds)))


def _measure_ours(course: _Course) -> None:
    setting, book = course.setting, course.book
    if setting.has_gpu:
        torch.cuda.reset_peak_memory_stats(setting.device)
    times = course.time(course.sides("one batch", "roi-cls"), 5)
    rates = {name: course.count / statistics.median(each) for name, each in times.items()}
    book.note(f"images/s of an epoch, {setting.fast}, batches of {setting.batch}", rates["roi-cls"])
    book.note("images/s of the same steps on one batch", rates["one batch"])
    found = ratio(times, "roi-cls", "one batch")
    book.at_most("an epoch : the same steps on one batch", found, MOST_TO_ONE_BATCH, must=False)
    noise = max(times["one batch"]) / min(times["one batch"])
    book.note("slowest : fastest epoch on one batch (noise)", noise)
    if setting.has_gpu:
        peak = torch.cuda.max_memory_allocated(setting.device) / GIB
        book.note("GiB of the GPU at the peak", peak)
    flops = rates["roi-cls"] * count_flops(
        Case(course.model, setting.size_px, setting.batch, course.steps)
    )
    book.note("TFLOP/s of the model's products", flops / 1e12)
    chip = find_chip(course.backend.name) if setting.has_gpu else None
    book.note("share of the chip's peak", flops / chip.flops if chip else "unknown chip")


def _measure_host(course: _Course) -> None:
    what = "crops in the host's memory : on the GPU, time of an epoch"
    if not course.setting.has_gpu:
        course.book.skip(what)
        return
    (here,) = course.sides("roi-cls").values()
    with mock.patch.object(batches, "_SHARE_OF_FREE", 0.0):
        (host,) = course.sides("roi-cls").values()
    course.book.note(what, ratio(course.time({"here": here, "host": host}, 2), "host", "here"))


def _measure_timm(course: _Course) -> None:
    setting, book = course.setting, course.book
    folder, workers = setting.pictures(course.count), setting.workers
    side = partial(timm_side, course.model, setting.size_px, folder, course.backend, setting.batch)
    with side(workers) as epoch:
        times = course.time({**course.sides("roi-cls"), "timm's": epoch}, 2)
    rate = course.count / statistics.median(times["timm's"])
    book.note(f"images/s of timm's training, {workers} processes load JPEGs", rate)
    book.note("timm's epoch : ours, time", ratio(times, "timm's", "roi-cls"))


def measure_knobs(setting: Setting, book: Book) -> None:
    """Tell what settings that are not the default would gain, on one batch that lies ready."""
    model = setting.models[0]
    backend = choose_backend(setting.kind, setting.fast)
    plain = _knob(setting, model, backend)
    for what, make in {
        "optimiser in one kernel (fused)": partial(_knob, setting, model, backend, is_fused=True),
        "cuDNN tries its algorithms": partial(_knob, setting, model, backend, tries=True),
    }.items():
        with book.trying(what):
            times = time_in_turns({"plain": plain, "other": make()}, 3, setting.device)
            book.note(f"{what}: speed to without", ratio(times, "plain", "other"))


def _knob(
    setting: Setting,
    model: str,
    backend: Backend,
    *,
    is_fused: bool = False,
    tries: bool = False,
) -> Callable[[], None]:
    """Return an epoch of plain steps on one batch, with a setting that training does not have."""
    torch.manual_seed(0)
    network = create_model(model, "none", 2, setting.size_px, 0.2, None)
    network = network.to(setting.device, memory_format=torch.channels_last).train()  # type: ignore[call-overload]  # torch's stubs lack this form
    optimiser = torch.optim.AdamW(network.parameters(), lr=1e-5, fused=is_fused or None)
    images = torch.randn(setting.batch, 3, setting.size_px, setting.size_px, device=setting.device)
    images = images.contiguous(memory_format=torch.channels_last)
    labels = torch.arange(setting.batch, device=setting.device) % 2
    rounded = backend.format != torch.float32

    def epoch() -> None:
        with torch.backends.cudnn.flags(enabled=True, benchmark=tries, allow_tf32=True):
            for _ in range(4):
                with torch.autocast(setting.device.type, dtype=backend.format, enabled=rounded):
                    logits = network(images)
                torch.nn.functional.cross_entropy(logits.float(), labels).backward()  # type: ignore[no-untyped-call]  # torch leaves it untyped
                optimiser.step()
                optimiser.zero_grad()

    return epoch


def measure_compiled(setting: Setting, book: Book) -> None:
    """Tell what ``--compile`` costs at the start, and gains after it."""
    if not setting.has_gpu:
        book.skip("--compile: speed to without")
        return
    backend = choose_backend(setting.kind, setting.fast)
    size = setting.batch

    def steps(*, is_compiled: bool) -> Side:
        model = setting.models[0]
        config = TrainConfig(model=model, weights="none", batch_size=size, compile=is_compiled)
        return our_sides(config, setting.crops(4 * size), backend, size)["one batch"]

    plain, compiled = steps(is_compiled=False), steps(is_compiled=True)
    book.note("--compile: seconds of the first four steps", timed(compiled, setting.wait))
    times = time_in_turns({"plain": plain, "compiled": compiled}, setting.rounds, setting.device)
    book.note("--compile: speed to without", ratio(times, "plain", "compiled"))


def free(setting: Setting) -> None:
    """Give back the memory of what is over."""
    gc.collect()
    if setting.has_gpu:
        torch.cuda.empty_cache()
