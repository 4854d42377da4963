"""Rows and files that cannot be read: the first one ends the command, or all are left out and counted."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from typing import Literal

from coldstart_cli.errors import RequestError

OnBad = Literal["stop", "skip"]
_FIRST = 5


class Problems:
    """Collects what is left out.

    Args:
        on_bad: `stop` at the first, or `skip` them all.
    """

    def __init__(self, on_bad: OnBad) -> None:
        self.on_bad = on_bad
        self.skipped: list[str] = []

    def add(self, place: str, what: str, remedy: str) -> None:
        """Leaves out what stands at `place`.

        Raises:
            RequestError: where the first is to end the command.
        """
        if self.on_bad == "stop":
            raise RequestError(f"{place}: {what}; {remedy}, or leave such out with on_bad=skip")
        self.skipped.append(f"{place}: {what}")

    def warn(self, root: str) -> None:
        """One line with their number and the first of them, where there are any."""
        warn_of(root, self.skipped, "could not be read and")


def warn_of(root: str, lines: Sequence[str], why: str) -> None:
    """One warning: how many were left out, and the first five."""
    if lines:
        more = f", and {len(lines) - _FIRST:,} more" if len(lines) > _FIRST else ""
        first = "; ".join(lines[:_FIRST])
        message = f"{root}: {len(lines):,} {why} left out: {first}{more}"
        warnings.warn(" ".join(message.split()), RuntimeWarning, stacklevel=3)
