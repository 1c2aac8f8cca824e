"""The whole of roi-cls as one scikit-learn classifier: pictures in, labels out."""

# ruff: noqa: N803  (X is scikit-learn's name, and its tools may pass it by that)
from __future__ import annotations

import operator
import tempfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.utils import Tags, check_consistent_length
from sklearn.utils.validation import check_is_fitted

from roi_cls.base.closing import Closing
from roi_cls.base.errors import DataError
from roi_cls.base.quiet import import_tqdm_quietly
from roi_cls.classifier.config import Augmentation, Device, Imbalance, Runtime, TrackerName
from roi_cls.classifier.explanation.explain import ExplainMethod, runtime_for
from roi_cls.classifier.inference.prediction import PredictOptions
from roi_cls.classifier.inference.predictor import Predictor
from roi_cls.classifier.inference.scorer import EXPORTED_SUFFIX
from roi_cls.classifier.runs.bundle import ModelBundle
from roi_cls.classifier.runs.folder import RunFolder, find_run
from roi_cls.console.arguments import RUNS
from roi_cls.python.display import AnyRow, Rows, show_progress
from roi_cls.python.labels import (
    Errors,
    class_values,
    collect_answers,
    label_column,
    measure_accuracy,
    probability_columns,
    read_known,
    read_labels,
    value_of,
)
from roi_cls.python.parameters import parameters_of, read_parameters
from roi_cls.python.pictures import (
    PictureLike,
    as_source,
    as_sources,
    list_pictures,
    optional_path,
    store_pictures,
)
from roi_cls.python.results import (
    Answer,
    AnswerList,
    Evaluated,
    ExplainedPicture,
    WrongAnswers,
    explain_source,
    plot_training,
    run_html,
)
from roi_cls.python.runs import PICTURES, FittedRun, KeptRun, TemporaryRun, check_place, copy_run
from roi_cls.roi.image_header import MAX_PIXELS
from roi_cls.roi.params import CropKind

if TYPE_CHECKING:
    from matplotlib.figure import Figure


