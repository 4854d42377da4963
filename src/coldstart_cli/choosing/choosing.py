"""`coldstart choose`: strategies tried on the labels of one task; the best of them becomes a bundle."""

from __future__ import annotations

import math
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Literal

from coldstart_cli.bundles.adapting.adapting import Rehearsed, bundled, unchanged
from coldstart_cli.bundles.adapting.estimates import estimated, without_luck
from coldstart_cli.bundles.adapting.outlook import kept_there
from coldstart_cli.bundles.adapting.settling import chosen_steps
from coldstart_cli.bundles.bundle import Bundle
from coldstart_cli.bundles.judging.held_out_labels import Answers, Rehearsal, Told
from coldstart_cli.choosing.contest import Deal, Judged, dealt, judged, scores
from coldstart_cli.choosing.entrants import Composed, Entrant, entered
from coldstart_cli.choosing.learning_curve import MOST_SIZES, REPEATS, MoreLabels, foretold, learning_curve
from coldstart_cli.choosing.plan import ChoosePlan
from coldstart_cli.core.tasks import Objective
from coldstart_cli.metrics.choice import Choice, choose

RULE, LABELS = "rule", "cross-validation"
"""What decided."""
QUICK = 0.1
"""Share of the time left that a quick candidate may take for more folds."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """A candidate that was judged.

    Attributes:
        name: as in `candidates/`, or of a run.
        strategy, model: of the candidate.
        value, low, high: of the metric by cross-validation, and its interval; of the winner less `luck`.
        balanced_accuracy: of classes.
        seconds: of an adaptation to all labels, about.
        p95_ms, mb: of an answer to one input, and of all that answers, with the encoder.
        place: winner, tied (cannot be told from the winner) or behind.
    """

    name: str
    strategy: str
    model: str
    value: float | None
    low: float | None
    high: float | None
    balanced_accuracy: float | None
    seconds: float
    p95_ms: float | None
    mb: float
    place: Literal["winner", "tied", "behind"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """What was tried and taken, and why.

    Attributes:
        metric: accuracy, or mse of a regression.
        winner: its name.
        adapt: words by which `coldstart adapt` makes the winner without choosing.
        seconds: of all.
        time_minutes: that were allowed.
        rows: the winner first, then by the metric.
        left_out: name -> why it was not judged.
        labels, classes: of the task.
        favourite, favoured: what the rule names, and why.
        by: `rule` or `cross-validation`.
        p: of the winner against the favourite, where cross-validation overruled it; else None.
        luck: what the winner's score lost for having been chosen.
        folds, repeats: of the comparison.
        more: what more labels would bring, or None where too few labels or too little time are left to tell.
    """

    metric: str
    rows: tuple[Row, ...]
    left_out: Mapping[str, str]
    labels: int
    classes: int
    winner: str
    adapt: tuple[str, ...]
    favourite: str
    favoured: str
    by: str
    p: float | None
    luck: float
    folds: int
    repeats: int
    more: MoreLabels | None
    seconds: float
    time_minutes: float


@dataclass(frozen=True, slots=True)
class Outlook:
    """What choosing would do: those who take part with the seconds of each, and why others do not.

    Attributes:
        notices: on a bundle that is there already.
        core: the share of a core that this process had where the times were taken, which they assume further.
    """

    seconds: Mapping[str, float]
    core: float
    left_out: Mapping[str, str]
    deal: Deal
    notices: tuple[str, ...]


def outlook(candidates: Sequence[Composed], asked: ChoosePlan) -> Outlook:
    """Reads, builds and times every candidate, and writes nothing.

    Raises:
        RequestError: where no candidate can serve the task.
    """
    started = time.perf_counter()
    entrants, left_out = entered(candidates, asked)
    deal, left, slow = dealt(entrants, 60 * asked.time_minutes, time.perf_counter() - started)
    costs = {e.name: e.cost(deal.n_folds, deal.n_repeats) for e in left}
    notices = kept_there(entrants[0].ready.earlier, entrants[0].composed.plan)
    return Outlook(costs, max(entrants, key=lambda e: e.seconds).core, {**left_out, **slow}, deal, notices)


def chosen(
    candidates: Sequence[Composed], asked: ChoosePlan, folder: Path, told: Told
) -> tuple[Verdict, Bundle]:
    """Judges the candidates, takes one, and writes its bundle; a bundle there becomes an earlier version.

    Args:
        folder: where answers are kept, so that the same command goes on.

    Raises:
        RequestError: where no candidate can serve the task, or a bundle of another task is there.
    """
    started = time.perf_counter()

    def time_left() -> float:
        return 60 * asked.time_minutes - (time.perf_counter() - started)

    entrants, left_out = entered(candidates, asked)
    deal, entrants, slow = dealt(entrants, 60 * asked.time_minutes, time.perf_counter() - started)
    judges = judged(entrants, deal, folder, told)
    place, favoured = favourite(judges, _frozen_share(judges, deal, folder, time_left(), told))
    choice = _choice(judges, place, asked.alpha)
    winner = judges[choice.winner]
    answers = _final_answers(winner, deal, folder, time_left(), told)
    more = _more(judges, choice.winner, time_left(), told)
    by = LABELS if choice.overruled else RULE
    said = f"chosen by coldstart choose among {len(judges)} candidates, by {by}"
    bundle = _bundled(winner.entrant, Rehearsed(0, "", answers, started, choice.luck, (said,)), told)
    task = winner.entrant.ready.task
    return Verdict(
        metric=task.objective.headline,
        rows=_rows(judges, choice),
        left_out={**left_out, **slow},
        labels=len(winner.entrant.ready.support),
        classes=len(task.labelled.classes),
        winner=winner.entrant.name,
        adapt=winner.entrant.composed.words,
        favourite=entrants[place].name,
        favoured=favoured,
        by=by,
        p=None if math.isnan(choice.p) else choice.p,
        luck=choice.luck,
        # fewer than were dealt for, where classes have fewer labels
        folds=deal.n_folds if winner.answers is None else winner.answers.n_folds,
        repeats=deal.n_repeats if winner.answers is None else winner.answers.n_repeats,
        more=more,
        seconds=time.perf_counter() - started,
        time_minutes=asked.time_minutes,
    ), bundle


def _choice(judges: Sequence[Judged], place: int, alpha: float) -> Choice:
    """By labels and rule, or by the rule alone where no label can be held out."""
    found = scores(judges)
    if found is None:
        return Choice(place, overruled=False, p=math.nan, tied=(), luck=0.0)
    return choose(*found, place, alpha=alpha, seed=judges[0].entrant.ready.support.seed)


def _bundled(entrant: Entrant, settled: Rehearsed, told: Told) -> Bundle:
    """The winner, its steps chosen by all labels; the bundle that is there, where it is the same."""
    composed, ready = entrant.composed, entrant.ready
    if (there := unchanged(composed.config, composed.plan, composed.run, ready)) is not None:
        return there
    whole = Rehearsal(ready.strategy, ready.support, ready.together, told)
    step, how = chosen_steps(whole, ready.candidates, composed.plan, composed.run)
    return bundled(composed.config, composed.plan, composed.run, ready, replace(settled, step=step, how=how))


def favourite(judges: Sequence[Judged], frozen: float | None) -> tuple[int, str]:
    """The place of the first candidate whose preference holds, and why it does.

    Args:
        frozen: the best accuracy of candidates with frozen features; None where it is not known: what asks
            for it then does not hold.
    """
    task = judges[0].entrant.ready.task
    for place, one in enumerate(judges):
        prefer = one.entrant.composed.candidate.prefer
        if prefer is None:
            continue
        named = one.entrant.ready.task.named and not one.entrant.ready.task.nameless
        holds = (
            (prefer.most_classes is None or 0 < len(task.labelled.classes) <= prefer.most_classes)
            and (prefer.frozen_below is None or (frozen is not None and frozen < prefer.frozen_below))
            and (prefer.named is None or prefer.named == named)
        )
        if holds:
            return place, prefer.said() or "the first of those that need no reason"
    return 0, "the first that can serve the task"


def _mean(one: Judged, objective: Objective) -> float | None:
    if one.answers is None:
        return None
    return float(objective.metrics(one.answers.outputs, one.answers.targets)[objective.headline])


def _frozen_share(
    judges: Sequence[Judged], deal: Deal, folder: Path, seconds: float, told: Told
) -> float | None:
    """The best accuracy of candidates with frozen features.

    In two folds, which a slow candidate may ask of all, learners see half of the labels and do worse than the
    one that would be used; the quick ones are asked in more.
    """
    objective = judges[0].entrant.ready.task.objective
    found = []
    for one in (one for one in judges if one.entrant.frozen):
        answers = _final_answers(one, deal, folder, QUICK * seconds, told)
        found.append(_mean(Judged(one.entrant, answers), objective))
    return max((value for value in found if value is not None), default=None)


def _final_answers(one: Judged, deal: Deal, folder: Path, seconds: float, told: Told) -> Answers | None:
    """The answers that it is judged by alone: in more folds than the comparison's, where time allows."""
    entrant, plan = one.entrant, one.entrant.composed.plan
    whole = Deal(plan.folds_to_estimate, plan.repeats_to_estimate)
    needed = entrant.cost(whole.n_folds, whole.n_repeats) + entrant.seconds
    if one.answers is None or deal == whole or needed > seconds:
        return one.answers
    return judged([entrant], whole, folder, told)[0].answers


