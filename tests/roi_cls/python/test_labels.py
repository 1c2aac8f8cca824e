"""Labels as scikit-learn gives them, and the classes that they name."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
import pytest

from roi_cls.classifier.inference.prediction import Prediction
from roi_cls.python.labels import (
    label_column,
    measure_accuracy,
    probability_columns,
    read_known,
    read_labels,
    value_of,
)

PADDED = np.array([" fake", " real"])


def test_class_is_called_as_its_label_without_the_blanks_around_it() -> None:
    names, classes = read_labels([" real", "very real", " real"])
    assert names == ["real", "very real", "real"]
    assert classes.tolist() == [" real", "very real"]  # what is answered: see below


def test_labels_that_differ_in_blanks_around_them_are_one_and_that_is_told() -> None:
    with pytest.warns(UserWarning, match="^'real' and 'real ' are one class: blanks around a"):
        names, classes = read_labels(["real", "real ", "fake", "real"])
    assert names == ["real", "real", "fake", "real"]
    assert classes.tolist() == ["fake", "real"]
    with (
        pytest.warns(UserWarning, match="are one class"),
        pytest.raises(ValueError, match="y has only one class, 'real'"),
    ):
        read_labels(["real", "real "])


@pytest.mark.parametrize("y", [[1, 0, 1], [True, False], ["a", "b", "b "[:1]], [1.0, 0.0]])
def test_labels_that_differ_in_more_are_not_spoken_of(y: list[Any]) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        names, classes = read_labels(y)
    assert names == [str(value) for value in y]
    assert len(classes) == 2


def test_label_of_blanks_is_refused() -> None:
    with pytest.raises(ValueError, match=r"Labels must be text, whole numbers or .* got '  ' in y"):
        read_labels(["a", "  "])


def test_answers_are_the_labels_as_they_were_given() -> None:
    shares = {"fake": 0.25, "real": 0.75}
    rows = [Prediction("x", "ok", label="real", probabilities=shares)]
    assert label_column(rows, PADDED).tolist() == [" real"]
    assert probability_columns(rows, PADDED).tolist() == [[0.25, 0.75]]
    assert value_of("fake", PADDED) == " fake"
    assert read_known(["real", " fake"], PADDED) == ["real", "fake"]


@pytest.mark.parametrize(
    "y", [[" real", " fake"], ["real", "fake "], np.array(["real", "fake"], object)], ids=repr
)
def test_accuracy_does_not_count_blanks_around_labels(y: Any) -> None:
    answers = np.array([" real", " real"])
    assert measure_accuracy(answers, y, None, PADDED.dtype) == 0.5
    assert measure_accuracy(answers, y, np.array([3, 1]), PADDED.dtype) == 0.75


def test_accuracy_of_numbers_is_that_of_numbers() -> None:
    answers = np.array([1, 0, 1])
    assert measure_accuracy(answers, [1.0, 0.0, 0.0], None, answers.dtype) == pytest.approx(2 / 3)
