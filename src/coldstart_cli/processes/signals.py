"""Stopping between two steps when a signal asks for it."""

from __future__ import annotations

import signal
import threading
import types
from typing import Any, Self

from coldstart_cli.processes import ranks


class Stopped(KeyboardInterrupt):
    """A signal asked for an end, and the state was saved. No `except Exception` holds it up."""

    def __init__(self, number: int) -> None:
        super().__init__(signal.Signals(number).name)
        self.number = number


SAVING = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
"""Signals that ask for an end: Ctrl-C, a batch system, a terminal that is closed."""


class StopOnSignal:
    """Turns the first SIGINT, SIGTERM or SIGHUP into a request that loops honour between two steps.

    A second SIGINT stops at once. Python hands signals to the main thread alone: in any other nothing is set.
    """

    def __init__(self) -> None:
        self._received: int | None = None
        self._previous: dict[int, Any] = {}

    def __enter__(self) -> Self:
        main = threading.current_thread() is threading.main_thread()
        for number in SAVING if main else ():
            if number == signal.SIGHUP and signal.getsignal(number) == signal.SIG_IGN:
                continue  # started by nohup, to outlive its terminal
            self._previous[number] = signal.signal(number, self._receive)
        return self

    def __exit__(self, *error: object) -> None:
        for number, handler in self._previous.items():
            signal.signal(number, handler)

    def _receive(self, number: int, frame: types.FrameType | None) -> None:
        if self._received is not None and number == signal.SIGINT:
            raise KeyboardInterrupt
        self._received = number

    @property
    def requested(self) -> bool:
        """In all processes of a run at once: where one has received a signal, all are told."""
        self._received = ranks.largest(self._received or 0) or None
        return self._received is not None

    def check(self) -> None:
        """
        Raises:
            Stopped: if a signal has come.
        """
        if self.requested and self._received is not None:
            raise Stopped(self._received)