def _more(judges: Sequence[Judged], winner: int, seconds: float, told: Told) -> MoreLabels | None:
    """The curve of the winner, or, where that takes too long, of the quickest that is not behind by much."""
    task = judges[winner].entrant.ready.task
    if judges[winner].answers is None or not task.labelled.classes:
        return None
    n_curve = REPEATS * MOST_SIZES
    kept = seconds - judges[winner].entrant.seconds
    able = [one for one in judges if 0.5 * n_curve * (one.entrant.inner + 1) * one.entrant.seconds <= kept]
    if not able:
        return None
    best = max(able, key=lambda one: _mean(one, task.objective) or 0.0)
    one = judges[winner] if judges[winner] in able else best
    entrant, ready = one.entrant, one.entrant.ready
    composed = entrant.composed
    rehearsal = Rehearsal(ready.strategy, ready.support, ready.together, told)

    def step(part: Rehearsal) -> int:
        return chosen_steps(part, ready.candidates, composed.plan, composed.run)[0]

    points = learning_curve(rehearsal, step, partial(told, "drawing the learning curve"))
    n, n_classes = len(ready.support), len(task.labelled.classes)
    return foretold(entrant.name, points, n, n / n_classes, _mean(one, task.objective) or 0.0)


def _rows(judges: Sequence[Judged], choice: Choice) -> tuple[Row, ...]:
    """The winner, then those that it cannot be told from, then the others; the better first."""
    rows = [_row(one, place, choice) for place, one in enumerate(judges)]
    rank = {"winner": 0, "tied": 1, "behind": 2}
    sign = -1.0 if judges[0].entrant.ready.task.objective.higher_is_better else 1.0
    return tuple(sorted(rows, key=lambda row: (rank[row.place], sign * (row.value or 0.0))))


def _row(one: Judged, place: int, choice: Choice) -> Row:
    entrant, task = one.entrant, one.entrant.ready.task
    found = None if one.answers is None else estimated(one.answers, task.objective, task.labelled.classes)
    won = place == choice.winner
    if found is not None and won:
        found = without_luck(found, choice.luck)
    names = entrant.composed.config["names"]
    return Row(
        name=entrant.name,
        strategy=names["strategy"],
        model=names["model"],
        value=None if found is None else found.mean,
        low=None if found is None else found.low,
        high=None if found is None else found.high,
        balanced_accuracy=None if found is None else found.balanced_accuracy,
        seconds=entrant.seconds,
        p95_ms=None if math.isnan(entrant.p95_ms) else entrant.p95_ms,
        mb=entrant.mb,
        place="winner" if won else "tied" if place in choice.tied else "behind",
    )
