"""Requests that wait together are answered in one call, by one thread, which alone calls torch."""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import final

from coldstart_cli.serving.answering import Answer
from coldstart_cli.serving.reading import Asked, Refused

_log = logging.getLogger(__name__)
Answered = Callable[[Sequence[Asked]], Sequence["Answer | Refused"]]


@final
class Batcher:
    """Takes as many requests as have places, and answers those that wait while another call runs together.

    Nobody waits for company: a request that comes alone is answered at once.

    Args:
        answer: in the thread, for at least one request.
        batch_size: inputs of the requests that are answered together; a single request may have more.
        places: requests that are read, wait or are answered at once.
    """

    def __init__(self, answer: Answered, batch_size: int, places: int) -> None:
        self._answer, self._batch_size, self._free = answer, batch_size, places
        self._waiting: deque[tuple[Asked, asyncio.Future[Answer]]] = deque()
        self._thread = ThreadPoolExecutor(1, "predictor")
        self._work: asyncio.Task[None] | None = None

    @contextmanager
    def place(self) -> Iterator[None]:
        """Room for one request, from before its body is read until it is answered.

        Raises:
            Refused: where there is none.
        """
        if not self._free:
            raise Refused(503, "server: too many requests wait; try again in a second", {"Retry-After": "1"})
        self._free -= 1
        try:
            yield
        finally:
            self._free += 1

    async def ask(self, asked: Asked) -> Answer:
        """The answer, once it is there.

        Raises:
            Refused: where there is none.
        """
        future = asyncio.get_running_loop().create_future()
        self._waiting.append((asked, future))
        if self._work is None or self._work.done():
            self._work = asyncio.create_task(self._run())
        answer: Answer = await future
        return answer

    async def _run(self) -> None:
        loop = asyncio.get_running_loop()
        while batch := self._batch():
            try:
                answers = await loop.run_in_executor(self._thread, self._answer, [one for one, _ in batch])
            except Exception as error:  # a fault of ours: those who wait must not wait for ever
                _log.exception("serve: a call for %d requests failed", len(batch))
                line = f"server: {type(error).__name__}; see what it says where it runs"
                answers = [Refused(500, line)] * len(batch)
            for (_, future), answer in zip(batch, answers, strict=True):
                if future.done():  # its client has gone
                    continue
                if isinstance(answer, Refused):
                    future.set_exception(answer)
                else:
                    future.set_result(answer)

    def _batch(self) -> list[tuple[Asked, asyncio.Future[Answer]]]:
        """The requests that have waited longest, as many as one call takes."""
        batch: list[tuple[Asked, asyncio.Future[Answer]]] = []
        n = 0
        while self._waiting and (not batch or n + len(self._waiting[0][0].inputs) <= self._batch_size):
            one = self._waiting.popleft()
            if not one[1].done():
                batch.append(one)
                n += len(one[0].inputs)
        return batch
