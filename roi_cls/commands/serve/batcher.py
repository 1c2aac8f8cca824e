"""Pictures of many requests, judged together: the queue, and who takes from it.

Each judge has a thread of its own, in which it decodes, looks for faces and scores. While it is at
work, pictures gather for the next batch; so batches grow with the load and nobody waits for them.
"""

from __future__ import annotations

import asyncio
import math
import time
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

from roi_cls.classifier.inference.prediction import Looked, Source
from roi_cls.commands.serve.bodies import busy
from roi_cls.commands.serve.options import ServerOptions

Judge = Callable[[Sequence[Source]], list[Looked]]
"""Judges one batch; called in one thread at a time."""
OnBatch = Callable[[int, float], None]
"""Told of each batch: how many pictures, and the seconds it took."""


@dataclass(frozen=True, slots=True, eq=False)
class _Job:
    source: Source
    answer: asyncio.Future[Looked]


class Batcher:
    """Hands waiting pictures to the judges. Used from one event loop."""

    def __init__(self, judges: Sequence[Judge], options: ServerOptions, on_batch: OnBatch) -> None:
        """Start nothing yet.

        Args:
            judges: Each works by itself, at the same time as the others.
            options: How many pictures a batch and the queue hold.
            on_batch: Told of each batch.
        """
        self._judges, self._options, self._on_batch = judges, options, on_batch
        self._waiting: deque[_Job] = deque()
        self._accepted = 0
        self._idle = 0
        self._arrived = asyncio.Event()
        self._threads = ThreadPoolExecutor(len(judges), thread_name_prefix="judge")
        self._tasks: list[asyncio.Task[None]] = []

    @property
    def accepted(self) -> int:
        """Pictures that are waiting or being judged."""
        return self._accepted

    def start(self) -> None:
        """Let the judges take pictures, in the running event loop."""
        self._tasks = [asyncio.create_task(self._serve(judge)) for judge in self._judges]

    async def stop(self) -> None:
        """Let the judges go once nothing waits; a batch that is begun is finished."""
        while self._accepted:
            await asyncio.sleep(0.01)
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        self._threads.shutdown()

    def check_room(self, pictures: int = 1) -> None:
        """Raise a 503 where the queue has no room for so many more pictures."""
        if self._accepted + pictures > self._options.queue:
            raise busy(f"{self._accepted} pictures are waiting. Try again soon.")

    async def judge(self, sources: Sequence[Source]) -> list[Looked]:
        """Return what is seen in each picture, in order.

        Raises:
            HTTPException: 503, the queue is full or it takes too long.
        """
        self.check_room(len(sources))
        loop = asyncio.get_running_loop()
        jobs = [_Job(source, loop.create_future()) for source in sources]
        self._accepted += len(jobs)
        for job in jobs:
            job.answer.add_done_callback(self._leave)
        self._waiting.extend(jobs)
        self._arrived.set()
        try:
            async with asyncio.timeout(self._options.timeout_s):
                return [await job.answer for job in jobs]
        except TimeoutError:
            seconds = self._options.timeout_s
            raise busy(
                f"There was no answer within {seconds:g} s. Try again, or send less."
            ) from None
        finally:
            for job in jobs:
                job.answer.cancel()  # whoever asked is gone; what is answered stays so

    def _leave(self, answer: asyncio.Future[Looked]) -> None:
        self._accepted -= 1
        if not answer.cancelled():
            answer.exception()  # of two that fail, asyncio would report the one nobody waited for

    async def _serve(self, judge: Judge) -> None:
        loop = asyncio.get_running_loop()
        while True:
            batch = await self._gather()
            sources = [job.source for job in batch]
            answers = await loop.run_in_executor(self._threads, self._work, judge, sources)
            for job, answer in zip(batch, answers, strict=True):
                if job.answer.done():
                    continue
                if isinstance(answer, Exception):
                    job.answer.set_exception(answer)
                else:
                    job.answer.set_result(answer)

    async def _gather(self) -> list[_Job]:
        """Return the next batch: this judge's share of what waits, once a little has gathered."""
        self._idle += 1
        try:
            while True:
                await self._arrived.wait()
                if len(self._waiting) < self._options.batch_size:
                    await asyncio.sleep(self._options.wait_ms / 1000)
                share = math.ceil(len(self._waiting) / self._idle)
                batch = self._take(min(share, self._options.batch_size))
                if not self._waiting:
                    self._arrived.clear()
                if batch:
                    return batch
        finally:
            self._idle -= 1

    def _take(self, most: int) -> list[_Job]:
        jobs: list[_Job] = []
        while self._waiting and len(jobs) < most:
            job = self._waiting.popleft()
            if not job.answer.done():  # else whoever asked is gone
                jobs.append(job)
        return jobs

    def _work(self, judge: Judge, sources: Sequence[Source]) -> list[Looked | Exception]:
        """Judge a batch, in a judge's thread; what fails as a whole is tried one by one."""
        start = time.perf_counter()
        try:
            answers: list[Looked | Exception] = [*judge(sources)]
        # Handed over, not lost: ``judge`` raises it where the request is answered, as a 500 that is
        # logged. Caught of any kind, as this thread would end with it and leave requests waiting.
        except Exception as error:  # noqa: BLE001  # reason: raised again in the request's own task
            if len(sources) > 1:
                return [self._work(judge, [source])[0] for source in sources]
            answers = [error]
        self._on_batch(len(sources), time.perf_counter() - start)
        return answers
