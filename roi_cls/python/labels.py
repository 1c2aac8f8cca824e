"""Labels as scikit-learn has them: given ones as a run's classes, a run's answers as arrays.

A class is called as its label is, but for blanks around it, as in a CSV; the answer is the label as
it was given. And what becomes of an answer that is none. Imports no torch.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterable
from typing import Any, Literal, get_args

import numpy as np
from numpy.typing import ArrayLike, NDArray
from sklearn.metrics import accuracy_score
from sklearn.utils import check_consistent_length, column_or_1d
from sklearn.utils.multiclass import check_classification_targets

from roi_cls.base.errors import DataError
from roi_cls.classifier.inference.prediction import Prediction
from roi_cls.classifier.runs.bundle import ModelBundle
from roi_cls.data.sample import label_name, tell_same_labels

Errors = Literal["raise", "nan"]
"""What becomes of a picture that cannot be judged: see ``RoiClassifier``."""
_KINDS = (str, bool, int, float)
_ENDLESS = (float("inf"), float("-inf"))


def read_labels(y: ArrayLike) -> tuple[list[str], NDArray[Any]]:
    """Return the class name of each label, and the (K,) distinct labels, sorted.

    Of labels that differ in blanks around them, which are one class, the first in order counts.

    Raises:
        ValueError: They are not (N,) text, booleans or whole numbers of two classes or more.
    """
    labels = column_or_1d(y, warn=True)
    if any(value is None or value != value or value in _ENDLESS for value in labels.tolist()):
        raise ValueError("Input y contains NaN, infinity or None: every picture needs a label.")
    check_classification_targets(labels)
    classes = np.unique(labels)
    odd = [v for v in classes.tolist() if not isinstance(v, _KINDS) or not label_name(v)]
    if odd:
        raise ValueError(f"Labels must be text, whole numbers or booleans, got {odd[0]!r} in y.")
    for text in tell_same_labels(map(str, classes.tolist())):
        warnings.warn(text.removeprefix("warning: "), stacklevel=3)  # at the line that fits
    _, firsts = np.unique([label_name(value) for value in classes.tolist()], return_index=True)
    classes = classes[np.sort(firsts)]
    if len(classes) < 2:
        raise ValueError(
            f"y has only one class, {classes.tolist()[0]!r}: a classifier needs two at least."
        )
    return [label_name(value) for value in labels.tolist()], classes


def read_known(y: ArrayLike, classes: NDArray[Any]) -> list[str]:
    """Return the class name of each label, which are a fitted classifier's.

    Raises:
        ValueError: They are no (N,) labels, or one is not among its (K,) classes.
    """
    names = [label_name(value) for value in column_or_1d(y, warn=True).tolist()]
    known = [label_name(value) for value in classes.tolist()]
    strange = sorted(set(names) - set(known))
    if strange:
        raise ValueError(
            f"y has the label {strange[0]!r}, which the classifier was not fitted on: "
            f"it knows {', '.join(known)}."
        )
    return names


def class_values(bundle: ModelBundle) -> NDArray[Any]:
    """Return the (K,) labels of a run, sorted, in the types that it was fitted with.

    A run that was trained from files has the names of its classes.
    """
    names = bundle.labels.names
    values = bundle.training.get("classes")
    is_ours = isinstance(values, list) and sorted(map(label_name, values)) == sorted(names)
    return np.array(values) if is_ours else np.unique(names)


def value_of(name: str, classes: NDArray[Any]) -> Any:
    """Return the label whose class is called ``name``."""
    return dict(zip(map(label_name, classes.tolist()), classes.tolist(), strict=True))[name]


def collect_answers(predictions: Iterable[Prediction], errors: Errors) -> list[Prediction]:
    """Return the predictions; where one has no answer, raise or warn.

    Raises:
        DataError: One has no answer, and ``errors`` is ``raise``.
        ValueError: ``errors`` is none of its choices.
    """
    check_errors(errors)
    rows = list(predictions)
    failed = [(i, row) for i, row in enumerate(rows) if row.probabilities is None]
    if failed:
        i, row = failed[0]
        why = row.error or f"{row.path!r} shows no face, and the run's recipe skips it."
        text = f"{len(failed)} of {len(rows)} pictures cannot be judged, first X[{i}]: {why}"
        if errors == "raise":
            raise DataError(f"{text} Leave them out, or give errors='nan' for rows of NaN.")
        warnings.warn(text, stacklevel=3)  # at the line that asked the classifier
    return rows


def check_errors(errors: Errors) -> None:
    """Raise ``ValueError`` unless it is a choice."""
    if errors not in get_args(Errors):
        raise ValueError(f"errors must be one of {get_args(Errors)}, got {errors!r}")


def label_column(rows: list[Prediction], classes: NDArray[Any]) -> NDArray[Any]:
    """Return the (N,) labels answered; where one is missing they are objects, and it is None."""
    places = {label_name(value): i for i, value in enumerate(classes.tolist())}
    found = [None if row.label is None else places[row.label] for row in rows]
    if None not in found:
        return np.asarray(classes[np.array(found, np.intp)])
    return np.array([None if i is None else classes[i] for i in found], dtype=object)


def probability_columns(rows: list[Prediction], classes: NDArray[Any]) -> NDArray[np.float64]:
    """Return (N, K) probabilities, a column for each of ``classes``; NaN where there are none."""
    names = [label_name(value) for value in classes.tolist()]
    missing = dict.fromkeys(names, float("nan"))
    table = [[(row.probabilities or missing)[name] for name in names] for row in rows]
    return np.array(table, np.float64).reshape(len(rows), len(names))


def measure_accuracy(
    answers: NDArray[Any], y: ArrayLike, sample_weight: ArrayLike | None, dtype: np.dtype[Any]
) -> float:
    """Return the share of labels that are answered; an answer of None is a wrong one.

    Args:
        answers: (N,) labels, or None.
        y: (N,) true labels.
        sample_weight: (N,) how much each counts; None: alike.
        dtype: Of the labels.
    """
    labels = _bare(np.asarray(y))
    weights = np.ones(len(answers)) if sample_weight is None else np.asarray(sample_weight)
    check_consistent_length(answers, labels, weights)
    told = np.array([answer is not None for answer in answers], bool)
    if not told.any():
        return 0.0
    right = accuracy_score(
        labels[told],
        _bare(answers[told].astype(dtype)),
        sample_weight=weights[told],
        normalize=False,
    )
    return float(right / weights.sum())


def _bare(labels: NDArray[Any]) -> NDArray[Any]:
    """Return labels without blanks around those that are text."""
    if labels.dtype.kind not in "OUT":
        return labels
    bare = [label_name(value) if isinstance(value, str) else value for value in labels.tolist()]
    return np.array(bare, labels.dtype)
