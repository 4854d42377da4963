"""What an audit says: a line for each check, with the leaks it found."""

from __future__ import annotations

from dataclasses import dataclass, field

FIRST = 10
"""Leaks of each kind that are told one by one; the others are counted."""


@dataclass(slots=True)
class Leaks:
    """A count, and the first `FIRST` in words."""

    n: int = 0
    first: list[str] = field(default_factory=list)

    def add(self, line: str) -> None:
        self.n += 1
        if len(self.first) < FIRST:
            self.first.append(line)


@dataclass(frozen=True, slots=True)
class Finding:
    """One check.

    Attributes:
        check: what was checked.
        checked: how many things were; empty where the check does not apply.
        n_leaks: how many of them leak.
        leaks: the first of these, one line each.
        note: what is declared, or why nothing was checked.
    """

    check: str
    checked: str
    n_leaks: int
    leaks: tuple[str, ...]
    note: str


def finding(check: str, checked: str, leaks: Leaks, note: str) -> Finding:
    return Finding(check, checked, leaks.n, tuple(leaks.first), note)


def counted(n: int, what: str) -> str:
    """`1 class`, `2,000 classes`: the plural takes -s, -es after s, and -ies for y."""
    if n == 1:
        return f"1 {what}"
    ending = "es" if what.endswith("s") else "ies" if what.endswith("y") else "s"
    return f"{n:,} {what.removesuffix('y') if what.endswith('y') else what}{ending}"
