"""Every setting of a training run. Imports nothing heavy: the command line reads its defaults."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any, Literal, get_args

DEFAULT_MODEL = "tf_efficientnet_lite0"
"""Its weights are installed with roi-cls. Without squeeze-and-excitation it is fast on CPUs and
exports anywhere."""
BATCH_SIZE = 32
"""Crops scored at once, unless something else is asked for."""
Aggregate = Literal["max", "mean"]
Augmentation = Literal["none", "light", "strong"]
Device = Literal["auto", "cpu", "cuda", "mps"]
TrackerName = Literal["tensorboard", "mlflow", "wandb"]
GlobalPool = Literal["avg", "max", "avgmax", "catavgmax"]
Head = Literal["pool", "evidence"]
Imbalance = Literal["weights", "sampling", "logit_adjustment", "none"]
Method = Literal["network", "embedding", "zero_shot", "autoencoder", "svm"]
Metric = Literal["auto", "average_precision", "roc_auc", "loss", "last"]
OptimiserName = Literal["adamw", "adam", "sgd"]
Precision = Literal["auto", "fp32", "bf16", "fp16"]
Runtime = Literal["auto", "onnx", "torch"]
ScheduleName = Literal["cosine", "step", "plateau", "halving", "constant"]
_CHOICES = {
    "augmentation": Augmentation,
    "device": Device,
    "global_pool": GlobalPool,
    "head": Head,
    "imbalance": Imbalance,
    "method": Method,
    "metric": Metric,
    "optimiser": OptimiserName,
    "precision": Precision,
    "schedule": ScheduleName,
}
_LIMITS: tuple[tuple[tuple[str, ...], Callable[[float], bool], str], ...] = (
    (("epochs", "accumulate"), lambda value: value >= 1, "at least 1"),
    (("lr", "head_lr"), lambda value: value > 0, "above 0"),
    (
        (
            *("weight_decay", "warmup_epochs", "patience", "head_epochs", "unfreeze_blocks"),
            *("hidden", "mixup", "cutmix", "focal_gamma"),
        ),
        lambda value: value >= 0,
        "0 or more",
    ),
    (("drop_rate", "label_smoothing", "ema"), lambda value: 0 <= value < 1, "from 0 to below 1"),
    (("layer_decay",), lambda value: 0 < value <= 1, "above 0 and at most 1"),
    (("self_blend", "self_blend_beside"), lambda value: 0 <= value <= 1, "from 0 to 1"),
)
_RULE_FORMS = (
    "auto, f1, recall>=0.8, precision>=0.95 or cost:10:1 (a missed target : a false alarm)"
)


@dataclass(frozen=True, slots=True)
class TrainConfig:
    """How a model is trained. Every field can change the result."""

    method: Method = "network"
    """How the model comes about: a ``network`` is trained on crops; an ``embedding`` of a frozen
    network is computed once and a head is trained on it; ``zero_shot`` compares with captions; an
    ``autoencoder`` learns what is not the target; an ``svm`` sees hand-made features."""
    model: str = DEFAULT_MODEL
    """Any model name of timm, or for embeddings and captions ``open_clip:NAME``."""
    weights: str = "auto"
    """Starting weights: ``auto`` (the model's pretrained ones: of an installed package, else of the
    hub), ``hub`` (of the Hugging Face hub, or its copy on this machine), ``none`` (random), a file,
    or a folder with a file named like the model."""
    head: Head = "pool"
    """What answers: ``pool`` sums up the whole crop; ``evidence`` scores each place and answers by
    the strongest (two classes)."""
    frame: bool = False
    """Judge the full frame beside the crop: two views, one decision."""
    eyes: bool = False
    """See the eyes at twice the resolution of the face: the face is judged at half of the crop's
    side, and beside it, as it is, the band of the crop where the eyes lie. Meant for
    ``--size 448``: the default of 224 shows the face at 112 px."""
    hidden: int = 0
    """Units of the hidden layer of a head on embeddings; 0: a linear head."""
    captions: str | None = None
    """What each class looks like, for ``zero_shot``: ``artefact=a distorted face,…``."""
    epochs: int = 10
    """Epochs at most, both phases together."""
    head_epochs: int | None = None
    """Epochs of the first phase, when only the head learns; unset: 2, or 0 for random weights."""
    unfreeze_blocks: int | None = None
    """Blocks, counted from the head, that learn in the second phase; unset: all."""
    batch_size: int | Literal["auto"] = 32
    """Crops computed at once; ``auto``: the largest power of two that fits into memory."""
    accumulate: int = 1
    """Batches per optimiser step: as one large batch, in the memory of a small one."""
    optimiser: OptimiserName = "adamw"
    """``adamw``, ``adam`` or ``sgd`` (with momentum 0.9)."""
    lr: float = 5e-4
    """Peak learning rate of the second phase."""
    head_lr: float = 1e-3
    """Peak learning rate of the first phase."""
    schedule: ScheduleName = "cosine"
    """How the rate falls in a phase: half a ``cosine``; by ``step`` to a tenth after each third;
    on a ``plateau`` to half after 3 epochs without a better metric; by ``halving`` after each
    fifth; or ``constant``."""
    warmup_epochs: float | None = None
    """Epochs over which the second phase's rate rises from zero; unset: 1, from random weights
    a quarter of all."""
    layer_decay: float = 1.0
    """Rate of each layer group as a share of the one's above it; 1: all alike."""
    weight_decay: float = 0.02
    """The optimiser's decay, on weights but not on biases and norms."""
    ema: float = 0.99
    """Decay, per step, of a running average of the weights that is what gets judged and kept;
    0: none."""
    drop_rate: float = 0.2
    """Dropout before the head, 0 to 1."""
    global_pool: GlobalPool | None = None
    """How a convolutional model sums up the crop before its head; ``max`` suits small artefacts;
    unset: the model's own way."""
    label_smoothing: float = 0.1
    """Share of the label's weight that is spread over all classes, 0 to 1."""
    focal_gamma: float = 0.0
    """How much less a picture counts that is answered right already (focal loss); 0: not."""
    imbalance: Imbalance = "sampling"
    """Rare classes count more: by ``sampling`` them as often as the others, by class ``weights`` in
    the loss, by ``logit_adjustment`` of the loss, or ``none``."""
    augmentation: Augmentation = "strong"
    """Random changes of crops: ``none``, ``light`` or ``strong``; in training alone."""
    mixup: float = 0.0
    """Blend pairs of crops and their labels, the share drawn from Beta(a, a) of this a; 0: not."""
    cutmix: float = 0.0
    """Paste a part of another crop, its area drawn from Beta(a, a) of this a; 0: not."""
    self_blend: float = 0.0
    """Share of each epoch's crops of other classes that get a synthetic local defect and then count
    as the target, 0 to 1."""
    self_blend_beside: float | None = None
    """Share of those defects that lie anywhere in the crop, not at the face, 0 to 1; unset: none at
    a margin of 0.1, a quarter at 0.3, half from 1 on. Nothing without ``self_blend``."""
    patience: int = 8
    """Epochs without a better validation metric after which training stops; 0: never, nor where
    the last epoch is kept."""
    metric: Metric = "auto"
    """What chooses the epoch that is kept, on validation: of the target's scores, or the loss.
    ``last``: nothing does, the last one is kept. ``auto``: average precision, but the last where
    there are so few targets that a choice is mostly luck."""
    threshold_rule: str = "auto"
    """What the threshold is for, on validation: ``auto``, the best F1 that is right at least as
    often as always giving the commoner answer; ``f1``, the best of all; ``recall>=0.8``;
    ``precision>=0.95``; or ``cost:10:1``, the cost of a missed target to that of a false alarm."""
    calibrate: bool = True
    """Scale and shift the scores so that the probabilities fit validation best."""
    mirror: bool = False
    """Score each crop and its mirror image, and average their logits: steadier, at twice the time;
    while training goes on, epochs are judged without."""
    seed: int = 0
    """Of weights, order and augmentation."""
    deterministic: bool = False
    """Use algorithms alone that repeat bit for bit on a GPU, too."""
    compile: bool = False
    """Compile the model with torch.compile: a slow start, then faster steps."""
    device: Device = "auto"
    """Where to compute; ``auto``: on a GPU where there is one."""
    precision: Precision = "auto"
    """``auto``: the format that is fastest here: bf16, fp32, or fp16 on an older GPU."""

    def __post_init__(self) -> None:
        for name, choices in _CHOICES.items():
            value = getattr(self, name)
            if value is not None and value not in get_args(choices):
                raise ValueError(f"{name} must be one of {get_args(choices)}, got {value!r}")
        for names, is_allowed, rule in _LIMITS:
            for name in names:
                value = getattr(self, name)
                if value is not None and not is_allowed(value):
                    raise ValueError(f"{name} must be {rule}, got {value}")
        size = self.batch_size
        if size != "auto" and not (isinstance(size, int) and size >= 1):
            raise ValueError(f"batch_size must be at least 1 or auto, got {size!r}")
        parse_rule(self.threshold_rule)

    @property
    def first_phase(self) -> int:
        """Epochs in which only the head learns."""
        if self.head_epochs is None:
            return 0 if self.weights == "none" else min(2, self.epochs - 1)
        return min(self.head_epochs, self.epochs)

    @property
    def warmup(self) -> float:
        """Epochs over which the rate of the second phase rises."""
        if self.warmup_epochs is not None:
            return self.warmup_epochs
        # Random weights take a steep start badly: a small network on the drawn demo set reached
        # ROC-AUC 0.86 with one epoch of twenty, 0.94 with five.
        return self.epochs / 4 if self.weights == "none" else 1.0

    def to_dict(self) -> dict[str, Any]:
        """Return plain JSON values."""
        return asdict(self)


