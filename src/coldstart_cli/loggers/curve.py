"""A learning curve in characters: bounded memory during a training, and lines of text to show."""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import pairwise

from coldstart_cli.safe_text import printable

BINS = 400
"""Number of stretches of a training whose means are kept, however many steps it has."""


LABEL = 10
"""Width in columns of the numbers beside a curve."""

_BRAILLE = (
    (0x01, 0x08),
    (0x02, 0x10),
    (0x04, 0x20),
    (0x40, 0x80),
)  # Unicode's bit of each dot: [row][column]
_ASCII = " '.:"  # no dot, the upper one, the lower one, both


class Series:
    """One metric over the steps 1..total: the means of `BINS` stretches, and its latest value."""

    def __init__(self, total: int) -> None:
        self.total = max(1, total)
        self.latest = math.nan
        self._sums, self._counts = [0.0] * BINS, [0] * BINS

    def add(self, step: int, value: float) -> None:
        """Adds a value; one that is not finite becomes the latest, but not a point of the curve."""
        self.latest = value
        if math.isfinite(value):
            stretch = min(BINS - 1, max(0, (step - 1) * BINS // self.total))
            self._sums[stretch] += value
            self._counts[stretch] += 1

    def means(self, n: int) -> list[float]:
        """The means of n <= BINS stretches of equal length, nan where there is no value."""
        means = []
        for i in range(n):
            stretch = slice(i * BINS // n, (i + 1) * BINS // n)
            count = sum(self._counts[stretch])
            means.append(sum(self._sums[stretch]) / count if count else math.nan)
        return means


def panel(name: str, series: Series, width: int, rows: int, *, ascii_only: bool) -> list[str]:
    """A titled curve: rows + 2 lines of text for `width` columns, which must exceed `LABEL` + 4.

    Args:
        rows: height of the curve itself; a line above names it, a line below has the first and last step.
        ascii_only: for terminals that cannot show other characters.
    """
    columns = min(width - LABEL - 2, BINS // 2)
    values = series.means(columns if ascii_only else 2 * columns)
    finite = [value for value in values if math.isfinite(value)]
    labels = [""] * rows
    if finite:
        labels[-1], labels[0] = f"{min(finite):.4g}", f"{max(finite):.4g}"
    bar = "|" if ascii_only else "│"
    drawn = drawing(values, rows, ascii_only=ascii_only)
    lines = [
        f"{'':{LABEL}}  {printable(name)} {series.latest:.4g}",
        *(f"{label:>{LABEL}} {bar}{line}" for label, line in zip(labels, drawn, strict=True)),
        f"{'':{LABEL}}  1{series.total:>{columns - 1},}",
    ]
    return [line[:width] for line in lines]


def drawing(values: Sequence[float], rows: int, *, ascii_only: bool) -> list[str]:
    """`rows` lines, from the largest value to the smallest; neighbours are joined, also across nan.

    A character has 2 x 4 dots (Braille), or 1 x 2 in ASCII: values per column x levels per row.
    """
    across, down = (1, 2) if ascii_only else (2, 4)
    points = [(x, value) for x, value in enumerate(values) if math.isfinite(value)]
    low = min((value for _, value in points), default=0.0)
    half = max((value for _, value in points), default=0.0) / 2 - low / 2  # halves, so as not to overflow

    def level(value: float) -> int:
        share = (value / 2 - low / 2) / half if half else 0.0
        return round((1 - share) * (rows * down - 1))

    dots = {(x, level(value)) for x, value in points}
    for (left, before), (right, after) in pairwise(points):
        start, end, previous = level(before), level(after), level(before)
        for x in range(left + 1, right + 1):
            y = start + round((end - start) * (x - left) / (right - left))
            # A steep rise fills the column between two levels, so that the curve has no gaps.
            dots |= {(x, between) for between in range(min(previous, y), max(previous, y) + 1)}
            previous = y
    cells = [[0] * -(-len(values) // across) for _ in range(rows)]
    for x, y in dots:
        cells[y // down][x // across] |= 1 << y % down if ascii_only else _BRAILLE[y % down][x % across]
    characters = (
        _ASCII if ascii_only else [" ", *map(chr, range(0x2801, 0x2900))]
    )  # U+2800, the empty pattern, is not blank in every font
    return ["".join(characters[cell] for cell in line) for line in cells]
