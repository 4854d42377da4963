"""How a job tells the sweep that started it how far it is: short messages of JSON, never pickle."""

from __future__ import annotations

import contextlib
import json
import time
from collections.abc import Iterator, Mapping
from multiprocessing.connection import Connection
from typing import Any

LIMIT = 4000
"""Bytes of a message. A pipe takes so many at once, so that nobody waits for the rest of a message."""


def tell(messages: Connection, kind: str, value: object) -> None:
    """Sends one message; a sweep that is gone hears none."""
    short = value[:300] if isinstance(value, str) else value  # at most 12 bytes a character
    with contextlib.suppress(OSError):
        messages.send_bytes(json.dumps([kind, short]).encode())


def heard(messages: Connection) -> Iterator[tuple[str, Any]]:
    """(kind, value) of what has been sent so far; what is no message is passed over."""
    with contextlib.suppress(EOFError, OSError):  # also where a message is too long
        while messages.poll():
            data = messages.recv_bytes(LIMIT)
            with contextlib.suppress(ValueError, TypeError):
                kind, value = json.loads(data)
                yield str(kind), value


class Watcher:
    """A logger that tells the sweep, a few times a second."""

    def __init__(self, messages: Connection) -> None:
        self._messages, self._title, self._total, self._said = messages, "", 0, 0.0
        self._value = ""

    def start(self, title: str, total: int, done: int) -> None:
        self._title, self._total, self._said = title, total, 0.0
        self.advance(done)

    def metrics(self, step: int, values: Mapping[str, float]) -> None:
        for name, value in values.items():
            if name.startswith("validation"):
                tell(self._messages, "validation", [step, float(value)])
                self._value = f", {name.replace('_', ' ')} {value:.4g}"

    def advance(self, done: int) -> None:
        now = time.monotonic()
        if now - self._said > 0.3 or done == self._total:
            self._said = now
            tell(self._messages, "progress", f"{self._title} {done}/{self._total}{self._value}")

    def summary(self, step: int, values: Mapping[str, float]) -> None:
        pass

    def close(self) -> None:
        pass
