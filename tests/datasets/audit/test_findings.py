"""Leaks are counted, and the first are told."""

from __future__ import annotations

import pytest

from coldstart_cli.datasets.audit.findings import FIRST, Leaks, counted, finding


def test_leaks_tell_the_first_and_count_all() -> None:
    leaks = Leaks()
    for number in range(FIRST + 3):
        leaks.add(str(number))
    found = finding("check", "13 tasks", leaks, "")
    assert found.n_leaks == 13
    assert found.leaks == tuple(map(str, range(10)))


@pytest.mark.parametrize(
    ("n", "what", "text"),
    [(1, "class", "1 class"), (0, "class", "0 classes"), (2, "query", "2 queries"), (1, "query", "1 query"),
     (2000, "task", "2,000 tasks")],
)  # fmt: skip
def test_counted_speaks_plainly(n: int, what: str, text: str) -> None:
    assert counted(n, what) == text
