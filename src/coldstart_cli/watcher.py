"""How a job tells the sweep that started it how far it is."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Mapping
from multiprocessing.connection import Connection


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
                with contextlib.suppress(OSError):
                    self._messages.send(("validation", (step, float(value))))
                self._value = f", {name.replace('_', ' ')} {value:.4g}"

    def advance(self, done: int) -> None:
        now = time.monotonic()
        if now - self._said > 0.3 or done == self._total:
            self._said = now
            with contextlib.suppress(OSError):
                self._messages.send(("progress", f"{self._title} {done}/{self._total}{self._value}"))

    def summary(self, step: int, values: Mapping[str, float]) -> None:
        pass

    def close(self) -> None:
        pass
