"""The drawn demo set: labelled pictures of drawn people, to run everything without any data."""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path

import cv2
import numpy as np

from roi_cls.base.errors import DataError
from roi_cls.base.machine import available_cores
from roi_cls.base.pool import WorkerPool, in_worker
from roi_cls.data.demo.defect import DEFECT_KINDS, DefectKind
from roi_cls.data.demo.picture import count_faces, draw_picture
from roi_cls.data.sample import SplitName
from roi_cls.data.walk import DEMO_RECORD, PICTURE_SUFFIXES

DEMO_VERSION = 1
"""Raised whenever the code draws other pictures from the same parameters."""
FEWEST_IMAGES = 20
"""Below this a part would hold hardly a picture of the rare class."""
_TEST_SHARE = 0.32  # of 600: 192 pictures, 19 of them artefacts
_ARTEFACT_SHARE = 0.1  # as in the origin: 9 clean to 1 artefact
_FEWEST_ARTEFACTS = 2  # in each part
_UNFINISHED = "demo.unfinished.json"
# The same for every picture: how a file was written must not tell its label. Run lengths alone
# make smaller files of noisy pictures than a search for repetitions, in the same time.
_PNG = (cv2.IMWRITE_PNG_COMPRESSION, 1, cv2.IMWRITE_PNG_STRATEGY, cv2.IMWRITE_PNG_STRATEGY_RLE)
_FEW = 48  # fewer pictures than this are drawn sooner than worker processes start


@dataclass(frozen=True, slots=True)
class DemoParams:
    """What decides every pixel of a demo set."""

    images: int = 600
    """Pictures in ``train`` and ``test`` together."""
    seed: int = 0
    """Another seed draws other people; 0 or more."""

    def __post_init__(self) -> None:
        if self.images < 1:
            raise ValueError(f"images must be at least 1, got {self.images}")
        if self.images > 100_000:
            raise ValueError(f"images must be at most 100000 (five digits), got {self.images}")
        if self.seed < 0:
            raise ValueError(f"seed must not be negative, got {self.seed}")


@dataclass(frozen=True, slots=True)
class DemoPicture:
    """One planned picture."""

    index: int
    """Number in the file's name; says nothing about part or label."""
    part: SplitName
    """``train`` or ``test``: the folder."""
    kind: DefectKind | None
    """Defect of the largest face; None: a clean picture."""

    @property
    def name(self) -> str:
        """File relative to the set's folder, with the label last: 0 artefact, 1 artefactless."""
        return f"{self.part}/image_{self.index:05d}_{int(self.kind is None)}.png"


@dataclass(frozen=True, slots=True)
class DemoSummary:
    """What a demo set holds."""

    folder: Path
    images: int
    artefacts_train: int
    clean_train: int
    artefacts_test: int
    clean_test: int
    drawn: int
    """Pictures drawn in this call; the others were there."""


def plan_demo(params: DemoParams) -> tuple[DemoPicture, ...]:
    """Return the pictures of the set by index: which part, and which defect if any.

    Both parts hold one artefact in ten, rounded, and at least two; the kinds of defects take turns.

    Raises:
        DataError: Too few pictures for two parts with both classes.
    """
    if params.images < FEWEST_IMAGES:
        raise DataError(
            f"Cannot draw a demo set of {params.images} pictures: train and test both need "
            f"pictures of both classes. Ask for {FEWEST_IMAGES} or more."
        )
    rng = np.random.default_rng(np.random.SeedSequence(params.seed))
    order = rng.permutation(params.images).tolist()
    size = round(_TEST_SHARE * params.images)
    parts: tuple[tuple[SplitName, list[int]], ...] = (
        ("test", order[:size]),
        ("train", order[size:]),
    )
    pictures = []
    for part, indices in parts:
        kinds = _choose_kinds(params.seed, indices)
        pictures += [DemoPicture(index, part, kinds.get(index)) for index in indices]
    return tuple(sorted(pictures, key=lambda picture: picture.index))


def draw_demo(
    folder: Path,
    params: DemoParams,
    *,
    workers: int | None = None,
    progress: Callable[[int], None] | None = None,
) -> DemoSummary:
    """Draw the pictures of the set that ``folder`` lacks, and return what it then holds.

    Equal parameters give equal files, whatever the number of workers and of interruptions.

    Args:
        folder: Made if it is not there.
        params: What to draw.
        workers: Processes; None: one for each processor this process may use.
        progress: Called with the number of pictures that were finished since the last call.

    Raises:
        ValueError: ``workers`` is below 1.
        DataError: Too few pictures asked for; the folder holds something else or cannot be
            written; a worker process died.
    """
    if workers is not None and workers < 1:
        raise ValueError(f"workers must be at least 1, got {workers}")
    plan = plan_demo(params)
    _check_folder(folder, params, {picture.name for picture in plan})
    try:
        missing = [picture for picture in plan if not _is_drawn(folder / picture.name)]
        _begin(folder, params)
        _draw_all(folder, params.seed, missing, workers or available_cores(), progress)
        if not (folder / DEMO_RECORD).exists():
            os.replace(folder / _UNFINISHED, folder / DEMO_RECORD)
    except OSError as error:
        reason = error.strerror or str(error)
        raise DataError(
            f"Cannot write the demo set to {str(folder)!r}: {reason}. "
            "Free some space or choose another folder; what is drawn is kept."
        ) from error
    return _summarise(folder, plan, len(missing))