class RoiClassifier(ClassifierMixin, BaseEstimator, Closing):  # type: ignore[misc]  # scikit-learn ships no types
    """Finds the face, cuts it out and classifies the cut, by scikit-learn's conventions.

    A picture is a path, the bytes of a file, or a (height, width, 3) RGB uint8 array, upright;
    several are a list of those, or an (N, height, width, 3) array. Labels are text, whole numbers
    or booleans. Training is that of ``roi-cls train``, and what it leaves is a run like any other.

    Where a parameter is None, the recipe decides, else the default of ``TrainConfig``,
    ``CropParams`` or ``SplitParams``, which also say what each is for.

    Args:
        model: Any model name of timm.
        weights: Starting weights: ``auto``, ``hub``, ``none``, a file or a folder.
        recipe: A whole system, by the name that ``roi-cls recipes`` lists or as a .toml file.
        crop: ``face``, or ``full`` for the whole picture.
        margin: Share of the face box added on every side.
        size_px: Side of the square crop, in pixels.
        epochs: At most.
        batch_size: Crops computed at once.
        lr: Peak learning rate.
        augmentation: ``none``, ``light`` or ``strong``.
        imbalance: ``weights``, ``sampling``, ``logit_adjustment`` or ``none``.
        validation_share: Of what ``fit`` is given: chooses epoch, scaling and threshold, and is
            not learned from.
        settings: Any other field of those classes by its name, or ``folds``, ``seeds``,
            ``abstain``: ``{"face": "central", "precision": "fp32"}``.
        target: The label that is looked for; None: the rarest. Of two classes ``predict`` answers
            it from the threshold on that validation chose, which need not be 0.5.
        run: Folder that keeps the run; ``fit`` goes on with one that was cut short, and refuses
            one of other data or settings. None: a temporary one, until ``save``.
        log: Experiment trackers that are told of the training: ``tensorboard``, ``mlflow``,
            ``wandb``, or several.
        cache: Folder of the crop cache, so that no picture is looked through twice; None: none.
        device: ``auto``, ``cpu``, ``cuda`` or ``mps``.
        runtime: What predicts: ``auto`` is ONNX Runtime on CPUs where the run has its file, else
            torch; or ``onnx``, ``torch``.
        export: Whether ``fit`` ends with that file, which takes some seconds; None: in a run that
            is kept (``run``), not in a temporary one.
        workers: Processes that decode and detect; 0: this one; None: one per core if worth it. A
            script that starts some needs ``if __name__ == "__main__":``.
        max_pixels: Larger pictures are refused.
        detector_model: The face detector's files, if not the known ones.
        errors: What becomes of a picture that cannot be judged, because it cannot be read, or has
            no face and ``fallback="skip"``: ``raise``; or ``nan``, a row of NaN and the label
            None, with a warning. It is never left out and never replaced.
        verbose: Show progress: in a terminal, or in a notebook below the cell.
        random_state: Seed of weights, order, augmentation and inner split.

    Attributes:
        classes_: (K,) labels, sorted; the columns of ``predict_proba``.
    """

    def __init__(
        self,
        model: str | None = None,
        *,
        weights: str | None = None,
        recipe: str | None = None,
        crop: CropKind | None = None,
        margin: float | None = None,
        size_px: int | None = None,
        epochs: int | None = None,
        batch_size: int | Literal["auto"] | None = None,
        lr: float | None = None,
        augmentation: Augmentation | None = None,
        imbalance: Imbalance | None = None,
        validation_share: float | None = None,
        settings: Mapping[str, Any] | None = None,
        target: str | int | float | bool | None = None,
        run: str | Path | None = None,
        log: TrackerName | Sequence[TrackerName] | None = None,
        cache: str | Path | None = None,
        device: Device = "auto",
        runtime: Runtime = "auto",
        export: bool | None = None,
        workers: int | None = 0,
        max_pixels: int = MAX_PIXELS,
        detector_model: str | Path | None = None,
        errors: Errors = "raise",
        verbose: bool = False,
        random_state: int | np.random.RandomState | None = 0,
    ) -> None:
        self.model = model
        self.weights = weights
        self.recipe = recipe
        self.crop = crop
        self.margin = margin
        self.size_px = size_px
        self.epochs = epochs
        self.batch_size = batch_size
        self.lr = lr
        self.augmentation = augmentation
        self.imbalance = imbalance
        self.validation_share = validation_share
        self.settings = settings
        self.target = target
        self.run = run
        self.log = log
        self.cache = cache
        self.device = device
        self.runtime = runtime
        self.export = export
        self.workers = workers
        self.max_pixels = max_pixels
        self.detector_model = detector_model
        self.errors = errors
        self.verbose = verbose
        self.random_state = random_state

    @classmethod
    def load(
        cls,
        model: str | Path,
        *,
        device: Device = "auto",
        runtime: Runtime = "auto",
        workers: int | None = 0,
        errors: Errors = "raise",
    ) -> Self:
        """Return a fitted classifier from a run's folder or name, or an exported ``.onnx`` file.

        Its parameters are those it was trained with, unless it joins several models. An exported
        file is used without torch.

        Args:
            model: A name is looked up in ``artifacts/runs``.
            device: Where to compute.
            runtime: As above.
            workers: As above.
            errors: As above.

        Raises:
            BundleError: There is no such run, it is not finished, or it was tampered with.
        """
        path = Path(model)
        if path.suffix.lower() != EXPORTED_SUFFIX:
            path = find_run(str(model), RUNS).path
        loaded = cls(device=device, runtime=runtime, workers=workers, errors=errors)
        loaded._take(KeptRun(path.absolute()))
        loaded.classes_ = class_values(loaded.bundle)
        target = value_of(loaded.bundle.labels.target, loaded.classes_)
        loaded.set_params(**parameters_of(loaded.bundle), target=target)
        return loaded

    def fit(
        self, X: Iterable[PictureLike], y: ArrayLike, groups: Sequence[object] | None = None
    ) -> Self:
        """Train on N pictures and their labels.

        Args:
            X: The pictures.
            y: (N,) labels.
            groups: (N,) what pictures of one person or video share: they stay on one side of the
                inner split.

        Raises:
            ValueError: X, y or a parameter is not of its form.
            RoiClsError: It cannot be trained, in words for its user.
        """
        import_tqdm_quietly()
        from roi_cls.python.fit import fit_run, label_files  # torch comes with it

        pictures, job = list_pictures(X), read_parameters(self.get_params(deep=False))
        names, classes = read_labels(y)
        check_consistent_length(pictures, names, groups)
        home = TemporaryRun() if self.run is None else KeptRun(Path(self.run).absolute())
        check_place(home.path)
        files = store_pictures(pictures, home.path / PICTURES)
        samples = label_files(files, names, groups)
        fit_run(job, samples, classes.tolist(), RunFolder(home.path))
        self._take(home)
        self.classes_ = classes
        return self

    def predict_rows(self, X: Iterable[PictureLike]) -> Rows[Answer]:
        """Return the whole answer for each picture as it comes, in order, in constant memory.

        X may be a generator. What cannot be judged is a row that says so in ``status`` and
        ``error``, whatever ``errors`` is. ``.collect()`` is a list, which a notebook shows.
        """
        predictor = self._predictor()
        target, shown = predictor.bundle.labels.target, predictor.shown
        looked = self._told(predictor.look(as_sources(X)), X)
        return Rows((Answer.of(one, target, shown) for one in looked), AnswerList)

    def predict_one(self, picture: PictureLike) -> Answer:
        """Return the whole answer for one picture; one in error says so in ``status``."""
        predictor = self._predictor()
        (looked,) = predictor.judge([as_source(picture, "picture")])
        return Answer.of(looked, predictor.bundle.labels.target, predictor.shown)

    def explain(
        self, picture: PictureLike, label: object = None, method: ExplainMethod = "grad-cam"
    ) -> ExplainedPicture:
        """Return where on a picture something speaks for a class, as ``roi-cls explain`` does.

        Args:
            picture: It.
            label: The class; None: the one looked for where there are two, else the answer.
            method: ``grad-cam`` or ``occlusion``; models without gradients take the latter.

        Raises:
            DataError: The model knows no such class.
        """
        name = None if label is None else str(label)
        runtime = runtime_for([self.run_], method, self.runtime)
        return explain_source(self._predictor(runtime), as_source(picture, "picture"), name, method)

    def evaluate(self, X: Iterable[PictureLike], y: ArrayLike) -> Evaluated:
        """Score labelled pictures that were not learned from, as ``roi-cls evaluate`` does.

        The run keeps the numbers, the mistakes and the figures, and counts how often these
        pictures were scored. A picture that cannot be read is counted, and in no metric.

        Raises:
            ValueError: X or y is not of its form, or y has labels that the model does not know.
            DataError: A picture was learned from, or the model is an exported file.
        """
        pictures, names = list_pictures(X), read_known(y, self.classes_)
        check_consistent_length(pictures, names)
        if not self.run_.is_dir():
            raise DataError(
                f"Cannot evaluate {str(self.run_)!r}: it is an exported file, which keeps no "
                "record of its tests. Load the run that it was exported from."
            )
        import_tqdm_quietly()
        from roi_cls.python.fit import evaluate_files

        with tempfile.TemporaryDirectory(prefix="roi-cls-") as folder:
            files = store_pictures(pictures, Path(folder))
            run, given = RunFolder(self.run_), self.get_params(deep=False)
            outcome = evaluate_files(files, names, run, given)
        return Evaluated(outcome.evaluation, outcome.pictures, WrongAnswers(outcome.mistakes))

    def plot(self) -> Figure:
        """Return the curves of the training: losses, scores on validation, learning rate.

        Raises:
            DataError: There are none: of an exported file, of several models in one, and of a
                model that learns in one go.
        """
        return plot_training(RunFolder(self.run_))

    def predict(self, X: Iterable[PictureLike]) -> NDArray[Any]:
        """Return the (N,) labels of N pictures, by the threshold that validation chose.

        Raises:
            DataError: A picture cannot be judged and ``errors`` is ``raise``.
        """
        return label_column(collect_answers(self.predict_rows(X), self.errors), self.classes_)

    def predict_proba(self, X: Iterable[PictureLike]) -> NDArray[np.float64]:
        """Return (N, K) probabilities, calibrated on validation; columns are ``classes_``.

        Raises:
            DataError: A picture cannot be judged and ``errors`` is ``raise``.
        """
        rows = collect_answers(self.predict_rows(X), self.errors)
        return probability_columns(rows, self.classes_)

    def score(
        self, X: Iterable[PictureLike], y: ArrayLike, sample_weight: ArrayLike | None = None
    ) -> float:
        """Return the accuracy: the share of the (N,) labels ``y`` that are answered.

        Where a class is rare, a constant answer is accurate, too: see ``scoring="roc_auc"``. A
        picture without an answer (``errors="nan"``) counts as answered wrongly.
        """
        return measure_accuracy(self.predict(X), y, sample_weight, self.classes_.dtype)

    def save(self, folder: str | Path) -> Path:
        """Copy the run to a new folder; return what ``load`` and every command then take.

        Raises:
            StorageError: It is there already, or cannot be written.
        """
        return copy_run(self.run_, Path(folder))

    @property
    def bundle(self) -> ModelBundle:
        """The model's facts: classes, target, threshold, crop recipe, settings, versions."""
        return self._predictor().bundle

    @property
    def run_(self) -> Path:
        """Folder of the run, or the exported file; a temporary one goes with the classifier."""
        check_is_fitted(self)
        return self._fitted.path

    def close(self) -> None:
        """Free model and detectors; the next prediction opens them again."""
        if "_fitted" in vars(self):
            self._fitted.close()

    def __sklearn_tags__(self) -> Tags:
        tags = super().__sklearn_tags__()
        tags.input_tags.one_d_array = tags.input_tags.string = True
        tags.input_tags.two_d_array = False
        return tags

    def __sklearn_is_fitted__(self) -> bool:
        return "_fitted" in vars(self)

    def _repr_html_inner(self) -> str:
        return str(super()._repr_html_inner()) + self._facts_html()

    def _repr_mimebundle_(self, **kwargs: Any) -> dict[str, str]:
        bundle: dict[str, str] = super()._repr_mimebundle_(**kwargs)
        if "text/html" in bundle:  # scikit-learn can be told to show text alone
            bundle["text/html"] += self._facts_html()
        return bundle

    def _facts_html(self) -> str:
        return run_html(self._fitted.path) if "_fitted" in vars(self) else ""

    def _told(self, rows: Iterator[AnyRow], X: Iterable[PictureLike]) -> Iterator[AnyRow]:
        """Return the rows; where it is asked for, they show how far they are."""
        if not self.verbose:
            return rows
        return show_progress(rows, "Predicting", operator.length_hint(X) or None)

    def _take(self, home: KeptRun | TemporaryRun) -> None:
        """Be the classifier of this run, and of no other any more."""
        self.close()
        self._fitted = FittedRun(home)

    def _predictor(self, runtime: Runtime | None = None) -> Predictor:
        check_is_fitted(self)
        options = PredictOptions(
            workers=self.workers,
            max_pixels=self.max_pixels,
            detector_model=optional_path(self.detector_model),
        )
        return self._fitted.predictor(self.device, runtime or self.runtime, options)
