"""Ray does what the local engine does: the same rows and crops, whatever dies meanwhile."""

import contextlib
import logging
import os
import pickle
import signal
import socket
import sys
import threading
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import pyarrow as pa
import pytest
import ray

from roi_cls.base.errors import StorageError
from roi_cls.cache import ray_engine
from roi_cls.cache.build import LocalEngine, died
from roi_cls.cache.builder import open_work
from roi_cls.cache.options import BuildOptions
from roi_cls.cache.ray_engine import ClusterError, RayEngine, make_batches, open_ray
from roi_cls.cache.record import CropRecord, CropResult
from roi_cls.roi import CropParams
from tests.helpers.archives import make_tar, make_zip
from tests.helpers.fakes import FakeDetector, see_or_die
from tests.helpers.pictures import save_plain

pytestmark = [
    pytest.mark.slow,
    # Ray Data sets settings of its own that it has deprecated.
    pytest.mark.filterwarnings(r"ignore:`use_\w+` is deprecated:DeprecationWarning:ray"),
]

PARAMS = CropParams(size_px=16, min_face_px=4)
open_detector = partial(FakeDetector, see_or_die)
Work = Callable[[Path], CropResult]


@contextlib.contextmanager
def give(work: Work) -> Iterator[Work]:
    yield work


def tell_parent(path: Path) -> CropResult:
    """Return a row with the process that Ray started for this one."""
    time.sleep(0.005)
    return CropResult(CropRecord(path, "ok", sha256=str(os.getppid())))


def fail_of_some(path: Path) -> CropResult:
    if path.name == "37":
        raise StorageError(path, "the disk is full")
    return tell_parent(path)


def divide_by_zero(path: Path) -> CropResult:
    raise ZeroDivisionError


@pytest.fixture(scope="module")
def cluster(
    tmp_path_factory: pytest.TempPathFactory, pytestconfig: pytest.Config
) -> Iterator[Path]:
    """A cluster of two workers on this machine, and a folder for its marker."""
    folder = tmp_path_factory.mktemp("ray")
    with pytest.MonkeyPatch.context() as patch:
        # Workers import this file by its name.
        patch.setenv("PYTHONPATH", str(pytestconfig.rootpath))
        with open_ray(partial(give, tell_parent), partial(died, "x"), folder, workers=2) as engine:
            assert engine.block == 2 * ray_engine.PER_WORKER
            yield folder
    assert not ray.is_initialized()  # it was started here, so it is ended here
    assert tree(folder) == {}


@pytest.fixture
def open_engine(cluster: Path) -> Callable[[Work], contextlib.AbstractContextManager[RayEngine]]:
    return lambda work: open_ray(partial(give, work), partial(died, "x"), cluster, workers=2)


OpenEngine = Callable[[Work], contextlib.AbstractContextManager[RayEngine]]


@pytest.mark.usefixtures("cluster")
def test_rows_and_crops_equal_the_local_engine_s(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    pictures = [save_plain(tmp_path / f"{i}.png", (50 + i, 90, 90)) for i in range(12)]
    pictures[3:3] = [save_plain(tmp_path / "deadly.png", (0, 0, 255)), tmp_path / "missing.png"]
    (tmp_path / "damaged.png").write_bytes(pictures[0].read_bytes()[:40])
    pictures += [tmp_path / "damaged.png", pictures[0]]
    packed = {path.name: path.read_bytes() for path in pictures[5:12]}
    pictures += [make_tar(tmp_path / "a.tar", packed) / name for name in packed]

    here, there = (BuildOptions(tmp_path / name, workers=1) for name in ("here", "there"))
    on_death = partial(died, PARAMS.digest)
    make_local, make_ray = (partial(open_work, PARAMS, open_detector, o) for o in (here, there))
    with LocalEngine(make_local, PARAMS.digest, here) as local:
        expected = list(local.map(pictures))
    with open_ray(make_ray, on_death, there.cache, workers=2) as engine:
        results = list(engine.map(pictures))

    assert [result.record for result in results] == [result.record for result in expected]
    assert [result.stamp for result in results] == [result.stamp for result in expected]
    assert {r.record.path.name for r in results if r.record.status == "error"} == {
        "deadly.png",
        "missing.png",
        "damaged.png",
    }
    assert tree(there.cache) == tree(here.cache)
    assert capfd.readouterr() == ("", "")  # Ray keeps quiet, also where it is asked to stop


def tree(folder: Path) -> dict[str, bytes]:
    files = (path for path in folder.rglob("*") if path.is_file())
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in files}


def test_killed_worker_loses_nothing(
    open_engine: OpenEngine, capfd: pytest.CaptureFixture[str]
) -> None:
    paths = [Path(f"{i}") for i in range(600)]
    with open_engine(tell_parent) as engine:
        results = engine.map(paths)
        first = next(results)
        victim = int(first.record.sha256 or 0)
        os.kill(victim, signal.SIGKILL)
        found = [first, *results]
    assert [result.record.path for result in found] == paths
    assert all(result.record.status == "ok" for result in found)
    assert found[-1].record.sha256 != str(victim)
    assert capfd.readouterr() == ("", "")  # a lost worker is not told on stdout, as Ray does