def _summarise(folder: Path, plan: Sequence[DemoPicture], drawn: int) -> DemoSummary:
    def count(part: SplitName, clean: bool) -> int:
        return sum(p.part == part and (p.kind is None) == clean for p in plan)

    return DemoSummary(
        folder=folder,
        images=len(plan),
        artefacts_train=count("train", False),
        clean_train=count("train", True),
        artefacts_test=count("test", False),
        clean_test=count("test", True),
        drawn=drawn,
    )


def _choose_kinds(seed: int, indices: Sequence[int]) -> dict[int, DefectKind]:
    """Return the defects of the artefacts among ``indices``, which are in random order."""
    count = max(_FEWEST_ARTEFACTS, round(_ARTEFACT_SHARE * len(indices)))
    with_face = (index for index in indices if count_faces(seed, index) > 0)
    chosen = [index for index, _ in zip(with_face, range(count), strict=False)]
    return {index: DEFECT_KINDS[i % len(DEFECT_KINDS)] for i, index in enumerate(chosen)}


def _is_drawn(path: Path) -> bool:
    # Pictures are not fsynced (they can be drawn again): after a power cut one may be empty.
    return path.is_file() and path.stat().st_size > 0


def _check_folder(folder: Path, params: DemoParams, names: set[str]) -> None:
    """Raise unless the folder is absent, free of pictures, or this very demo, done or begun."""
    problem = _find_problem(folder, params, names)
    if problem:
        raise DataError(
            f"Cannot draw the demo set in {str(folder)!r}: {problem}. "
            "Choose another folder or delete this one."
        )


def _find_problem(folder: Path, params: DemoParams, names: set[str]) -> str | None:
    if folder.exists() and not folder.is_dir():
        return "it is a file"
    record = next((p for n in (DEMO_RECORD, _UNFINISHED) if (p := folder / n).exists()), None)
    if record is not None:
        try:
            found = json.loads(record.read_text(encoding="utf-8"))
        except (OSError, ValueError):
            return f"its {record.name} cannot be read"
        if found != _to_record(params):
            return f"it holds another demo set ({_describe(found)})"
    known = names if record is not None else set()
    for name in _list_pictures(folder):
        if name not in known:
            return f"it holds pictures of another origin, such as {name!r}"
    return None


def _to_record(params: DemoParams) -> dict[str, int]:
    return {"version": DEMO_VERSION, **asdict(params)}


def _describe(record: object) -> str:
    if not isinstance(record, dict):
        return "of an unknown form"
    return ", ".join(f"{name} {record.get(name)}" for name in ("version", "images", "seed"))


def _list_pictures(folder: Path) -> Iterator[str]:
    for part in (folder, folder / "train", folder / "test"):
        for path in sorted(part.iterdir()) if part.is_dir() else ():
            if path.suffix.lower() in PICTURE_SUFFIXES:
                yield path.relative_to(folder).as_posix()


def _begin(folder: Path, params: DemoParams) -> None:
    """Make the folders, and note whose pictures they will hold before the first one is there."""
    for part in ("train", "test"):
        (folder / part).mkdir(parents=True, exist_ok=True)
    if not (folder / DEMO_RECORD).exists():
        _write(folder / _UNFINISHED, (json.dumps(_to_record(params)) + "\n").encode())


def _write(path: Path, data: bytes) -> None:
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        temporary.write_bytes(data)
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


def _draw_all(
    folder: Path,
    seed: int,
    pictures: Sequence[DemoPicture],
    workers: int,
    progress: Callable[[int], None] | None,
) -> None:
    report = progress or (lambda count: None)
    make_state = partial(_drawing, folder, seed)
    if workers == 1 or len(pictures) < _FEW:
        with make_state() as draw:
            for picture in pictures:
                report(draw(picture))
        return

    def died(picture: DemoPicture, exit_code: int | None) -> int:
        raise DataError(
            f"Cannot draw the demo set in {str(folder)!r}: a worker process died, perhaps for "
            "lack of memory. Run it again with one worker; what is drawn is kept."
        )

    in_workers = partial(in_worker, make_state)
    with WorkerPool[DemoPicture, int](min(workers, len(pictures)), in_workers, died) as pool:
        for count in pool.map(pictures):
            report(count)


@contextlib.contextmanager
def _drawing(folder: Path, seed: int) -> Iterator[Callable[[DemoPicture], int]]:
    """Give the function that draws and writes a picture, and returns that it was one."""

    def draw(picture: DemoPicture) -> int:
        image = draw_picture(seed, picture.index, picture.kind)
        data = cv2.imencode(".png", cv2.cvtColor(image, cv2.COLOR_RGB2BGR), _PNG)[1]
        _write(folder / picture.name, data.tobytes())
        return 1

    yield draw
