"""The verdict on a setting in sentences: who wins from which k on, and which winner costs least."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import groupby

from coldstart_cli.comparison.findings import AtK, Pair, Setting
from coldstart_cli.comparison.verdict import between, by_mean
from coldstart_cli.metrics.budgets import measured
from coldstart_cli.metrics.numbers import Numbers

FASTER = 2
"""A winner is called faster from this ratio of times on: smaller ones may be the machine's mood."""


def sentences(setting: Setting) -> list[str]:
    """One sentence for each stretch of k with the same winners, then one on cost."""
    shots = setting.shots
    if not shots:
        return ["no two contestants share tasks at any k: evaluate them on the same data and shapes"]
    if len(setting.contestants) < 2:
        return [f"only {setting.contestants[0].name} was run: nothing to compare it with"]
    found = []
    for _, stretch in groupby(shots, key=lambda k: _story(shots[k])):
        found.append(_sentence(list(stretch), setting))
    cost = cheapest(setting, next(iter(shots)))
    return [*found, *([cost] if cost else [])]


def _story(at: AtK) -> tuple[str, ...]:
    """What two k must have in common to share a sentence."""
    best, *others = at.winners
    if len(at.results) < 2:
        return ("only", best)
    if not others:
        return ("alone", best)
    # Winners that tie are named in any order; of those that are undecided the best mean is named first.
    if {between(at.pairs, best, other).verdict for other in others} == {"tie"}:
        return ("tie", *sorted(at.winners))
    return ("undecided", *at.winners)


def _sentence(ks: Sequence[int], setting: Setting) -> str:
    at = setting.shots[ks[0]]
    best, *others = at.winners
    where = _where(ks, setting)
    if not others:
        names = by_mean(at.results, setting.higher_is_better)
        if len(names) < 2:
            return f"{where} only {best} was evaluated"
        second = names[1]
        pair = between(at.pairs, best, second)
        # Amounts differ from k to k: a sentence over several says which one its amount is of.
        of = f" at k = {ks[0]}" if len(ks) > 1 else ""
        return f"{where} {best} wins by {amount(pair, setting)}{of} over {second}, the next"
    by_verdict: dict[str, list[str]] = {}
    for other in others:
        by_verdict.setdefault(between(at.pairs, best, other).verdict, []).append(other)
    ties, open_ = by_verdict.get("tie", []), by_verdict.get("undecided", [])
    if not open_:
        zone = Numbers.of(setting.percent, []).zone(at.zone)
        return f"{where} {_list([best, *ties])} tie (within {zone})"
    tied = f"; {_list(ties)} {'ties' if len(ties) == 1 else 'tie'} with it" if ties else ""
    nearest = between(at.pairs, best, open_[0])
    rest = f" and {len(open_) - 1} more" if len(open_) > 1 else ""
    return (
        f"{where} {best} has the best mean, but the data cannot tell it from {open_[0]}{rest} "
        f"({amount(nearest, setting)} to {open_[0]}){tied}"
    )


def _where(ks: Sequence[int], setting: Setting) -> str:
    """A stretch of k in words; open to the side where no k was evaluated beyond it."""
    every = list(setting.shots)
    if len(ks) == 1:
        return f"at k = {ks[0]}"
    if any(len(at.results) < len(setting.contestants) for at in setting.shots.values()):
        return f"at k = {_list([str(k) for k in ks])}"  # not everyone was run at every k
    if len(ks) == len(every):
        return "at every k"
    if ks[-1] == every[-1]:
        return f"from k = {ks[0]}"
    return f"at k <= {ks[-1]}" if ks[0] == every[0] else f"at k = {ks[0]} to {ks[-1]}"


def amount(pair: Pair, setting: Setting) -> str:
    """`3.1 ± 0.8 points`, or an error in its own unit."""
    return Numbers.of(setting.percent, [pair.half_width]).amount(pair.difference, pair.half_width)


def _list(names: Sequence[str]) -> str:
    if len(names) == 1:
        return names[0]
    if len(names) > 4:
        return f"{', '.join(names[:3])} and {len(names) - 3} more"
    return f"{', '.join(names[:-1])} and {names[-1]}"


def cheapest(setting: Setting, k: int) -> str | None:
    """Of the winners, the one that adapts or answers much faster than the best; None where none does."""
    winners = setting.shots[k].winners
    costs = {name: setting.contestant(name).costs for name in winners}
    known = {name: measured(cost, k) for name, cost in costs.items() if cost is not None}
    found = [
        said
        for what, limit in (("adapt", "adaptation_ms"), ("answer", "p50_ms"))
        if (said := _faster(winners[0], what, {name: cost[limit] for name, cost in known.items()}))
    ]
    return f"of these at k = {k}, {' and '.join(found)}" if found else None


def _faster(best: str, what: str, times: Mapping[str, float | None]) -> str | None:
    known = {name: ms for name, ms in times.items() if ms}  # a clock that says 0 makes no ratio
    if best not in known:
        return None
    quickest = min(known, key=lambda name: known[name])
    ratio = known[best] / known[quickest]
    return f"{quickest} is {ratio:.1f}x faster to {what} than {best}" if ratio >= FASTER else None
