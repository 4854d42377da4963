"""Who wins, for whom, and what would have to be run to know: from pairs of estimates to sentences.

The winners at a k are the contestants that no other beats. Holm's correction is over the m - 1 comparisons
of a contestant with all others: whether it is among the best is asked of these alone, and that the best of
the sample is one of them costs nothing more (Hsu 1984, "Constrained simultaneous confidence intervals for
multiple comparisons with the best", Annals of Statistics 12). A pair belongs to two such families and takes
the larger p of both, so that the verdict is the same from either side.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping, Sequence
from itertools import groupby
from typing import Any

from coldstart_cli.metrics import significance
from coldstart_cli.metrics.numbers import Numbers

MOST_SEEDS, MOST_TASKS = 50, 10_000
"""To run more than these is no advice."""

Dict = dict[str, Any]


def judged(
    pairs: Sequence[Dict],
    estimates: Sequence[significance.Estimate],
    results: Mapping[str, Dict],
    zone: float,
    confidence: float,
    higher_is_better: bool,
) -> list[str]:
    """Writes difference, p values and verdict into each pair and the rank into each result.

    Args:
        estimates: of a minus b for each pair, positive where a is better.
        zone: a difference within +-zone does not matter.

    Returns:
        The winners, best mean first.
    """
    adjusted = [0.0] * len(pairs)
    for name in results:
        family = [i for i, pair in enumerate(pairs) if name in (pair["a"], pair["b"])]
        corrected = significance.holm([estimates[i].p for i in family])
        for i, p in zip(family, corrected, strict=True):
            adjusted[i] = max(adjusted[i], p) if not math.isnan(p) else math.nan
    beats = set()
    for pair, estimate, p in zip(pairs, estimates, adjusted, strict=True):
        verdict = significance.verdict(estimate, p, zone, confidence)
        pair |= {
            "difference": _known(estimate.mean),
            "half_width": _known(estimate.half_width),
            "p": _known(estimate.p),
            "p_holm": _known(p),
            "verdict": verdict,
            "seeds": estimate.n_seeds,
            "seeds_needed": None,
            "tasks_needed": None,
        }
        if verdict == "win":
            beats.add((pair["a"], pair["b"]))
        elif verdict == "loss":
            beats.add((pair["b"], pair["a"]))
        elif verdict == "undecided":
            pair["seeds_needed"], pair["tasks_needed"] = _needed(estimate, zone, confidence, len(results))
    for name, rank in significance.ranks(list(results), beats).items():
        results[name]["rank"] = rank
    return unbeaten(by_mean(results, higher_is_better), beats)


def _needed(
    estimate: significance.Estimate, zone: float, confidence: float, m: int
) -> tuple[int | None, int | None]:
    """(seeds of as many tasks, tasks of as many seeds) that would tell, if all is as it was estimated.

    The difference from zero, after Holm over m - 1 comparisons; or, where it is small, that it is a tie.
    """
    reach = abs(estimate.mean)
    target, level = (
        (reach, 1 - (1 - confidence) / max(m - 1, 1))
        if reach > zone / 2
        else (zone - reach, 2 * confidence - 1)
    )
    found = significance.needed(estimate, target, level, n_tasks_possible=MOST_TASKS)
    seeds = None if found.seeds is None or found.seeds.n_seeds > MOST_SEEDS else found.seeds.n_seeds
    return seeds, None if found.tasks is None else found.tasks.n_tasks


def unbeaten(names: Sequence[str], beats: Collection[tuple[str, str]]) -> list[str]:
    """Those that no other of them beats; the first where every one is beaten, as in a circle."""
    found = [name for name in names if not any((other, name) in beats for other in names)]
    return found or list(names[:1])


def by_mean(results: Mapping[str, Dict], higher_is_better: bool) -> list[str]:
    """Names, best mean first; those without one last."""
    sign = -1.0 if higher_is_better else 1.0

    def place(name: str) -> tuple[bool, float]:
        mean = results[name]["mean"]
        return mean is None, 0.0 if mean is None else sign * mean

    return sorted(results, key=place)


def between(pairs: Sequence[Dict], a: str, b: str) -> Dict:
    """The pair seen from a: difference and verdict turned where it is stored the other way round."""
    for pair in pairs:
        if (pair["a"], pair["b"]) == (a, b):
            return pair
        if (pair["a"], pair["b"]) == (b, a):
            turned = {"win": "loss", "loss": "win"}
            difference = None if pair["difference"] is None else -pair["difference"]
            verdict = turned.get(pair["verdict"], pair["verdict"])
            return {**pair, "a": a, "b": b, "difference": difference, "verdict": verdict}
    raise KeyError(f"{a}, {b}")


def sentences(setting: Mapping[str, Any]) -> list[str]:
    """The verdict on a setting: one sentence for each run of k with the same winners, one on cost."""
    found = []
    shots = setting["shots"]
    if not shots:
        return ["no two contestants share tasks at any k: evaluate them on the same data and shapes"]
    if len(setting["contestants"]) < 2:
        return [f"only {setting['contestants'][0]['name']} was run: nothing to compare it with"]
    for _, group in groupby(shots, key=lambda k: _winning(shots[k], setting)):
        ks = list(group)
        found.append(_sentence(ks, shots, setting))
    cost = cheapest(setting, next(iter(shots)))
    return [*found, *([cost] if cost else [])]


def _winning(row: Mapping[str, Any], setting: Mapping[str, Any]) -> tuple[object, ...]:
    """What makes two k tell the same story."""
    winners = row["winners"]
    if len(winners) == 1:
        return ("alone", winners[0])
    verdicts = {between(row["pairs"], winners[0], other)["verdict"] for other in winners[1:]}
    if verdicts == {"tie"}:
        return ("tie", *sorted(winners))
    return ("undecided", *winners)


def _sentence(ks: Sequence[str], shots: Mapping[str, Any], setting: Mapping[str, Any]) -> str:
    row = shots[ks[0]]
    best, *others = row["winners"]
    where = _where(ks, list(shots))
    if not others:
        names = by_mean(row["results"], setting["higher_is_better"])
        if len(names) < 2:
            return f"{where} only {best} was evaluated"
        second = names[1]
        pair = between(row["pairs"], best, second)
        at = f" at k = {ks[0]}" if len(ks) > 1 else ""
        return f"{where} {best} wins by {amount(pair, setting)}{at} over {second}, the next"
    by_verdict: dict[str, list[str]] = {}
    for other in others:
        by_verdict.setdefault(between(row["pairs"], best, other)["verdict"], []).append(other)
    ties, open_ = by_verdict.get("tie", []), by_verdict.get("undecided", [])
    if not open_:
        zone = Numbers.of(setting["percent"], []).zone(row["zone"])
        return f"{where} {_list([best, *ties])} tie (within {zone})"
    tied = f"; {_list(ties)} {'ties' if len(ties) == 1 else 'tie'} with it" if ties else ""
    nearest = between(row["pairs"], best, open_[0])
    rest = f" and {len(open_) - 1} more" if len(open_) > 1 else ""
    return (
        f"{where} {best} has the best mean, but the data cannot tell it from {open_[0]}{rest} "
        f"({amount(nearest, setting)} to {open_[0]}){tied}"
    )


def _where(ks: Sequence[str], every: Sequence[str]) -> str:
    if len(ks) == len(every):
        return "at every k" if len(every) > 1 else f"at k = {ks[0]}"
    if len(ks) == 1 and ks[0] not in (every[0], every[-1]):
        return f"at k = {ks[0]}"
    if ks[-1] == every[-1]:
        return f"from k = {ks[0]}" if len(ks) > 1 else f"at k = {ks[0]}"
    if ks[0] == every[0]:
        return f"at k <= {ks[-1]}" if len(ks) > 1 else f"at k = {ks[0]}"
    return f"at k = {ks[0]} to {ks[-1]}"


def amount(pair: Mapping[str, Any], setting: Mapping[str, Any]) -> str:
    """`3.1 ± 0.8 points`, or an error in its own unit."""
    return Numbers.of(setting["percent"], [pair["half_width"]]).amount(pair["difference"], pair["half_width"])


def _list(names: Sequence[str]) -> str:
    if len(names) == 1:
        return names[0]
    if len(names) > 4:
        return f"{', '.join(names[:3])} and {len(names) - 3} more"
    return f"{', '.join(names[:-1])} and {names[-1]}"


def cheapest(setting: Mapping[str, Any], k: str) -> str | None:
    """Of those that may be best, the one that adapts or answers at least twice as fast as the best."""
    row = setting["shots"][k]
    best, *others = row["winners"]
    costs = {c["name"]: c["costs"] for c in setting["contestants"]}
    if not others or costs.get(best) is None:
        return None
    found = []
    for what, key in (("adapt", "adaptation_ms"), ("answer", "p50_ms")):
        times = {name: ms for name in row["winners"] if (ms := _ms(costs[name], key, k))}
        if best not in times:
            continue
        quickest = min(times, key=lambda name: times[name])
        if times[best] >= 2 * times[quickest]:
            ratio = times[best] / times[quickest]
            found.append(f"{quickest} is {ratio:.1f}x faster to {what} than {best}")
    return f"of these at k = {k}, {' and '.join(found)}" if found else None


def _ms(costs: Mapping[str, Any] | None, key: str, k: str) -> float | None:
    """Milliseconds of adaptation at k, or of an answer at batch 1."""
    if costs is None:
        return None
    ms = costs["adaptation_ms"].get(k) if key == "adaptation_ms" else costs["inference"].get("1", {}).get(key)
    return None if ms is None else float(ms)


def _known(value: float) -> float | None:
    return float(value) if math.isfinite(value) else None
