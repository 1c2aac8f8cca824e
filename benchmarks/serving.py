"""Requests per second of `roi-cls serve` under load, against one request after the other.

    .venv/bin/python -m benchmarks.serving --run demo [--run NAME ...] [--json FILE]

Servers of each run, in turns: as it is, with 16 clients at once; the same with `--runtime torch`;
unbatched, with one judge and one client that waits for each answer; and
`benchmarks/plain_server.py`, with 16 clients.
One request in ten is broken. A request is one drawn portrait of 1024 px.
"""

from __future__ import annotations

import argparse
import contextlib
import http.client
import json
import os
import re
import statistics
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from benchmarks.machine import describe_machine
from benchmarks.portraits import write_portraits
from roi_cls.classifier.runs.folder import find_run

REQUESTS = 200
CLIENTS = 16
ROUNDS = 3
RUNS = Path("artifacts/runs")
BROKEN_EVERY = 10
UNBATCHED = ("--batch", "1", "--threads", "1", "--wait-ms", "0")


class Server:
    """A server in a process of its own."""

    def __init__(self, *words: str) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-m", *words], stderr=subprocess.PIPE, text=True
        )
        assert self._process.stderr
        self.port = 0
        lines = []
        for line in self._process.stderr:
            lines.append(line)
            if found := re.search(r"at http://127\.0\.0\.1:(\d+)", line):
                self.port = int(found[1])
                break
        if not self.port:
            raise RuntimeError("".join(lines))

    def metric(self, name: str) -> float:
        """Return one of the server's counters."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port)
        connection.request("GET", "/metrics")
        text = connection.getresponse().read().decode()
        connection.close()
        found = re.search(rf"^{name} (\S+)$", text, re.MULTILINE)
        if not found:
            raise RuntimeError(f"no {name} in {text}")
        return float(found[1])

    def stop(self) -> int:
        """Ask it to stop; return its exit code."""
        self._process.terminate()
        return self._process.wait()


@contextlib.contextmanager
def serving(*words: str) -> Iterator[Server]:
    """Give a server, and see that it stops as it should."""
    server = Server(*words)
    try:
        yield server
    finally:
        code = server.stop()
    if code:
        raise RuntimeError(f"the server ended with exit code {code}")


def load(port: int, bodies: Sequence[bytes], clients: int) -> dict[str, Any]:
    """Send the bodies, in so many connections at once; return rate, status codes and times."""
    statuses: Counter[int] = Counter()
    times: list[float] = []
    waiting = iter(bodies)
    lock = threading.Lock()

    def work() -> None:
        connection = http.client.HTTPConnection("127.0.0.1", port)
        while True:
            with lock:
                body = next(waiting, None)
            if body is None:
                break
            begin = time.perf_counter()
            connection.request("POST", "/predict", body)
            answer = connection.getresponse()
            answer.read()
            with lock:
                statuses[answer.status] += 1
                times.append(time.perf_counter() - begin)
        connection.close()

    threads = [threading.Thread(target=work) for _ in range(clients)]
    begin = time.perf_counter()
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    seconds = time.perf_counter() - begin
    return {"rate": len(bodies) / seconds, "statuses": statuses, "times": sorted(times)}


def make_bodies(paths: Sequence[Path], count: int) -> list[bytes]:
    """Return pictures, every tenth of them broken: cut off, or none at all."""
    pictures = [path.read_bytes() for path in paths]
    bodies = []
    for i in range(count):
        whole = pictures[i % len(pictures)]
        broken = (whole[: len(whole) // 2], b"no picture")[i // BROKEN_EVERY % 2]
        bodies.append(broken if i % BROKEN_EVERY == BROKEN_EVERY - 1 else whole)
    return bodies


def check(statuses: Counter[int], count: int) -> None:
    """Raise unless every picture was answered and every broken one refused."""
    broken = count // BROKEN_EVERY
    if statuses != Counter({200: count - broken, 422: broken}):
        raise RuntimeError(f"unexpected answers: {dict(statuses)}")


@dataclass(frozen=True, slots=True)
class Side:
    """A server, and how many clients ask it at once."""

    server: Server
    clients: int
    rates: list[float] = field(default_factory=list)
    """Requests per second, of each round."""
    times: list[float] = field(default_factory=list)
    costs: list[float] = field(default_factory=list)
    """Seconds of processor time of a request, of each round."""

    def ask(self, bodies: Sequence[bytes]) -> None:
        """Send the bodies, and keep what that took."""
        before = self.server.metric("process_cpu_seconds_total")
        found = load(self.server.port, bodies, self.clients)
        cost = self.server.metric("process_cpu_seconds_total") - before
        check(found["statuses"], len(bodies))
        self.rates.append(found["rate"])
        self.times.extend(found["times"])
        self.costs.append(cost / len(bodies))

    @property
    def figures(self) -> dict[str, float]:
        """Medians."""
        return {
            "per_second": statistics.median(self.rates),
            "cpu_ms": 1000 * statistics.median(self.costs),
            "median_ms": 1000 * statistics.median(self.times),
        }


def measure(
    run: str, paths: Sequence[Path], options: Sequence[str], rounds: int, long: int
) -> dict[str, Any]:
    """Return the figures of one run; the memory is looked at again after ``long`` requests."""
    bodies = make_bodies(paths, REQUESTS)
    ours, folder = ("roi_cls", "serve", "--run", run, "--port", "0"), find_run(run, RUNS)
    with (
        serving(*ours, *options) as server,
        serving(*ours, *options, "--runtime", "torch") as torch,
        serving(*ours, *UNBATCHED) as unbatched,
        serving("benchmarks.plain_server", str(folder.path)) as plain,
    ):
        sides = {
            "alone": Side(unbatched, 1),
            "loaded": Side(server, CLIENTS),
            "torch": Side(torch, CLIENTS),
            "plain": Side(plain, CLIENTS),
        }
        for side in sides.values():
            load(side.server.port, bodies[:40], side.clients)
        for turn in range(rounds):
            for side in list(sides.values())[:: 1 if turn % 2 == 0 else -1]:
                side.ask(bodies)
            rates = ", ".join(f"{name} {side.rates[-1]:.1f}/s" for name, side in sides.items())
            print(f"{run} round {turn + 1}: {rates}")
        memory = [server.metric("process_resident_memory_bytes") / 1e6]
        check(load(server.port, make_bodies(paths, long), CLIENTS)["statuses"], long)
        memory.append(server.metric("process_resident_memory_bytes") / 1e6)
        batches = server.metric("roi_cls_batch_pictures_sum") / server.metric(
            "roi_cls_batch_pictures_count"
        )
    loaded = sides["loaded"].rates
    ratios = {
        f"ratio_to_{name}": statistics.median(
            x / y for x, y in zip(loaded, sides[name].rates, strict=True)
        )
        for name in ("alone", "torch", "plain")
    }
    return {
        **{name: side.figures for name, side in sides.items()},
        **ratios,
        "pictures_per_batch": batches,
        "memory_mb": memory[0],
        "memory_after_long_mb": memory[1],
    }


def main() -> None:
    """Measure each run, print the figures."""
    parser = argparse.ArgumentParser(description="Measure the server under load.")
    parser.add_argument("--run", action="append", help="name or folder; may come again")
    parser.add_argument("--kind", choices=("jpg", "png"), default="jpg")
    parser.add_argument("--options", default="", help="of the loaded server, like '--batch 32'")
    parser.add_argument("--rounds", type=int, default=ROUNDS)
    parser.add_argument("--long", type=int, default=1000, help="requests of the memory's test")
    parser.add_argument("--json", type=Path, help="also write the figures there")
    arguments = parser.parse_args()
    paths = write_portraits(Path("artifacts/bench/portraits"), 100)[arguments.kind]
    figures: dict[str, Any] = {"machine": describe_machine(), "kind": arguments.kind}
    figures["load_before"] = os.getloadavg()[0]
    for run in arguments.run or ["demo"]:
        figures[Path(run).name] = measure(
            run, paths, arguments.options.split(), arguments.rounds, arguments.long
        )
    print(json.dumps(figures, indent=2))
    if arguments.json:
        arguments.json.write_text(json.dumps(figures, indent=2) + "\n")


if __name__ == "__main__":
    main()