@pytest.mark.parametrize(
    ("least", "sizes"),
    [
        (2, [64, 36, 90, 10, 77, 3]),  # an archive each, the files as few as may be lost
        (28, [10] * 10 + [10] * 9 + [10] + [10] * 7 + [7] + [3]),  # all have something to do
        (1000, [1] * 280),
    ],
)
def test_archives_stay_whole_as_far_as_all_workers_have_work(
    tmp_path: Path, least: int, sizes: list[int]
) -> None:
    archives = [make_zip(tmp_path / f"{i}.zip", {}) for i in range(3)]
    files = [Path(f"{i}.png") for i in range(100)]
    members = [
        archive / f"{i}.png"
        for archive, count in zip(archives, (90, 10, 77), strict=True)
        for i in range(count)
    ]
    paths = [*files, *members, *files[:3]]
    batches = make_batches(paths, least)
    assert [path for batch in batches for path in batch] == paths
    assert [len(batch) for batch in batches] == sizes


def test_expected_error_is_raised_as_itself_and_in_its_place(open_engine: OpenEngine) -> None:
    with open_engine(fail_of_some) as engine:
        results = engine.map([Path(f"{i}") for i in range(80)])
        assert [next(results).record.path.name for _ in range(37)] == [f"{i}" for i in range(37)]
        with pytest.raises(StorageError, match=r"^Cannot write '37': the disk is full\. Free"):
            next(results)
        assert not executors()
        # The engine is of use afterwards.
        assert len(list(engine.map([Path("1"), Path("2")]))) == 2


def test_results_that_are_left_end_with_the_engine(open_engine: OpenEngine) -> None:
    # Ray's threads, if left, would start another cluster after the end of this one.
    with open_engine(tell_parent) as engine:
        results = engine.map([Path(f"{i}") for i in range(600)])
        next(results)
        assert executors()
    assert not executors()
    assert list(results) == []


def executors() -> list[str]:
    return [one.name for one in threading.enumerate() if "StreamingExecutor" in one.name]


def test_fault_of_ours_is_told_with_its_traceback(open_engine: OpenEngine) -> None:
    with (
        open_engine(divide_by_zero) as engine,
        pytest.raises(RuntimeError, match=r"(?s)^A worker process failed\..*ZeroDivisionError"),
    ):
        list(engine.map([Path("1")]))


def test_nothing_to_do_starts_no_worker(open_engine: OpenEngine) -> None:
    with open_engine(tell_parent) as engine:
        assert list(engine.map([])) == []


def test_cluster_that_fails_is_told(
    open_engine: OpenEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> Iterator[list[CropResult]]:
        yield [tell_parent(Path("1"))]
        raise ray.exceptions.RaySystemError("the head node\nis gone")

    monkeypatch.setattr(RayEngine, "_stream", fail)
    with open_engine(tell_parent) as engine, pytest.raises(ClusterError) as caught:
        list(engine.map([Path("1"), Path("2")]))
    assert str(caught.value) == (
        "Cannot go on with the Ray cluster after 1 of 2 pictures: System error: the head node is "
        "gone. Give the workers more memory or use fewer --workers, then run the same command "
        "again: what is finished is kept."
    )


def test_machine_that_does_not_see_the_cache_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ray_engine, "SEEN_WITHIN_S", 0.3)
    marker = tmp_path / "cache" / "v2" / "drafts" / "marker"
    cropper = ray_engine._Cropper(
        partial(give, tell_parent), partial(died, "x"), marker, str(tmp_path / "no folder")
    )
    batch = pa.table({"paths": [pickle.dumps([Path("1")])]})
    (answers,) = (pickle.loads(answer) for answer in cropper(batch)["answers"])
    assert [str(answer) for answer in answers] == [
        f"Cannot crop on the machine {socket.gethostname()!r}: it does not see the cache "
        f"{str(tmp_path / 'cache')!r}. Give a folder that all machines share, by its full name, "
        "or an object store (s3://…) with --cache."
    ]


def test_missing_ray_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(ClusterError) as caught:
        open_ray(partial(give, tell_parent), partial(died, "x"), tmp_path).__enter__()
    assert str(caught.value) == (
        "Cannot use --engine ray: Ray is not installed. "
        "Run: pip install 'roi-cls[ray]', or use --engine local."
    )


@pytest.mark.parametrize(
    ("address", "reason"),
    [
        ("127.0.0.1:1", r"\[Errno \d+\] Connection refused\."),
        ("ray://127.0.0.1:1", r"\[Errno \d+\] Connection refused\."),
        ("nonsense", r"Invalid address format: nonsense\."),
    ],
)
def test_cluster_that_cannot_be_reached_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, address: str, reason: str
) -> None:
    # The cluster of the other tests may be up.
    monkeypatch.setattr(ray, "is_initialized", lambda: False)
    monkeypatch.setattr(logging.getLogger("ray"), "disabled", True)
    with pytest.raises(ClusterError, match=reason) as caught:
        open_ray(
            partial(give, tell_parent), partial(died, "x"), tmp_path, address=address
        ).__enter__()
    assert str(caught.value).startswith(f"Cannot use the Ray cluster {address!r}: ")
    assert str(caught.value).endswith(
        " Check --address; Ray and Python must have the same version on every machine."
    )


def test_cluster_that_starts_too_slowly_is_told_and_ended(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(**settings: object) -> None:
        raise Exception("The current node timed out during startup. It may be busy.")

    ended: list[bool] = []
    monkeypatch.setattr(ray, "is_initialized", lambda: False)
    monkeypatch.setattr(ray, "init", fail)
    monkeypatch.setattr(ray, "shutdown", lambda: ended.append(True))
    with pytest.raises(ClusterError, match="node timed out during startup") as caught:
        open_ray(partial(give, tell_parent), partial(died, "x"), tmp_path).__enter__()
    assert "use --engine local, or start one by `ray start --head`" in str(caught.value)
    assert ended == [True]
