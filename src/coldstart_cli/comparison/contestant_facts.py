"""What a contestant is and costs, over all its runs; and what it needs in labels."""

from __future__ import annotations

import math
import statistics as plain
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from coldstart_cli.comparison.contestants import Contestant
from coldstart_cli.comparison.results import Result
from coldstart_cli.comparison.standings import known
from coldstart_cli.metrics import measures

Dict = dict[str, Any]


def facts(member: Contestant) -> Dict:
    """What a contestant is and costs; of several runs the median."""
    results = member.results
    own = [] if member.baseline else results
    costs = [result.summary["costs"] for result in own]
    hardware = [result.summary["hardware"] for result in own]
    training = [result.summary["training"] for result in own]
    numbers = ("steps", "seconds", "examples")
    return {
        "name": member.name,
        "strategy": member.strategy,
        "model": member.model,
        "baseline": member.baseline,
        "transductive": bool(own and own[0].summary["transductive"]),
        "seeds": member.seeds,
        "runs": sorted({str(result.path) for result in own}),
        "costs": _median(costs, without=("beside",)) if costs else None,
        "hardware": dict(hardware[0]) if hardware else None,
        "budgets": _budgets(own),
        "training": {n: _median([t.get(n) for t in training]) for n in numbers if n in training[0]}
        if training
        else None,
    }


def _budgets(results: Sequence[Result]) -> Dict:
    """Kept where every run kept it; the measured value is the median."""
    rows = [result.summary.get("budgets") or {} for result in results]
    return {
        name: {
            "limit": rows[0][name]["limit"],
            "measured": _median([row[name]["measured"] for row in rows]),
            "kept": all(row[name]["kept"] for row in rows),
        }
        for name in (rows[0] if rows else {})
        if all(name in row for row in rows)
    }


def _median(values: Sequence[Any], without: Iterable[str] = ()) -> Any:
    """Number by number through nested dicts; a key that a run lacks counts for the others."""
    known = [value for value in values if value is not None]
    if not known:
        return None
    if isinstance(known[0], Mapping):
        keys = [key for key in dict.fromkeys(key for value in known for key in value) if key not in without]
        return {key: _median([value.get(key) for value in known]) for key in keys}
    return plain.median(known)


def reference_curve(
    name: str, references: Mapping[int, Mapping[str, Contestant]], shots: Mapping[str, Dict]
) -> dict[int, float]:
    """k -> mean of what the contestant's gain is measured against at that k."""
    curve = {k: shots[str(k)]["results"][of[name].name]["mean"] for k, of in references.items() if name in of}
    return {k: mean for k, mean in curve.items() if mean is not None}


def _means(name: str, shots: Mapping[str, Dict]) -> dict[int, float]:
    """k -> mean of a contestant."""
    return {
        int(k): row["results"][name]["mean"]
        for k, row in shots.items()
        if name in row["results"] and row["results"][name]["mean"] is not None
    }


def over_shots(
    member: Contestant, shots: Mapping[str, Dict], reference: Mapping[int, float], higher: bool
) -> Dict:
    means = _means(member.name, shots)
    needed = {
        str(k): known(measures.label_efficiency(mean, reference, higher)) if reference else None
        for k, mean in means.items()
    }
    axis = {math.log2(k): mean for k, mean in means.items() if k > 0}
    reached = measures.shots_to(means, 0.95, higher) if axis else math.inf
    return {
        "area": measures.area_under(axis) if axis else None,
        "shots_to_95": known(reached),
        "label_efficiency": needed,
    }
