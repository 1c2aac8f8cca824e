"""Results show themselves: short in a shell, as HTML that needs nothing else, as figures."""

import pickle
import re
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from matplotlib.figure import Figure
from numpy.typing import NDArray
from PIL import Image as PillowImage
from sklearn import config_context

from roi_cls import CropParams, FaceCrop, Prediction, RoiClassifier, crop_faces
from roi_cls.base.errors import CacheError, DataError
from roi_cls.classifier.evaluation.evaluation import evaluate_scores
from roi_cls.classifier.evaluation.pictures import Mistake, ScoredPictures
from roi_cls.classifier.inference.prediction import Looked
from roi_cls.classifier.runs.folder import RunFolder
from roi_cls.python.crops import FaceCropList
from roi_cls.python.display import MOST_ROWS
from roi_cls.python.results import Answer, AnswerList, Evaluated, WrongAnswers, run_html
from tests.helpers.pictures import noise

HOSTILE = "<script>a&'\""
ANSWERED = Prediction(
    f"photos/{HOSTILE}/img.png",
    "ok",
    label=HOSTILE,
    score=0.75,
    probabilities={HOSTILE: 0.75, "plain": 0.25},
    source="face",
    box=(1.0, 2.0, 30.0, 40.0),
    face_score=0.9,
    faces=1,
)
ERROR = Prediction("gone.png", "error", f"Cannot read {HOSTILE}")
SKIPPED = Prediction("black.png", "skipped", reason="no_face")
PIXELS = noise(24, 16, 16, 3, high=80)
IS_BRIGHT = np.arange(24) % 3 == 0
PIXELS[IS_BRIGHT] += 120
LABELS = np.where(IS_BRIGHT, HOSTILE, "plain")


