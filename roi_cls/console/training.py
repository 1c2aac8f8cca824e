"""What is told while pictures are cropped and models train: progress, faults, epochs."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager

from roi_cls.cache import CropRecord
from roi_cls.classifier.training.data import TrainingData
from roi_cls.classifier.training.job import EpochReport, Observers
from roi_cls.console.cropping import cropping_progress, show_errors
from roi_cls.console.terminal import Advance, note, progress
from roi_cls.console.words import count_text
from roi_cls.data.audit import SIGNIFICANT_P
from roi_cls.data.sample import MOST_LISTED, SPLIT_NAMES, tell_extremes
from roi_cls.data.split import Split


def tell_data(data: TrainingData) -> None:
    """Note what the data are, and what is wrong with them."""
    show_errors(data.errors, "crops.jsonl in the run's folder lists every picture")
    if skipped := sum(record.status == "skipped" for record in data.records):
        note(f"Left out: {count_text(skipped, 'picture')} without a face (--fallback skip).")
    split = data.split
    counts = Counter(
        (sample.split, sample.label)
        for sample, record in zip(split.samples, data.records, strict=True)
        if record.status == "ok"
    )
    for part in SPLIT_NAMES:
        of_part = {name: counts[part, name] for name in data.labels.names}
        note(f"{part:>10}: {_tell_counts(of_part)}")
    note(f"Looking for {data.labels.target!r} ({data.labels.target_reason}).")
    faces = sum(r.source == "face" for c in (data.train, data.validation) for r in c.records)
    note(
        f"Crops: {faces} of {len(data.train) + len(data.validation)} show a face, the others the "
        "full frame."
    )
    crops = data.train, data.validation
    records = [record for part in crops for record in part.records]
    labels = [data.labels.names[i] for part in crops for i in part.labels]
    if warning := full_frame_warning(records, labels):
        note(f"warning: {warning}")
    _warn_of_faults(data.split)


def _tell_counts(counts: Mapping[str, int]) -> str:
    """Return how many pictures there are of each class; of many classes, of the extreme ones."""
    if len(counts) <= MOST_LISTED:
        return ", ".join(f"{count} {name}" for name, count in counts.items())
    total = f"{sum(counts.values())} of {len(counts)} classes"
    if len(set(counts.values())) == 1:
        return f"{total}, {max(counts.values())} of each"
    fewest, most = tell_extremes(counts)
    return f"{total}, from {fewest} to {most}"


def full_frame_warning(records: Sequence[CropRecord], labels: Sequence[str]) -> str | None:
    """Return in words that a lack of faces tells a class; None: it tells none, beyond accident.

    Args:
        records: Of pictures with a crop.
        labels: Class of each.
    """
    from scipy.stats import fisher_exact

    totals = Counter(labels)
    # A reason: a face was looked for. A recipe of full frames betrays nothing.
    faceless = Counter(
        label for record, label in zip(records, labels, strict=True) if record.reason
    )
    if len(totals) < 2 or not faceless:
        return None
    label = max(totals, key=lambda name: faceless[name] / totals[name])
    without = faceless[label], faceless.total() - faceless[label]
    of = totals[label], totals.total() - totals[label]
    table = [[n, all_ - n] for n, all_ in zip(without, of, strict=True)]
    if fisher_exact(table).pvalue >= SIGNIFICANT_P:
        return None
    return (
        f"no face was found in {without[0]} of {of[0]} {label!r}, but in {without[1]} of {of[1]} "
        "others: a model may learn that instead. See them with `roi-cls crops --contact-sheet`; "
        "--fallback skip leaves them out."
    )


def _warn_of_faults(split: Split) -> None:
    """Note what the data's own parts and labels get wrong."""
    for what, pairs, remedy in (
        (
            "the same bytes stand in two parts",
            split.leaks,
            "The one in the earlier part is left out.",
        ),
        ("the same bytes have two labels", split.conflicts, "Take one of each pair out."),
        (
            "pictures that look alike stand in two parts",
            split.near_leaks,
            "Those in the earlier part are left out; `roi-cls data audit` lists them all.",
        ),
    ):
        if pairs:
            first, second = pairs[0]
            note(
                f"warning: {what}: {str(first)!r} and {str(second)!r}"
                f"{f', and {len(pairs) - 1} more pairs' if len(pairs) > 1 else ''}. "
                f"{remedy}"
            )
    if split.shared_groups:
        note(
            f"warning: {len(split.shared_groups)} groups stand in two parts, like "
            f"{split.shared_groups[0]!r}; scores will flatter the model."
        )


def epoch_line(report: EpochReport, epochs: int | None) -> str:
    """Return an epoch in one line; epochs: how many there are, None where models differ in it."""
    of = "" if epochs is None else f"/{epochs}"
    return (
        f"epoch {report.epoch:>3}{of} {report.phase:<4} "
        f"loss {report.train_loss:.4f}  validation: loss {report.validation_loss:.4f}  "
        f"AP {report.average_precision:.3f}  ROC-AUC {report.roc_auc:.3f}  "
        f"{report.images_per_second:.0f} crops/s{'  best' if report.best else ''}"
    )


@contextmanager
def watch_runs() -> Iterator[Observers]:
    """Give observers that show progress, whichever run is at work, and print its notes."""
    told: set[str] = set()

    def on_data(data: TrainingData) -> None:
        if data.digest not in told:  # every run of an experiment loads them
            told.add(data.digest)
            _warn_of_faults(data.split)

    with cropping_progress() as on_crop, ExitStack() as bars:
        steps = _Steps(bars)
        yield Observers(
            on_crop, on_data, on_step=steps.on_step, on_epoch=steps.on_epoch, on_note=note
        )


class _Steps:
    """Shows how far an epoch is; each has a bar of its own, as other work comes between them."""

    def __init__(self, bars: ExitStack) -> None:
        self._bars = bars
        self._advance: Advance | None = None

    def on_step(self, done: int, total: int) -> None:
        """Show how far the epoch is."""
        if self._advance is None:
            self._advance = self._bars.enter_context(progress("Training", "crops"))
        self._advance(done, total, "")

    def on_epoch(self, report: EpochReport) -> None:
        """End the epoch's bar."""
        self._bars.close()
        self._advance = None