@dataclass(frozen=True, slots=True)
class ThresholdRule:
    """A parsed rule; ``str`` gives its word."""

    kind: Literal["auto", "f1", "recall", "precision", "cost"] = "auto"
    share: float = 1.0
    """Of ``recall`` and ``precision``: what is to be reached, above 0 to 1."""
    miss: float = 1.0
    """Of ``cost``: what a picture of the target that is not found costs."""
    alarm: float = 1.0
    """Of ``cost``: what another picture that is called the target costs."""

    def __post_init__(self) -> None:
        if not 0 < self.share <= 1:
            raise ValueError(f"{self.kind} must be above 0 and at most 1, got {self.share:g}")
        if not all(math.isfinite(cost) and cost > 0 for cost in (self.miss, self.alarm)):
            raise ValueError(f"costs must be above 0, got {self.miss:g} and {self.alarm:g}")

    def __str__(self) -> str:
        if self.kind in ("auto", "f1"):
            return self.kind
        if self.kind == "cost":
            return f"cost:{self.miss:g}:{self.alarm:g}"
        return f"{self.kind}>={self.share:g}"


def parse_rule(text: str) -> ThresholdRule:
    """Return the rule that a word stands for, whatever its case and spaces.

    Raises:
        ValueError: It is no such word; the message names all forms.
    """
    word = "".join(text.lower().split())
    try:
        if word in ("auto", "f1"):
            return ThresholdRule("auto" if word == "auto" else "f1")
        if word.startswith("recall>="):
            return ThresholdRule("recall", share=float(word.removeprefix("recall>=")))
        if word.startswith("precision>="):
            return ThresholdRule("precision", share=float(word.removeprefix("precision>=")))
        if word.startswith("cost:"):
            miss, alarm = word.removeprefix("cost:").split(":")
            return ThresholdRule("cost", miss=float(miss), alarm=float(alarm))
    except ValueError as error:
        raise ValueError(f"threshold_rule must be {_RULE_FORMS}, got {text!r}: {error}") from error
    raise ValueError(f"threshold_rule must be {_RULE_FORMS}, got {text!r}")
