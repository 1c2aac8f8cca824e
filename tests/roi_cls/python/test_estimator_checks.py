"""scikit-learn's own checks of an estimator, every row of numbers being drawn as a picture."""

from collections.abc import Callable, Iterable
from typing import Any, Self

import numpy as np
import pytest
from numpy.typing import ArrayLike, NDArray
from sklearn.preprocessing import StandardScaler
from sklearn.utils import Tags
from sklearn.utils.estimator_checks import parametrize_with_checks
from sklearn.utils.validation import check_is_fitted, validate_data

from roi_cls import RoiClassifier
from roi_cls.python.display import Rows
from roi_cls.python.results import Answer

BAR_PX = 8


class RowClassifier(RoiClassifier):
    """Takes the tables of the checks: each number becomes a bar as bright as it is large."""

    def fit(self, X: Any, y: ArrayLike, groups: Any = None) -> Self:  # noqa: N803  (as its base)
        """Fit the scale of the brightness, then the classifier."""
        rows = validate_data(self, X, dtype=np.float64)
        self.scaler_ = StandardScaler().fit(rows)
        return super().fit(self._draw(rows), y, groups)

    def predict_rows(self, X: Iterable[Any]) -> Rows[Answer]:  # noqa: N803  (as its base)
        """Draw, then predict."""
        check_is_fitted(self)
        return super().predict_rows(self._draw(validate_data(self, X, dtype=float, reset=False)))

    def _draw(self, rows: NDArray[np.float64]) -> NDArray[np.uint8]:
        """Return (N, 8, 8 * columns, 3) pictures of (N, columns) numbers."""
        grey = 255 / (1 + np.exp(-2 * self.scaler_.transform(rows)))
        bars = np.repeat(grey.astype(np.uint8)[:, None, :, None], BAR_PX, axis=1)
        return bars.repeat(BAR_PX, axis=2).repeat(3, axis=3)

    def __sklearn_tags__(self) -> Tags:
        tags = super().__sklearn_tags__()
        tags.input_tags.two_d_array = True
        tags.input_tags.one_d_array = tags.input_tags.string = False
        return tags


SMALL = RowClassifier(
    "test_efficientnet",
    weights="none",
    crop="full",
    size_px=16,
    epochs=3,
    batch_size=16,
    lr=3e-3,
    augmentation="none",
    device="cpu",
    # Bars of random numbers do look alike.
    settings={"precision": "fp32", "near_duplicates": False, "full_frame": "squash"},
)
FAILING = {
    "check_classifiers_train": "The answer goes by the threshold that validation chose, not by "
    "0.5. With scikit-learn's TunedThresholdClassifierCV it is the same."
}


@pytest.mark.slow
@pytest.mark.usefixtures("undrawn_curves")
@parametrize_with_checks([SMALL], expected_failed_checks=lambda estimator: FAILING)  # type: ignore[untyped-decorator]  # scikit-learn ships no types
def test_estimator_passes_the_check(estimator: RoiClassifier, check: Callable[..., None]) -> None:
    check(estimator)
