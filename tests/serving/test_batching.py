"""Requests that wait together are answered together, within their places."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Sequence
from typing import Any

import pytest

from coldstart_cli.serving.answering import Answer
from coldstart_cli.serving.batching import Batcher
from coldstart_cli.serving.reading import Asked, Refused


def asked(n: int) -> Asked:
    return Asked(inputs=[n] * n, top_k=1, probabilities=False, threshold=None)


class Recorder:
    """Answers with the number of inputs, and holds the first call until the test lets it go."""

    def __init__(self) -> None:
        self.calls: list[list[int]] = []
        self.threads: set[str] = set()
        self.go = threading.Event()

    def __call__(self, several: Sequence[Asked]) -> list[Answer | Refused]:
        self.threads.add(threading.current_thread().name)
        self.go.wait(10)
        self.calls.append([len(one.inputs) for one in several])
        return [Refused(422, "no; no") if len(one.inputs) == 7 else {"n": len(one.inputs)} for one in several]


def test_those_that_wait_go_into_one_call_of_one_thread() -> None:
    recorder = Recorder()
    batcher = Batcher(recorder, batch_size=6, places=9)

    async def run() -> list[Any]:
        first = asyncio.create_task(batcher.ask(asked(1)))
        await asyncio.sleep(0.05)  # it is in its call
        rest = [asyncio.create_task(batcher.ask(asked(n))) for n in (2, 3, 7, 4, 1)]
        await asyncio.sleep(0.05)
        rest[4].cancel()  # its client has gone
        recorder.go.set()
        return await asyncio.gather(first, *rest, return_exceptions=True)

    found = asyncio.run(run())
    assert recorder.calls == [[1], [2, 3], [7], [4]] and len(recorder.threads) == 1
    assert [one.get("n") for one in found if isinstance(one, dict)] == [1, 2, 3, 4]
    assert isinstance(found[3], Refused) and isinstance(found[5], asyncio.CancelledError)


def test_no_more_take_a_place_than_there_are() -> None:
    batcher = Batcher(lambda several: [{}], batch_size=1, places=2)
    with batcher.place():
        with batcher.place(), pytest.raises(Refused) as caught, batcher.place():
            pass
        with batcher.place():
            pass
    assert caught.value.status == 503 and caught.value.headers == {"Retry-After": "1"}


def test_a_call_that_fails_leaves_nobody_waiting(caplog: pytest.LogCaptureFixture) -> None:
    def broken(several: Sequence[Asked]) -> list[Answer | Refused]:
        raise KeyError("x")

    batcher = Batcher(broken, batch_size=9, places=9)

    async def run() -> list[Any]:
        return await asyncio.gather(*(batcher.ask(asked(1)) for _ in range(2)), return_exceptions=True)

    assert [one.status for one in asyncio.run(run())] == [500, 500]
    assert "KeyError" in caplog.text
