"""Labels in the types that Python code has them in, and their names as a run's classes."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from sklearn.utils import column_or_1d
from sklearn.utils.multiclass import check_classification_targets

from roi_cls.classifier.runs.bundle import ModelBundle

_KINDS = (str, bool, int, float)
_ENDLESS = (float("inf"), float("-inf"))


def read_labels(y: ArrayLike) -> tuple[list[str], NDArray[Any]]:
    """Return the class name of each label, and the (K,) distinct labels, sorted.

    Raises:
        ValueError: They are not (N,) text, booleans or whole numbers of two classes or more.
    """
    labels = column_or_1d(y, warn=True)
    if any(value is None or value != value or value in _ENDLESS for value in labels.tolist()):
        raise ValueError("Input y contains NaN, infinity or None: every picture needs a label.")
    check_classification_targets(labels)
    classes = np.unique(labels)
    odd = [value for value in classes.tolist() if not isinstance(value, _KINDS) or value == ""]
    if odd:
        raise ValueError(f"Labels must be text, whole numbers or booleans, got {odd[0]!r} in y.")
    if len(classes) < 2:
        raise ValueError(
            f"y has only one class, {classes.tolist()[0]!r}: a classifier needs two at least."
        )
    return [str(value) for value in labels.tolist()], classes


def class_values(bundle: ModelBundle) -> NDArray[Any]:
    """Return the (K,) labels of a run, sorted, in the types that it was fitted with.

    A run that was trained from files has the names of its classes.
    """
    names = bundle.labels.names
    values = bundle.training.get("classes")
    is_ours = isinstance(values, list) and sorted(map(str, values)) == sorted(names)
    return np.array(values) if is_ours else np.unique(names)


def value_of(name: str, classes: NDArray[Any]) -> Any:
    """Return the label whose class is called ``name``."""
    return dict(zip(map(str, classes.tolist()), classes.tolist(), strict=True))[name]
