"""What the script of the HTML report draws: a comparison with contestants by position, not by name.

A name that a script uses as a key may be `__proto__`; a position cannot.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Mapping, Sequence
from typing import Any

from coldstart_cli.reports.comparison_table import numbers_of
from coldstart_cli.safe_text import printable

Dict = Mapping[str, Any]

COLOURS = 8
"""Contestants that are drawn in colour at first: those that a reader can still tell apart."""

_KEPT = "\n\t\xa0\u3000\u200c\u200d"
"""Spaces that a browser shows, and what joins the letters of Persian and the parts of an emoji."""


def visible(value: Any) -> Any:
    """The same in characters that are seen: a name may hold what makes text read otherwise than it is."""
    if isinstance(value, str):
        return printable(value, kept=_KEPT)
    if isinstance(value, Mapping):
        return {visible(key): visible(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [visible(item) for item in value]
    return value


def drawn(comparison: Dict) -> dict[str, Any]:
    """The numbers behind every chart, rounded to six digits."""
    return {"settings": [_rounded(_setting(setting)) for setting in comparison["settings"]]}


def _setting(setting: Dict) -> dict[str, Any]:
    contestants = setting["contestants"]
    names = [contestant["name"] for contestant in contestants]
    return {
        **{key: setting[key] for key in ("title", "headline", "percent")},
        "higher": setting["higher_is_better"],
        "decimals": numbers_of(setting).decimals,
        "ks": list(setting["shots"]),
        "contestants": [{"name": c["name"], "baseline": c["baseline"]} for c in contestants],
        "order": best_first(setting),
        "coloured": COLOURS,
        "shots": [_shot(shot, names) for shot in setting["shots"].values()],
        "costs": costs(setting),
        "similarity": setting["similarity"],
    }


def best_first(setting: Dict) -> list[int]:
    """Positions of contestants in the order in which they get a colour.

    By the best rank at any k, then the mean rank, then the mean: who wins only at the largest k is seen. The
    best baseline comes among the first, because gains are read against it.
    """
    contestants = setting["contestants"]
    sign = 1 if setting["higher_is_better"] else -1
    places: list[tuple[float, ...]] = []
    for contestant in contestants:
        rows = [shot["results"].get(contestant["name"]) for shot in setting["shots"].values()]
        ranks = [row["rank"] for row in rows if row]
        means = [sign * row["mean"] for row in rows if row and row["mean"] is not None]
        places.append(
            (min(ranks), statistics.fmean(ranks), -statistics.fmean(means) if means else math.inf)
            if ranks
            else (math.inf,)
        )
    order = sorted(range(len(contestants)), key=lambda i: places[i])
    baseline = next((i for i in order if contestants[i]["baseline"]), None)
    if baseline is not None and order.index(baseline) >= COLOURS:
        order.remove(baseline)
        order.insert(COLOURS - 1, baseline)
    return order


def _shot(shot: Dict, names: Sequence[str]) -> dict[str, Any]:
    position = {name: i for i, name in enumerate(names)}
    return {
        "results": [_result(shot["results"].get(name)) for name in names],
        "pairs": [
            [position[pair["a"]], position[pair["b"]]]
            + [pair.get(key) for key in ("difference", "half_width", "p", "p_holm", "p_wilcoxon", "verdict")]
            for pair in shot["pairs"]
        ],
        "winners": [position[name] for name in shot["winners"]],
    }


def _result(row: Dict | None) -> dict[str, Any] | None:
    if row is None:
        return None
    steps = row.get("steps")
    curve = row.get("curve") or {}
    return {
        **{key: row.get(key) for key in ("mean", "half_width", "rank")},
        "steps": steps if isinstance(steps, list) else [] if steps is None else [steps],
        "curve": [
            [int(step), at["mean"], at["half_width"]]
            for step, at in sorted(curve.items(), key=lambda item: int(item[0]))
        ],
    }


def costs(setting: Dict) -> list[dict[str, Any]]:
    """Every cost that some contestant is known to have: its name, unit, and values for each k."""
    known = [contestant["costs"] or {} for contestant in setting["contestants"]]
    batches = dict.fromkeys(batch for cost in known for batch in cost.get("inference") or {})
    ks = list(setting["shots"])

    def same(values: list[float | None]) -> list[list[float | None]]:
        return [values] * len(ks)

    def timing(batch: str) -> list[float | None]:
        return [((cost.get("inference") or {}).get(batch) or {}).get("p95_ms") for cost in known]

    found = [
        *((f"answer, batch {batch}", "p95 latency", "ms", same(timing(batch))) for batch in batches),
        ("adapt", "adaptation to one task", "ms",
         [[(cost.get("adaptation_ms") or {}).get(k) for cost in known] for k in ks]),
        ("parameters", "parameters", "", same([cost.get("parameters") for cost in known])),
        ("FLOP", "FLOP for one input", "", same([cost.get("flops") for cost in known])),
        ("memory", "peak memory", "B", same([cost.get("peak_memory") for cost in known])),
        ("train", "training", "s",
         same([(c["training"] or {}).get("seconds") for c in setting["contestants"]])),
    ]  # fmt: skip
    return [
        {"name": name, "label": label, "unit": unit, "values": values}
        for name, label, unit, values in found
        if any(value for row in values for value in row)
    ]


def _rounded(value: Any) -> Any:
    if isinstance(value, float):
        return float(f"{value:.6g}")
    if isinstance(value, Mapping):
        return {key: _rounded(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_rounded(item) for item in value]
    return value
