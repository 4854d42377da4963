"""Comparisons made from values alone, for tests of what is said of them; what no test varies is filled in."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from coldstart_cli.comparison.findings import (
    AtK,
    ContestantFacts,
    Costs,
    OverShots,
    Pair,
    Setting,
    Standing,
    Times,
)
from coldstart_cli.metrics.significance import Verdict


def standing(mean: float | None, **changes: Any) -> Standing:
    given: dict[str, Any] = {
        "half_width": 0.01, "bootstrap": [None, None], "rank": 1, "steps": 1, "source_test": None,
        "before": None, "curve": {}, "area": None, "steps_to_95": None, "calibration": None, "gain": None,
        "metrics": {}, **changes,
    }  # fmt: skip
    return Standing(mean=mean, **given)


def pair(a: str, b: str, difference: float, verdict: Verdict, **changes: Any) -> Pair:
    given: dict[str, Any] = {
        "half_width": 0.008, "p": 0.01, "p_holm": 0.02, "p_wilcoxon": 0.01, "seeds": 2, "seeds_needed": None,
        "tasks_needed": None, **changes,
    }  # fmt: skip
    return Pair(a=a, b=b, difference=difference, verdict=verdict, **given)


def at_k(
    means: Mapping[str, float], pairs: Sequence[Pair], winners: Sequence[str] = (), n_tasks: int = 600
) -> AtK:
    results = {name: standing(mean) for name, mean in means.items()}
    return AtK(n_tasks=n_tasks, bank="9f3a01bc", zone=0.005, results=results, pairs=pairs, winners=winners)


def costs(p95_ms: float | None = None, *, p50_ms: float | None = None, **adaptation_ms: float) -> Costs:
    """Of 1,000 parameters; adaptation_ms: `k5=10.0`."""
    times = {int(k.removeprefix("k")): ms for k, ms in adaptation_ms.items()}
    return Costs(
        {1: Times(p50_ms, p95_ms)}, parameters=1000, flops=1e6, peak_memory=2**24, adaptation_ms=times
    )


def contestant(name: str, of: Costs | None = None, **changes: Any) -> ContestantFacts:
    given: dict[str, Any] = {
        "strategy": name, "model": "conv4", "baseline": False, "transductive": False, "seeds": [0, 1],
        "runs": [f"outputs/{name}"], "hardware": None, "budgets": {}, "training": None,
        "over_shots": OverShots(None, None, {}), **changes,
    }  # fmt: skip
    return ContestantFacts(name=name, costs=of, **given)


def setting(shots: Mapping[int, AtK], *contestants: ContestantFacts, **changes: Any) -> Setting:
    """contestants: all that have a result, without costs, where none is given."""
    names = dict.fromkeys(name for at in shots.values() for name in at.results)
    given: dict[str, Any] = {
        "title": "toy, 5-way", "dataset": "toy", "n_way": 5, "headline": "accuracy", "higher_is_better": True,
        "percent": True, "zone": 0.005, "units": {"accuracy": "%"}, "similarity": [], "tasks": {},
        "sentences": [], **changes,
    }  # fmt: skip
    return Setting(shots=shots, contestants=contestants or [contestant(name) for name in names], **given)
