"""`--for k=5,p95_ms=10`: the winner for one need, or what to run to find out."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

from coldstart_cli.comparison.findings import Comparison, ContestantFacts, RunFacts, Setting
from coldstart_cli.comparison.sentences import amount
from coldstart_cli.comparison.verdict import between, by_mean, unbeaten, wins
from coldstart_cli.errors import RequestError, suggestion
from coldstart_cli.metrics.budgets import LIMITS, measured
from coldstart_cli.metrics.numbers import duration, is_known

FLAGS = ("strategy", "seed", "again", "hardware.threads")
"""Keys that the advised command gives itself, or that do not change what is trained."""

NAMED = 4
"""Undecided contestants that are named; the others are counted."""


def parse(text: str) -> tuple[int, dict[str, float]]:
    """`k=5,p95_ms=10` -> (5, {"p95_ms": 10.0}).

    Raises:
        RequestError: for an unknown key, a value that is not a number from 0 on, or a missing k.
    """
    found: dict[str, float] = {}
    for part in text.split(","):
        key, equals, value = (piece.strip() for piece in part.partition("="))
        known = ["k", *LIMITS]
        if not equals or key not in known:
            raise RequestError(
                f"--for: {part.strip()!r} is not something to ask for; {suggestion(key, known)}"
            )
        try:
            found[key] = float(value)
        except ValueError as error:
            raise RequestError(f"--for: {key}={value} is not a number; write {key}=10") from error
        if not (math.isfinite(found[key]) and found[key] >= 0):
            raise RequestError(f"--for: {key}={value} is not a finite number from 0 on; write {key}=10")
    if "k" not in found:
        raise RequestError("--for: it does not say how many labels there are; write --for k=5")
    k = found.pop("k")
    if k != int(k):
        raise RequestError(f"--for: k={k:g} is not a number of labels; write a whole one (k=5)")
    return int(k), found


def answer(comparison: Comparison, text: str) -> list[str]:
    """The lines that answer a need, one setting after another.

    Raises:
        RequestError: as `parse`, and where no setting was evaluated at this k, naming those that were.
    """
    k, limits = parse(text)
    settings = [setting for setting in comparison.settings if k in setting.shots]
    if not settings:
        ks = sorted({known for setting in comparison.settings for known in setting.shots})
        raise RequestError(
            f"--for: k={k} was not evaluated; choose among k = {', '.join(map(str, ks))}, "
            f"or run coldstart evaluate run=DIR 'evaluation.k_shots=[{k}]'"
        )
    lines: list[str] = []
    for setting in settings:
        title = f"{setting.title}: " if len(comparison.settings) > 1 else ""
        lines += [f"{title}{line}" for line in _one(setting, k, limits, comparison.runs)]
    return lines


def _one(setting: Setting, k: int, limits: Mapping[str, float], runs: Sequence[RunFacts]) -> list[str]:
    """The lines for one setting: a winner, a tie, or the command that is likely to decide."""
    at = setting.shots[k]
    serving, lines = _within(setting, k, limits)
    asked = ", ".join([f"k = {k}", *(f"{name} <= {limit:g}" for name, limit in limits.items())])
    if not serving:
        return [f"for {asked}: none of {len(at.results)} contestants; {lines[0]}"]
    # A contestant over the limit must not beat the others here, so winners are found anew among the rest.
    names = by_mean({name: at.results[name] for name in serving}, setting.higher_is_better)
    best, *others = unbeaten(names, wins(at.pairs))
    found = [f"for {asked}: {best}"]
    if not others:
        second = next((name for name in names if name != best), None)
        over = "" if second is None else amount(between(at.pairs, best, second), setting)
        found[0] += f", {over} over {second}" if over else " (the only one)"
        return found + lines
    open_ = [n for n in others if between(at.pairs, best, n).verdict == "undecided"]
    if not open_:
        cheap = _quickest([best, *others], setting, k)
        found[0] += f", {', '.join(others)} tie: take any of them{cheap}"
        return found + lines
    found[0] = (
        f"for {asked}: the data cannot tell {best} from {', '.join(open_[:NAMED])}"
        + (f" and {len(open_) - NAMED} more" if len(open_) > NAMED else "")
        + f" ({amount(between(at.pairs, best, open_[0]), setting)} to {open_[0]})"
    )
    return [*found, *lines, *_to_find_out(setting, k, [best, *open_[:NAMED]], runs)]


def _within(setting: Setting, k: int, limits: Mapping[str, float]) -> tuple[list[str], list[str]]:
    """Contestants at k that keep all limits; lines on those left out."""
    kept, over, unknown = [], [], []
    for name in setting.shots[k].results:
        costs = setting.contestant(name).costs
        known = {} if costs is None else measured(costs, k)
        found = {limit: known.get(limit) for limit in limits}
        if any(value is None for value in found.values()):
            unknown.append(name)
        elif all(value <= limits[limit] for limit, value in found.items() if value is not None):
            kept.append(name)
        else:
            over.append(name)
    lines = [f"over the limit: {', '.join(over)}"] if over else []
    lines += [f"cost not measured: {', '.join(unknown)}"] if unknown else []
    return kept, lines


def _quickest(names: Sequence[str], setting: Setting, k: int) -> str:
    """Which of several to take, where the times of two or more are known."""
    costs = {name: setting.contestant(name).costs for name in names}
    times = {name: measured(own, k)["p95_ms"] for name, own in costs.items() if own is not None}
    known = {name: ms for name, ms in times.items() if is_known(ms)}
    if len(known) < 2:
        return ""
    name = min(known, key=lambda n: known[n])
    return f"; {name} answers quickest ({duration(known[name])} ms p95 at batch 1)"


def _to_find_out(setting: Setting, k: int, names: Sequence[str], runs: Sequence[RunFacts]) -> list[str]:
    """The command that is likely to decide, from the variance components of the closest pair."""
    at = setting.shots[k]
    pair = between(at.pairs, names[0], names[1])
    # A baseline is not trained by itself: it comes with every run that it is evaluated beside.
    trained = [c for name in names if not (c := setting.contestant(name)).baseline]
    seeds = sorted({seed for contestant in trained for seed in contestant.seeds})
    want = pair.seeds_needed
    # Where no number of seeds is known to decide, two more are a next step; an interval takes three at least.
    total = max(len(seeds) + 2, 3) if want is None else want
    new = [seed for seed in range(total + len(seeds)) if seed not in seeds][: max(total - len(seeds), 1)]
    lines = []
    if pair.tasks_needed is not None and want is None and len(seeds) > 1:
        lines.append(
            f"more tasks would tell: about {pair.tasks_needed} "
            f"(evaluation.n_tasks={pair.tasks_needed}), by coldstart evaluate run=DIR"
        )
    # One command for all strategies that were trained alike: a sweep shares their baselines.
    by_settings: dict[tuple[str, ...], list[str]] = {}
    for contestant in trained:
        by_settings.setdefault(_overrides(contestant, runs), []).append(contestant.strategy)
    for overrides, strategies in by_settings.items():
        chosen = ",".join(dict.fromkeys(strategies))
        command = ["coldstart train -m", f"strategy={chosen}", *overrides, f"seed={','.join(map(str, new))}"]
        lines.append(f"to find out: {' '.join(command)}")
    if want is not None:
        lines.append(f"(about {want} seeds of {at.n_tasks} tasks would show a difference of that size)")
    return lines


def _overrides(contestant: ContestantFacts, runs: Sequence[RunFacts]) -> tuple[str, ...]:
    """What was typed to train it, without what the new command says itself."""
    run = next(run for run in runs if run.path in contestant.runs)
    typed = run.environment.get("command_line", [])[2:]  # without `coldstart train`
    kept = [t for t in typed if not t.startswith("-") and t.split("=")[0] not in FLAGS]
    return tuple(f"'{t}'" if any(c in t for c in "[](){} $*") else t for t in kept)
