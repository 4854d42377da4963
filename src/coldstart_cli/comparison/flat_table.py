"""The comparison as one flat table, for spreadsheets: a row for each setting, k and contestant."""

from __future__ import annotations

from coldstart_cli.comparison.findings import Comparison, Costs
from coldstart_cli.metrics.budgets import measured
from coldstart_cli.metrics.numbers import MeanInterval
from coldstart_cli.safe_text import csv_text

COSTS = ("adaptation_ms", "p50_ms", "p95_ms", "parameters")
"""Those that have a column, by their names in a budget."""


def csv_of(comparison: Comparison) -> str:
    """The flat table as CSV."""
    return csv_text(rows(comparison))


def rows(comparison: Comparison) -> list[dict[str, object]]:
    """The flat table; all rows have the same columns, whatever metrics each setting knows."""
    others = list(dict.fromkeys(name for s in comparison.settings for name in s.other_metrics))
    found: list[dict[str, object]] = []
    for setting in comparison.settings:
        for k, at in setting.shots.items():
            for name, standing in at.results.items():
                contestant = setting.contestant(name)
                row: dict[str, object] = {
                    "setting": setting.title,
                    "metric": setting.headline,
                    "k": k,
                    "contestant": name,
                    "strategy": contestant.strategy,
                    "model": contestant.model,
                    "seeds": len(contestant.seeds),
                    "tasks": at.n_tasks,
                    "mean": standing.mean,
                    "half_width": standing.half_width,
                    "rank": standing.rank,
                    "winner": name in at.winners,
                    **_interval("gain", standing.gain),
                    **_costs(contestant.costs, k),
                    "bank": at.bank,
                }
                for metric in others:
                    row |= _interval(metric, standing.metrics.get(metric))
                found.append(row)
    return found


def _interval(name: str, of: MeanInterval | None) -> dict[str, float | None]:
    """Two columns, empty where there is nothing: a run was evaluated without that metric."""
    mean, half_width = (None, None) if of is None else (of.mean, of.half_width)
    return {name: mean, f"{name}_half_width": half_width}


def _costs(costs: Costs | None, k: int) -> dict[str, float | None]:
    known = {} if costs is None else measured(costs, k)
    return {name: known.get(name) for name in COSTS}
