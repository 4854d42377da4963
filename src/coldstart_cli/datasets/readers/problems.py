"""Rows and files that cannot be read: the first one ends the command, or all are left out and counted.

What could be read and is still to be known of, such as a guess or a text that was cut, is a remark: one line.
"""

from __future__ import annotations

import warnings
from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Literal

from coldstart_cli.errors import RequestError

OnBad = Literal["stop", "skip"]
_FIRST = 5


class Problems:
    """Collects what is left out, and what is to be said of the rest.

    Args:
        on_bad: `stop` at the first, or `skip` them all.
        strict: of values that a caller holds in memory: what is unfamiliar is refused as well, and no message
            speaks of leaving examples out, for each of them is to have its answer.
        key: what a command calls `on_bad`.

    Attributes:
        skipped: what was left out, a line each.
        said: the remarks that `warn` has made on the rest.
    """

    def __init__(self, on_bad: OnBad, *, strict: bool = False, key: str = "dataset.on_bad") -> None:
        self.on_bad, self.strict, self.key = on_bad, strict, key
        self.skipped: list[str] = []
        self.said: list[str] = []
        self._unfamiliar: dict[str, str] = {}
        self._remarks: dict[str, None] = {}
        self._absent = Counter[str]()
        self._n_texts = self._n_cut = self._enough = 0
        self._n_warned = 0

    def add(self, place: str, what: str, remedy: str) -> None:
        """Leaves out what stands at `place`.

        Raises:
            RequestError: where the first is to end the command.
        """
        if self.on_bad == "stop":
            otherwise = "" if self.strict else f", or leave such out with {self.key}=skip"
            raise RequestError(f"{place}: {what}; {remedy}{otherwise} (E12)")
        self.skipped.append(f"{place}: {what}")

    def unfamiliar(self, place: str, what: str, remedy: str) -> None:
        """What stands at `place` can be read, but nothing like it has been learned: it counts as unknown.

        Raises:
            RequestError: where the values are a caller's.
        """
        if self.strict:
            raise RequestError(f"{place}: {what}; {remedy} (E12)")
        self._unfamiliar.setdefault(what, place)

    def absent(self, columns: Iterable[str]) -> None:
        """Counts missing values of columns that had none when they were learned from."""
        self._absent.update(columns)

    def note(self, line: str) -> None:
        """What a reader of results should know of data that are as they should be; it is no warning."""
        if line not in self.said:
            self.said.append(line)

    def remark(self, line: str) -> None:
        """What is to be said of data that were read, once: `<file or column>: <what>; <what to do>`."""
        self._remarks[line] = None

    def cut(self, n_texts: int, n_cut: int, enough: int) -> None:
        """Counts texts, those of them that are longer than what reads them, and a length that is enough."""
        self._n_texts += n_texts
        self._n_cut += n_cut
        self._enough = max(self._enough, enough)

    def warn(self, root: str, max_length: int | None = None) -> None:
        """One line with the number of what was left out since the last call, and the first; so of the rest.

        Args:
            max_length: of what reads texts, in tokens.
        """
        left_out = self.skipped[self._n_warned :]
        self._n_warned = len(self.skipped)
        warn_of(root, left_out, "could not be read and")
        new = [f"{place}: {what}" for what, place in self._unfamiliar.items()]
        warn_of(root, new, "values are of no known category and")
        if self._n_cut:
            more = max_length is None or self._enough > max_length
            remedy = (
                f"train or adapt with model.preprocess.max_length={self._enough}" if more else "split them"
            )
            self.remark(
                f"{root}: {self._n_cut:,} of {self._n_texts:,} texts are longer than {max_length} tokens and "
                f"were cut; {remedy}"
            )
        if self._absent:
            named = [f"{name} {n:,}" for name, n in self._absent.most_common()]
            others = f", and {len(named) - _FIRST:,} more" if len(named) > _FIRST else ""
            self.remark(
                f"{root}: {self._absent.total():,} values are missing in columns that had none missing "
                f"before ({', '.join(named[:_FIRST])}{others}): each is read as its column's mean; fill them"
            )
        self.said += self._remarks
        for line in self._remarks:
            warnings.warn(" ".join(line.split()), RuntimeWarning, stacklevel=2)
        self._unfamiliar, self._remarks, self._absent = {}, {}, Counter()
        self._n_texts = self._n_cut = self._enough = 0


def warn_of(root: str, lines: Sequence[str], why: str) -> None:
    """One warning: how many were left out, and the first five."""
    if lines:
        more = f", and {len(lines) - _FIRST:,} more" if len(lines) > _FIRST else ""
        first = "; ".join(lines[:_FIRST])
        message = f"{root}: {len(lines):,} {why} left out: {first}{more}"
        warnings.warn(" ".join(message.split()), RuntimeWarning, stacklevel=3)
