"""What a logger does, and a wrapper for loggers so that none can end a run.

The run directory's own files (history.jsonl, timings.jsonl, records.jsonl) are written in any case.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping
from typing import Protocol


class Logger(Protocol):
    def start(self, title: str, total: int, done: int) -> None:
        """A phase of `total` units begins, `done` of which were done earlier."""

    def metrics(self, step: int, values: Mapping[str, float]) -> None:
        """The numbers of a training step."""

    def advance(self, done: int) -> None:
        """`done` units are finished by now."""

    def summary(self, step: int, values: Mapping[str, float]) -> None:
        """The numbers of a finished evaluation, after `step` steps of training."""

    def close(self) -> None:
        """The run has ended, successfully or not."""


class Tolerated:
    """A logger that cannot end a run: its first error becomes a warning, and nothing more is sent to it."""

    def __init__(self, key: str, logger: Logger) -> None:
        self._key, self._logger, self._failed = key, logger, False

    def start(self, title: str, total: int, done: int) -> None:
        self._tell(self._logger.start, title, total, done)

    def metrics(self, step: int, values: Mapping[str, float]) -> None:
        self._tell(self._logger.metrics, step, values)

    def advance(self, done: int) -> None:
        self._tell(self._logger.advance, done)

    def summary(self, step: int, values: Mapping[str, float]) -> None:
        self._tell(self._logger.summary, step, values)

    def close(self) -> None:
        """Closes a failed logger too: it may hold a process or the terminal."""
        failed, self._failed = self._failed, False
        self._tell(self._logger.close, silently=failed)

    def _tell(self, method: Callable[..., None], *values: object, silently: bool = False) -> None:
        if self._failed:
            return
        try:
            method(*values)
        except Exception as error:
            self._failed = True
            if not silently:
                what = " ".join(f"{type(error).__name__}: {error}".split())[:200]
                warnings.warn(
                    f"{self._key}: {what}; the run continues without it", RuntimeWarning, stacklevel=3
                )