class _Reader(HTMLParser):
    """Checks that every element is closed, and keeps what can be read and what is named."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.seen: set[str] = set()
        self.words: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.seen.add(tag)
        if tag != "img":
            self.open.append(tag)
        for name, value in attrs:
            assert not name.startswith("on"), (name, value)
            assert name != "src" or str(value).startswith("data:image/jpeg;base64,")

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.words.append(data)


def read(html: str) -> tuple[str, set[str]]:
    """Return the words of HTML, and the names of its elements; it is whole, and needs nothing."""
    assert type(html) is str
    reader = _Reader()
    reader.feed(html)
    reader.close()
    assert reader.open == []
    assert not reader.seen & {"script", "style", "link", "iframe"}
    assert "http" not in html
    return " ".join(reader.words), reader.seen


def answer_of(prediction: Prediction) -> Answer:
    return Answer.of(Looked(prediction, None), HOSTILE)


@pytest.fixture(scope="module")
def fitted(undrawn_curves: None) -> RoiClassifier:
    """Return a classifier of bright and plain pictures; used as it is."""
    return RoiClassifier(
        "test_efficientnet",
        weights="none",
        crop="full",
        size_px=16,
        epochs=2,
        batch_size=8,
        lr=3e-3,
        augmentation="none",
        imbalance="weights",
        device="cpu",
        settings={
            **{"precision": "fp32", "near_duplicates": False},
            **{"ema": 0, "label_smoothing": 0, "metric": "average_precision"},
        },
    ).fit(PIXELS, LABELS)


@pytest.fixture
def crops(white_faces: object, tmp_path: Path) -> FaceCropList:
    """Return the crops of two faces, of a picture without one, and of none."""
    two = noise(60, 80, 3, high=80)
    two[10:30, 30:50] = two[40:55, 5:20] = 255
    params = CropParams(size_px=16, face="all")
    return crop_faces([two, np.zeros((20, 30, 3), np.uint8), b"no picture"], params).collect()


@pytest.mark.parametrize(
    ("prediction", "line", "words"),
    [
        (
            ANSWERED,
            f"<photos/{HOSTILE}/img.png: {HOSTILE} 0.750 (face at 1,2-30,40, found with 0.90)>",
            [f"{HOSTILE} 0.750", "0.250 plain", "Looked at: face at 1,2-30,40, found with 0.90."],
        ),
        (ERROR, f"<gone.png: error: Cannot read {HOSTILE}>", ["error", ERROR.error]),
        (SKIPPED, "<black.png: skipped: no face was found>", ["skipped", "no face was found"]),
        (
            replace(ANSWERED, unsure=True, source="full_frame", box=None, reason="no_face"),
            f"<photos/{HOSTILE}/img.png: {HOSTILE} 0.750 (unsure) (full frame: no face was found)>",
            [f"{HOSTILE} 0.750 (unsure)", "Looked at: full frame: no face was found."],
        ),
    ],
)
def test_answer_shows_itself(prediction: Prediction, line: str, words: list[str]) -> None:
    answer = answer_of(prediction)
    assert repr(answer) == line
    shown, _ = read(answer._repr_html_())
    assert [word for word in words if word not in shown] == []


def test_answer_is_the_prediction_to_whatever_reads_it() -> None:
    answer = answer_of(ANSWERED)
    assert isinstance(answer, Prediction)
    assert answer.to_dict() == ANSWERED.to_dict()
    assert pickle.loads(pickle.dumps(answer)) == answer
    assert replace(answer, label="plain").thumbnail is None


def test_answer_shows_the_face_that_it_tells_of(fitted: RoiClassifier) -> None:
    answer = fitted.predict_one(PIXELS[0])
    assert (answer.target, answer.label) == (HOSTILE, HOSTILE)
    assert answer.thumbnail is not None
    assert answer.thumbnail.startswith(b"\xff\xd8")
    assert "img" in read(answer._repr_html_())[1]
    assert fitted.predict_one("gone.png").thumbnail is None


def test_only_the_most_probable_classes_are_shown() -> None:
    probabilities = {f"class {i}": (10 - i) / 55 for i in range(10)}
    many = replace(ANSWERED, label="class 0", score=10 / 55, probabilities=probabilities)
    shown, _ = read(answer_of(many)._repr_html_())
    assert "class 5" in shown
    assert "class 6" not in shown
    assert "and 4 less probable" in shown


def test_answers_are_a_table_and_a_sequence() -> None:
    answers = AnswerList(map(answer_of, [ANSWERED, ERROR, SKIPPED]))
    assert repr(answers) == f"<3 answers: 1 {HOSTILE}, 1 error, 1 skipped>"
    assert [row.status for row in answers] == ["ok", "error", "skipped"]
    assert isinstance(answers[1:], AnswerList)
    assert len(answers[1:]) == 2
    assert answers[-1].path == "black.png"
    shown, tags = read(answers._repr_html_())
    assert tags >= {"table", "th", "td"}
    assert f"…/{HOSTILE}/img.png" in shown
    assert f"Cannot read {HOSTILE}" in shown
    assert repr(AnswerList([])) == "<0 answers>"
    assert "table" not in read(AnswerList([])._repr_html_())[1]


def test_long_table_ends_with_how_many_are_left() -> None:
    answers = AnswerList([answer_of(ERROR)] * (MOST_ROWS + 5))
    shown, _ = read(answers._repr_html_())
    assert shown.count("gone.png") == MOST_ROWS
    assert "… and 5 more" in shown


def test_rows_come_as_they_are_asked_for_and_are_collected(fitted: RoiClassifier) -> None:
    rows = fitted.predict_rows(PIXELS[:4])
    assert repr(rows) == "<answers as they are asked for; collect() has them all>"
    first = next(rows)
    rest = rows.collect()
    assert [row.path for row in (first, *rest)] == ["X[0]", "X[1]", "X[2]", "X[3]"]
    assert list(rows) == []


def test_crops_show_themselves(crops: FaceCropList) -> None:
    found, black, broken = crops
    assert repr(found) == "<X[0]: face at 30,10-50,30, found with 0.85, 2 faces seen>"
    assert found._repr_html_().count("<img") == 2
    assert repr(black) == "<X[1]: full frame: no face was found>"
    assert repr(broken).startswith("<X[2]: Cannot read 'X[2]'")
    for crop in crops:
        read(crop._repr_html_())
    assert "img" not in read(broken._repr_html_())[1]
    assert repr(crops) == "<3 pictures>"
    assert crops._repr_html_().count("<img") == 3
    assert "face at 30,10-50,30" in read(crops._repr_html_())[0]
    plain = FaceCrop(HOSTILE, "skipped")
    assert repr(plain) == f"<{HOSTILE}: skipped>"
    assert HOSTILE in read(plain._repr_html_())[0]


@pytest.mark.parametrize("cached", [False, True])
@pytest.mark.usefixtures("white_faces")
def test_contact_sheet_is_one_call(tmp_path: Path, cached: bool) -> None:
    paths = []
    for i, size in enumerate((15, 20)):
        pixels = noise(60, 80, 3, high=80)
        pixels[10 : 10 + size, 30 : 30 + size] = 255
        paths.append(tmp_path / f"{i}.png")
        PillowImage.fromarray(pixels).save(paths[-1])
    cache = tmp_path / "crops" if cached else None
    sheet = crop_faces([*paths, "gone.png"], CropParams(size_px=32), cache=cache).contact_sheet()
    assert re.fullmatch(r"<a page of 1600 x \d+ px; save\(path\) keeps it>", repr(sheet))
    assert sheet._repr_jpeg_().startswith(b"\xff\xd8")
    assert (np.asarray(sheet.page)[:, 40:150] == 255).all(axis=2).mean() > 0.2
    sheet.save(tmp_path / "sheet.jpg")
    with PillowImage.open(tmp_path / "sheet.jpg") as saved:
        assert saved.size == sheet.page.size
    with pytest.raises(CacheError, match=r"^Cannot write the page .*\.gif'"):
        sheet.save(tmp_path / "sheet.gif")


def test_collected_crops_have_the_same_sheet(crops: FaceCropList) -> None:
    assert crops.contact_sheet(limit=2).page.width == 1600


def evaluated(
    labels: list[int], scores: list[float], names: tuple[str, ...] = (HOSTILE, "plain")
) -> Evaluated:
    """Return an evaluation of these class indices and probabilities of the first class."""
    share = np.array(scores)
    others = [(1 - share) / (len(names) - 1)] * (len(names) - 1)
    table: NDArray[np.float64] = np.stack([share, *others], axis=1)
    value = evaluate_scores(labels, table, names, names[0], 0.5, ["face"] * len(labels))
    crop = np.zeros((8, 8, 3), np.uint8)
    mistake = Mistake(HOSTILE, "plain", HOSTILE, 0.8, 0.8, "full_frame", True, "false_alarm", crop)
    pictures = ScoredPictures(np.array(labels), table, value)
    return Evaluated(value, pictures, WrongAnswers([mistake]))


def test_evaluation_shows_verdict_numbers_and_confusions() -> None:
    result = evaluated([0, 0, 1, 1, 1, 1], [0.9, 0.4, 0.8, 0.2, 0.1, 0.1])
    assert repr(result) == f"<{result.evaluation.verdict}>"
    assert result.to_dict() == result.evaluation.to_dict()
    shown, tags = read(result._repr_html_())
    assert "table" in tags
    for words in (
        result.evaluation.verdict,
        f"accuracy {result.evaluation.overall.accuracy} 0.67 for always 'plain'",
        f"ROC-AUC {result.evaluation.overall.roc_auc} 0.5 by chance",
        f"1 of 2 {HOSTILE!r} found",
        f"1 of 2 answers {HOSTILE!r} right",
        f"true \\ answered {HOSTILE} plain",
        f"{HOSTILE} 1 1",
        "1 of 6 answered wrongly: see .mistakes",
    ):
        assert words in shown
    assert len(result.plot().axes) == 3


def test_evaluation_of_one_class_has_no_ranking() -> None:
    result = evaluated([1, 1, 1], [0.1, 0.2, 0.9])
    assert "ROC-AUC undefined" in read(result._repr_html_())[0]
    assert len(result.plot().axes) == 1


def test_matrix_of_many_classes_is_left_out() -> None:
    names = (HOSTILE, *(f"class {i}" for i in range(12)))
    shown, _ = read(evaluated([0, 1, 2], [0.9, 0.1, 0.1], names)._repr_html_())
    assert "13 classes: see .evaluation for what is mixed up" in shown
    assert "answered class" not in shown


def test_mistakes_are_a_table() -> None:
    mistakes = evaluated([0, 1], [0.9, 0.1]).mistakes
    assert repr(mistakes) == "<1 wrong answer>"
    assert "array" not in repr(mistakes[0])
    shown, tags = read(mistakes._repr_html_())
    assert f"{HOSTILE} plain {HOSTILE} 0.800 (unsure) full frame" in shown
    assert "img" in tags


def test_classifier_evaluates_by_the_one_path(
    fitted: RoiClassifier, tmp_path: Path, undrawn_curves: None
) -> None:
    kept = RoiClassifier.load(fitted.save(tmp_path / "run"), device="cpu")
    others = PIXELS ^ 1
    result = kept.evaluate(others, LABELS)
    assert result.evaluation.overall.images == 24
    assert result.evaluation.test_openings == 1
    assert len(result.mistakes) == int((kept.predict(others) != LABELS).sum())
    assert RunFolder(kept.run_).evaluation.is_file()
    assert kept.evaluate(others, LABELS).evaluation.test_openings == 2
    with pytest.raises(DataError, match="24 of 24 pictures were used in training"):
        kept.evaluate(PIXELS, LABELS)
    with pytest.raises(ValueError, match="y has the label 'odd', which the classifier was not"):
        kept.evaluate(others, ["odd", *LABELS[1:]])
    with pytest.raises(ValueError, match="inconsistent numbers of samples"):
        kept.evaluate(others, LABELS[1:])
    facts, _ = read(run_html(kept.run_))
    assert "evaluated Accuracy" in facts


def test_exported_file_is_not_evaluated(fitted: RoiClassifier, tmp_path: Path) -> None:
    class Exported(RoiClassifier):
        run_ = tmp_path / "model.onnx"

    exported = Exported(device="cpu")
    exported.classes_ = fitted.classes_
    with pytest.raises(DataError, match="it is an exported file, which keeps no record"):
        exported.evaluate(PIXELS, LABELS)


@pytest.mark.parametrize("method", ["grad-cam", "occlusion"])
@pytest.mark.parametrize("form", ["array", "file"])
def test_explanation_shows_picture_crop_and_heat(
    fitted: RoiClassifier, tmp_path: Path, method: Any, form: str
) -> None:
    picture: Any = PIXELS[0]
    if form == "file":
        picture = tmp_path / "0.png"
        PillowImage.fromarray(PIXELS[0]).save(picture)
    found = fitted.explain(picture, method=method)
    assert (found.label, found.method, len(found.heats)) == (HOSTILE, method, 1)
    assert f"What speaks for {HOSTILE!r}" in repr(found)
    shown, _ = read(found._repr_html_())
    assert f"What speaks for {HOSTILE!r} (probability " in shown
    assert found._repr_html_().count("<img") == 4  # with that of the answer
    assert [axes.get_title() for axes in found.plot().axes] == [
        "in the picture",
        "the full frame",
        "the full frame, with heat",
    ]


def test_what_was_not_judged_is_not_explained(fitted: RoiClassifier) -> None:
    found = fitted.explain("gone.png", "plain")
    assert "error: Cannot read 'gone.png'" in repr(found)
    assert "What speaks" not in read(found._repr_html_())[0]
    with pytest.raises(DataError, match=r"^Cannot draw an explanation: Cannot read 'gone\.png'"):
        found.plot()
    with pytest.raises(DataError, match="Cannot explain the class 'odd'"):
        fitted.explain(PIXELS[0], "odd")


def test_training_is_drawn(fitted: RoiClassifier, tmp_path: Path) -> None:
    figure = fitted.plot()
    assert isinstance(figure, Figure)
    assert [axes.get_title() for axes in figure.axes] == [
        "Loss",
        "Target on validation",
        "Learning rate",
    ]
    saved = fitted.save(tmp_path / "run")
    RunFolder(saved).metrics.unlink()
    with pytest.raises(DataError, match=r"^Cannot draw the training of .*: it keeps no epochs\."):
        RoiClassifier.load(saved).plot()


def test_classifier_shows_its_parameters_and_its_run(fitted: RoiClassifier) -> None:
    facts, _ = read(run_html(fitted.run_))
    assert f"classes {HOSTILE}, plain; looks for {HOSTILE}" in facts
    assert "chosen on validation by auto" in facts
    assert re.search(r"validation AP [\d.]+, ROC-AUC [\d.]+ at epoch \d of 2", facts)
    for html in (fitted._repr_mimebundle_()["text/html"], fitted._repr_html_()):
        assert html.endswith(run_html(fitted.run_))
        assert "size_px" in html
    unfitted = RoiClassifier()
    assert "looks for" not in unfitted._repr_mimebundle_()["text/html"]
    with config_context(display="text"):
        assert list(fitted._repr_mimebundle_()) == ["text/plain"]


def test_run_that_cannot_be_read_is_told_and_not_raised(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text(HOSTILE)
    assert "it cannot be read" in read(run_html(tmp_path))[0]
    assert "model.onnx" in read(run_html(tmp_path / "model.onnx"))[0]


def test_figures_leave_pyplot_alone() -> None:
    code = (
        "import sys; from tests.roi_cls.python.test_results import evaluated;"
        "evaluated([0, 0, 1, 1], [0.9, 0.4, 0.8, 0.1]).plot();"
        "assert 'matplotlib.pyplot' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True, cwd=Path(__file__).parents[3])


def test_progress_is_shown_where_it_is_asked_for(
    fitted: RoiClassifier, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    told: list[tuple[str, int, int | None, str]] = []
    quiet = RoiClassifier(**fitted.get_params()).set_params(run=None)

    class Bar:
        def __init__(self, what: str, unit: str) -> None:
            self.what = what

        def advance(self, done: int, total: int | None, note: str) -> None:
            told.append((self.what, done, total, note))

        def close(self) -> None:
            told.append((f"end of {self.what}", 0, None, ""))

    monkeypatch.setattr("roi_cls.console.terminal._in_notebook", lambda: True)
    monkeypatch.setattr("roi_cls.console.terminal._NotebookBar", Bar)
    quiet.fit(PIXELS, LABELS).predict(PIXELS)
    assert told == []
    quiet.set_params(verbose=True).fit(PIXELS, LABELS)
    assert ("Cropping", 24, 24, "") in told
    of_training = [row for row in told if row[0] == "Training"]
    last = of_training[-1]
    assert last[1] == last[2]
    assert last[3].startswith("epoch 2/2: AP ")
    told.clear()
    quiet.predict_proba(PIXELS[:2])
    assert told == [
        ("Predicting", 1, 2, ""),
        ("Predicting", 2, 2, ""),
        ("end of Predicting", 0, None, ""),
    ]
    told.clear()
    full = CropParams(crop="full", size_px=16)
    rows: Iterator[FaceCrop] = crop_faces((one for one in PIXELS[:1]), full, verbose=True)
    assert [crop.status for crop in rows] == ["ok"]
    assert told == [("Cropping", 1, None, ""), ("end of Cropping", 0, None, "")]
