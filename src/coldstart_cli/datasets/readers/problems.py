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
        strict: of values that a caller holds in memory: what is unfamiliar is refused as well, and no message
            speaks of leaving examples out, for each of them is to have its answer.
    """

    def __init__(self, on_bad: OnBad, *, strict: bool = False) -> None:
        self.on_bad, self.strict = on_bad, strict
        self.skipped: list[str] = []
        self._unfamiliar: dict[str, str] = {}

    def add(self, place: str, what: str, remedy: str) -> None:
        """Leaves out what stands at `place`.

        Raises:
            RequestError: where the first is to end the command.
        """
        if self.on_bad == "stop":
            otherwise = "" if self.strict else ", or leave such out with on_bad=skip"
            raise RequestError(f"{place}: {what}; {remedy}{otherwise}")
        self.skipped.append(f"{place}: {what}")

    def unfamiliar(self, place: str, what: str, remedy: str) -> None:
        """What stands at `place` can be read, but nothing like it has been learned: it counts as unknown.

        Raises:
            RequestError: where the values are a caller's.
        """
        if self.strict:
            raise RequestError(f"{place}: {what}; {remedy}")
        self._unfamiliar.setdefault(what, place)

    def warn(self, root: str) -> None:
        """One line with their number and the first of them, where there are any; so of what is unfamiliar."""
        warn_of(root, self.skipped, "could not be read and")
        new = [f"{place}: {what}" for what, place in self._unfamiliar.items()]
        warn_of(root, new, "values are of no known category and")


def warn_of(root: str, lines: Sequence[str], why: str) -> None:
    """One warning: how many were left out, and the first five."""
    if lines:
        more = f", and {len(lines) - _FIRST:,} more" if len(lines) > _FIRST else ""
        first = "; ".join(lines[:_FIRST])
        message = f"{root}: {len(lines):,} {why} left out: {first}{more}"
        warnings.warn(" ".join(message.split()), RuntimeWarning, stacklevel=3)
