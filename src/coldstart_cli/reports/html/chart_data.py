"""What the script of the HTML report draws: a comparison with contestants by position, not by name.

A name that a script uses as a key may be `__proto__`; a position cannot.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields, is_dataclass, replace
from typing import Any, TypeVar

from coldstart_cli.comparison.findings import AtK, Comparison, Setting, Standing
from coldstart_cli.comparison.verdict import starred
from coldstart_cli.metrics.json_edge import to_json
from coldstart_cli.reports.comparison_table import numbers_of
from coldstart_cli.safe_text import printable

COLOURS = 8
"""Contestants that are drawn in colour at first: those that a reader can still tell apart."""

_KEPT = "\n\t\xa0\u3000\u200c\u200d"
"""Spaces that a browser shows, and what joins the letters of Persian and the parts of an emoji."""


T = TypeVar("T")


def visible(value: T) -> T:
    """The same in characters that are seen, and with None for numbers that JSON does not know.

    A name may hold what makes text read otherwise than it is; a config may hold an infinity.
    """
    shown: T = _visible(value)
    return shown


def _visible(value: Any) -> Any:
    if isinstance(value, str):
        return printable(value, kept=_KEPT)
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if is_dataclass(value) and not isinstance(value, type):
        return replace(value, **{part.name: _visible(getattr(value, part.name)) for part in fields(value)})
    if isinstance(value, Mapping):
        return {_visible(key): _visible(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        shown = [_visible(item) for item in value]
        return tuple(shown) if isinstance(value, tuple) else shown
    return value


def drawn(comparison: Comparison) -> dict[str, Any]:
    """The numbers behind every chart as JSON, rounded to six digits."""
    return {"settings": [_rounded(_setting(setting)) for setting in comparison.settings]}


def _setting(setting: Setting) -> dict[str, Any]:
    names = [contestant.name for contestant in setting.contestants]
    return {
        "title": setting.title,
        "headline": setting.headline,
        "percent": setting.percent,
        "higher": setting.higher_is_better,
        "chance": setting.chance,
        "decimals": numbers_of(setting).decimals,
        "ks": [str(k) for k in setting.shots],
        "contestants": [{"name": c.name, "baseline": c.baseline} for c in setting.contestants],
        "order": best_first(setting),
        "coloured": COLOURS,
        "shots": [_at_k(setting, at, names) for at in setting.shots.values()],
        "costs": [to_json(cost) for cost in costs(setting)],
        "similarity": [to_json(similarity) for similarity in setting.similarity],
    }


def best_first(setting: Setting) -> list[int]:
    """Positions of contestants in the order in which they get a colour.

    By the best rank at any k, then the mean rank, then the mean: who wins only at the largest k is seen. The
    best baseline comes among the first, because gains are read against it.
    """
    contestants = setting.contestants
    sign = 1 if setting.higher_is_better else -1
    places: list[tuple[float, ...]] = []
    for contestant in contestants:
        found = [at.results.get(contestant.name) for at in setting.shots.values()]
        standings = [standing for standing in found if standing is not None]
        ranks = [standing.rank for standing in standings]
        means = [sign * standing.mean for standing in standings if standing.mean is not None]
        places.append(
            (min(ranks), statistics.fmean(ranks), -statistics.fmean(means) if means else math.inf)
            if ranks
            else (math.inf,)
        )
    order = sorted(range(len(contestants)), key=lambda i: places[i])
    baseline = next((i for i in order if contestants[i].baseline), None)
    if baseline is not None and order.index(baseline) >= COLOURS:
        order.remove(baseline)
        order.insert(COLOURS - 1, baseline)
    return order


def _at_k(setting: Setting, at: AtK, names: Sequence[str]) -> dict[str, Any]:
    position = {name: i for i, name in enumerate(names)}
    return {
        "results": [_standing(at.results.get(name)) for name in names],
        # A list for each pair, not a mapping: of 40 contestants there are 780 at every k
        "pairs": [
            [position[pair.a], position[pair.b], pair.difference, pair.half_width, pair.p, pair.p_holm,
             pair.p_wilcoxon, pair.verdict]
            for pair in at.pairs
        ],
        "winners": [position[name] for name in starred(setting, at)],
    }  # fmt: skip


def _standing(standing: Standing | None) -> dict[str, Any] | None:
    if standing is None:
        return None
    steps = standing.steps
    return {
        "mean": standing.mean,
        "half_width": standing.half_width,
        "rank": standing.rank,
        "steps": [steps] if isinstance(steps, int) else steps,
        "curve": [[step, at.mean, at.half_width] for step, at in sorted(standing.curve.items())],
    }


@dataclass(frozen=True, slots=True)
class Cost:
    """One kind of cost of all contestants.

    Attributes:
        name, label: as the reader chooses it, and as its axis says it.
        values: for each k, of each contestant.
    """

    name: str
    label: str
    unit: str
    values: Sequence[Sequence[float | None]]


def costs(setting: Setting) -> list[Cost]:
    """Every cost that some contestant is known to have."""
    known = [contestant.costs for contestant in setting.contestants]
    sizes = dict.fromkeys(size for cost in known if cost is not None for size in cost.inference)
    training = [contestant.training for contestant in setting.contestants]
    ks = list(setting.shots)

    def same(values: Sequence[float | None]) -> list[Sequence[float | None]]:
        return [values] * len(ks)

    def answering(size: int) -> list[float | None]:
        times = [cost and cost.inference.get(size) for cost in known]
        return [of and of.p95_ms for of in times]

    found = [
        *(Cost(f"answer, batch {size}", "p95 latency", "ms", same(answering(size))) for size in sizes),
        Cost("adapt", "adaptation to one task", "ms",
             [[cost and cost.adaptation_ms.get(k) for cost in known] for k in ks]),
        Cost("parameters", "parameters", "", same([cost and cost.parameters for cost in known])),
        Cost("FLOP", "FLOP for one input", "", same([cost and cost.flops for cost in known])),
        Cost("memory", "peak memory", "B", same([cost and cost.peak_memory for cost in known])),
        Cost("train", "training", "s", same([of and of.seconds for of in training])),
    ]  # fmt: skip
    # A cost that is 0 or unknown for all has no axis to be drawn against.
    return [cost for cost in found if any(value for row in cost.values for value in row)]


def _rounded(value: Any) -> Any:
    if isinstance(value, float):
        return float(f"{value:.6g}")
    if isinstance(value, Mapping):
        return {key: _rounded(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_rounded(item) for item in value]
    return value
