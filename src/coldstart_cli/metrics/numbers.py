"""How numbers are written, in one place: intervals, units, times, sizes, and unknown values.

It is on this floor because sentences (`comparison`) and tables (`reports`) write the same numbers. Every
function accepts None and numbers that are not finite, for JSON has null for both.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Protocol, TypeGuard

UNKNOWN = "-"
"""Not measured, or not available."""
DIVERGED = "diverged"
"""A metric that was measured and is not finite."""
DECIMALS = 3
"""The fewest for an error: a paired gain has a much narrower interval than the errors in the same table."""


class Estimated(Protocol):
    """A mean with the half-width of its interval; None where either is not finite."""

    @property
    def mean(self) -> float | None: ...
    @property
    def half_width(self) -> float | None: ...


@dataclass(frozen=True, slots=True)
class MeanInterval:
    """An `Estimated` as it was read from JSON."""

    mean: float | None
    half_width: float | None


@dataclass(frozen=True, slots=True)
class Numbers:
    """Writes values of one metric: shares in percent, anything else in its own unit.

    Attributes:
        decimals: after the point, the same in a whole table so that its columns can be read.
    """

    percent: bool
    decimals: int

    @classmethod
    def of(cls, percent: bool, half_widths: Iterable[float | None]) -> Numbers:
        """One decimal for percentages; for errors three, or two digits of the typical half-width."""
        known = [width for width in half_widths if is_known(width) and width > 0]
        if percent or not known:
            return cls(percent, 1 if percent else DECIMALS)
        # log10 finds the place of the first digit; one more shows the second.
        wanted = 1 - math.floor(math.log10(statistics.median(known)))
        return cls(percent, min(9, max(DECIMALS, wanted)))

    def value(self, value: float | None, unknown: str = DIVERGED) -> str:
        """`90.6` in percent, `0.351` in the metric's unit."""
        if not is_known(value):
            return unknown
        return f"{100 * value if self.percent else value:.{self.decimals}f}"

    def interval(self, row: Estimated | None, *, signed: bool = False) -> str:
        """`90.6 ± 1.8`; a question mark where the half-width says nothing, as from one task."""
        if row is None:
            return UNKNOWN
        if not is_known(row.mean):
            return DIVERGED
        sign = "+" if signed and row.mean >= 0 else ""
        return f"{sign}{self.value(row.mean)} ± {self.value(self._telling(row.half_width), '?')}"

    def amount(self, difference: float | None, half_width: float | None) -> str:
        """A difference in a sentence: `3.1 ± 0.8 points`, or an error in its own unit."""
        if not is_known(difference):
            return "an unknown amount"
        if self.percent:
            return f"{self.value(difference)} ± {self.value(self._telling(half_width), '?')} points"
        return f"{difference:.3g} ± {f'{half_width:.2g}' if is_known(half_width) else '?'}"

    def _telling(self, half_width: float | None) -> float | None:
        """The half-width, or None where it is wider than all that a share can be."""
        return None if self.percent and is_known(half_width) and half_width > 1 else half_width

    def loss(self, value: float | None) -> str:
        """What a choice loses, in a sentence: `2.8 points`."""
        if not is_known(value):
            return "an unknown amount"
        return f"{self.value(value)} points" if self.percent else f"{value:.3g}"

    def zone(self, *zones: float | None) -> str:
        """A zone of equivalence; where there are several, the smallest and the largest."""
        known = sorted({zone for zone in zones if is_known(zone)})
        # The smallest and the largest; a dict, because they may be written alike.
        ends = dict.fromkeys(f"{100 * z:g}" if self.percent else f"{z:.2g}" for z in known[:1] + known[-1:])
        return f"{' to '.join(ends)}{' points' if self.percent else ''}" if known else "not known"


def is_known(value: float | None) -> TypeGuard[float]:
    return value is not None and math.isfinite(value)


def known(value: float | None) -> float | None:
    """The same as JSON keeps it: None where it is not finite."""
    return float(value) if is_known(value) else None


def significant(value: float | None, digits: int = 3) -> str:
    """`digits` significant digits, or all digits of a whole number."""
    if not is_known(value):
        return UNKNOWN
    whole = abs(value) >= 10 ** (digits - 1) or value == int(value)
    return f"{value:,.0f}" if whole else f"{value:.{digits}g}"


def told_apart(value: float | None, other: float | None) -> tuple[str, str]:
    """Two numbers with as many digits as it takes to see that they differ."""
    # 17 digits tell any two floats apart.
    for digits in range(3, 17):
        texts = significant(value, digits), significant(other, digits)
        if value == other or texts[0] != texts[1]:
            return texts
    return repr(value), repr(other)


def percent(share: float | None) -> str:
    """A chosen confidence or coverage: .95 is written `95`, .975 `97.5`."""
    return f"{100 * share:g}" if is_known(share) else UNKNOWN


def duration(value: float | None) -> str:
    """Milliseconds or seconds: three digits, none finer than a hundredth, which differs from run to run."""
    if not is_known(value):
        return UNKNOWN
    if 0 < value < 0.01:
        return f"{value:.1g}"
    return f"{value:,.{2 if value < 10 else 1 if value < 100 else 0}f}"


def durations(values: Sequence[float | None]) -> list[str]:
    """A column of them with as many decimals each, of the shortest, unless they differ a thousandfold."""
    known = [value for value in values if is_known(value) and value > 0]
    if not known or min(known) < 0.01 or max(known) > 1000 * min(known):
        return [duration(value) for value in values]
    decimals = len(duration(min(known)).partition(".")[2])
    return [f"{value:,.{decimals}f}" if is_known(value) else UNKNOWN for value in values]


def scaled(value: float | None, unit: str = "") -> str:
    """`112 k`, `5.27 MFLOP`: three significant digits."""
    if not is_known(value):
        return UNKNOWN
    # Rounded first: 999,900 is 1 M, not 1e+03 k.
    rounded = float(f"{value:.3g}")
    for size, prefix in ((1e12, "T"), (1e9, "G"), (1e6, "M"), (1e3, "k")):
        if rounded >= size:
            return f"{rounded / size:.3g} {prefix}{unit}"
    return f"{rounded:g} {unit}".rstrip()


def mebibytes(n_bytes: float | None) -> str:
    return significant(n_bytes / 2**20) if is_known(n_bytes) else UNKNOWN


def p_value(p: float | None, name: str = "") -> str:
    """`0.012`, or `p = 0.012` with a name; small ones are given as a bound: their digits mean nothing."""
    if is_known(p) and p < 1e-4:
        return f"{name} < 0.0001".lstrip()
    text = f"{p:.2g}" if is_known(p) else "not known" if name else UNKNOWN
    return f"{name} = {text}" if name else text


def correlation(rho: float | None, unknown: str = UNKNOWN) -> str:
    return f"{rho:+.2f}" if is_known(rho) else unknown


def calibration(name: str, value: float | None) -> str:
    """A measure of calibration, named as in records: shares in percent, others as they are."""
    if not is_known(value):
        return UNKNOWN
    if name in ("ece", "coverage"):
        return f"{100 * value:.1f}"
    if name == "set_size":
        return f"{value:.2f}"
    return f"{value:.3f}" if value < 1000 else f"{value:.3g}"


def metric_title(name: str, unit: str | None) -> str:
    """`macro F1, %` of macro_f1."""
    words = name.replace("_f1", "_F1").replace("_", " ")
    return f"{words}, %" if unit == "%" else words
