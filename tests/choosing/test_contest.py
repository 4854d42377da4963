"""How the labels are dealt within the time."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from coldstart_cli.choosing.contest import Deal, dealt


def entrant(name: str, seconds: float, inner: int = 0) -> Any:
    def cost(n_folds: int, n_repeats: int) -> float:
        return n_folds * n_repeats * (inner + 1) * seconds * (1 - 1 / n_folds)

    plan = SimpleNamespace(folds_to_estimate=8, repeats_to_estimate=2)
    composed = SimpleNamespace(plan=plan)
    return SimpleNamespace(name=name, seconds=seconds, core=0.25, cost=cost, composed=composed)


@pytest.mark.parametrize(
    ("minutes", "deal", "left"),
    [
        (60, Deal(8, 2), ["quick", "slow"]),
        (16, Deal(8, 1), ["quick", "slow"]),
        (6, Deal(3, 1), ["quick", "slow"]),
        (4, Deal(2, 1), ["quick", "slow"]),
        (2, Deal(8, 2), ["quick"]),
        (0, Deal(2, 1), ["quick"]),
    ],
)
def test_fewer_folds_and_then_fewer_candidates(minutes: float, deal: Deal, left: list[str]) -> None:
    found, kept, left_out = dealt([entrant("slow", 100), entrant("quick", 1)], 60 * minutes, 0.0)
    assert found == deal and sorted(e.name for e in kept) == left
    assert set(left_out) == {"quick", "slow"} - set(left)
    assert all("give time_minutes=8" in why for why in left_out.values())
    assert all("minutes with 25 % of a core, as now, and" in why for why in left_out.values())


def test_what_takes_no_time_is_judged_where_entering_took_all() -> None:
    deal, kept, left_out = dealt([entrant("slow", 100), entrant("quick", 0.01), entrant("too", 0.01)], 60, 70)
    assert deal == Deal(8, 2) and [one.name for one in kept] == ["quick", "too"]
    # 70 s of entering, and twice the 200 s of two folds and an adaptation to all, and a minute
    assert left_out["slow"].endswith("and 0.1 are left; give time_minutes=9")
