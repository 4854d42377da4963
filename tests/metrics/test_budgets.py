"""Limits are kept or broken by what was measured, and by nothing else."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from coldstart_cli.metrics.budgets import Budget
from coldstart_cli.metrics.results import Costs, Times, Verdict

COSTS = Costs(
    inference={64: Times(50.0, 60.0), 1: Times(1.5, 2.5)},
    parameters=1000,
    flops=5000,
    peak_memory=300 * 2**20,
    beside={},
    adaptation_ms={10: 30.0, 2: 10.0},
)


def budget(**limits: Any) -> Budget:
    none = dict.fromkeys(("p50_ms", "p95_ms", "adaptation_ms", "parameters", "flops", "peak_memory_mib"))
    return Budget(**{**none, "enforce": False, **limits})


def test_budget_without_limits_judges_nothing() -> None:
    assert budget().limits == {}
    assert budget(enforce=True).verdicts(COSTS) == {}


def test_budget_by_hand() -> None:
    limits = {
        "p50_ms": 1.5, "p95_ms": 2.4, "adaptation_ms": 20.0, "parameters": 1000, "flops": 4999,
        "peak_memory_mib": 300.5,
    }  # fmt: skip
    assert budget(**limits).verdicts(COSTS) == {
        "p50_ms": Verdict(1.5, 1.5, True),  # of batch 1
        "p95_ms": Verdict(2.4, 2.5, False),
        "adaptation_ms": Verdict(20.0, 30.0, False),  # at k = 10, not at 2
        "parameters": Verdict(1000, 1000, True),
        "flops": Verdict(4999, 5000, False),
        "peak_memory_mib": Verdict(300.5, 300.0, True),
    }


@pytest.mark.parametrize("name", ["p50_ms", "p95_ms", "adaptation_ms", "parameters", "flops"])
@given(factor=st.floats(0.01, 100))
def test_budget_is_kept_up_to_its_limit(name: str, factor: float) -> None:
    measured = budget(**{name: 1}).verdicts(COSTS)[name].measured
    verdict = budget(**{name: measured * factor}).verdicts(COSTS)[name]
    assert verdict.kept == (factor >= 1)
