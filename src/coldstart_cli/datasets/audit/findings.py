"""What an audit says: a line for each check, with the leaks it found."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

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


@dataclass(frozen=True, slots=True)
class BankRow:
    """The first tasks of a split in one shape.

    Attributes:
        uses: training, validation, evaluation: what draws these tasks.
        split: that they are drawn from.
        shape: ways, shots and queries, in words.
        n_tasks: that were drawn.
        n_distinct: different ones among them, unlabelled examples apart.
        digest: equal on two machines exactly when all these tasks are.
    """

    uses: tuple[str, ...]
    split: str
    shape: str
    n_tasks: int
    n_distinct: int
    digest: str


@dataclass(frozen=True, slots=True, kw_only=True)
class DataAudit:
    """All of an audit, as `data check --json` prints it.

    Attributes:
        name: of the data set's config.
        settings: that config.
        fingerprint: of the data's content.
        facts: split -> what it holds, in words.
        n_leaks: of all findings.
        not_served: what a run leaves out, and why.
        unreadable: what your own data hold that could not be read, a line each.
        bank: of the tasks of each use.
    """

    name: str
    settings: Mapping[str, Any]
    fingerprint: str
    facts: Mapping[str, str]
    n_leaks: int
    findings: Sequence[Finding]
    not_served: Sequence[str]
    unreadable: Sequence[str]
    bank: Sequence[BankRow]


def finding(check: str, checked: str, leaks: Leaks, note: str) -> Finding:
    return Finding(check, checked, leaks.n, tuple(leaks.first), note)


def counted(n: int, what: str) -> str:
    """`1 class`, `2,000 classes`: the plural takes -s, -es after s, and -ies for y."""
    if n == 1:
        return f"1 {what}"
    ending = "es" if what.endswith("s") else "ies" if what.endswith("y") else "s"
    return f"{n:,} {what.removesuffix('y') if what.endswith('y') else what}{ending}"
