"""What is settled of an adaptation by its labels or its run: how many steps, and the temperature."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from coldstart_cli.bundles.adapting.preparing import AdaptPlan, Prepared
from coldstart_cli.bundles.judging import temperature
from coldstart_cli.bundles.judging.held_out_labels import Answers, Rehearsal, takes_steps
from coldstart_cli.bundles.judging.source_temperature import source_temperature
from coldstart_cli.bundles.kept.card import BY_LABELS, BY_UNLABELLED, CLOSED_FORM, NO_LABELS
from coldstart_cli.errors import RequestError
from coldstart_cli.evaluation.step_choice import by_unlabelled
from coldstart_cli.files.durable import read_json
from coldstart_cli.runs.run import Run


def chosen_steps(
    rehearsal: Rehearsal, candidates: Sequence[int], plan: AdaptPlan, run: Run | None
) -> tuple[int, str]:
    """The number of adaptation steps, and how it was chosen."""
    n_labels = len(rehearsal.support)
    if not takes_steps(rehearsal.strategy, rehearsal.support):  # however many were given
        return 0, CLOSED_FORM if n_labels else NO_LABELS
    if len(candidates) == 1:
        return candidates[0], "given"
    best = rehearsal.best(candidates, plan.folds_to_select)
    if best is not None:
        return best, BY_LABELS
    support = rehearsal.support
    if support.unlabelled is not None and support.source_classes is not None and support.targets.ndim == 1:
        # A shift of domain: what validation tasks of the source chose says nothing of this one.
        return by_unlabelled(rehearsal.strategy, support, candidates), BY_UNLABELLED
    lack = f"({'too few' if n_labels else 'no'} labels for cross-validation)"
    known = _steps_of(run)
    if known is not None:
        return known, f"validation tasks of the run {lack}"
    return max(candidates), f"the most of evaluation.steps {lack}"


def _steps_of(run: Run | None) -> int | None:
    """What validation chose in the run's newest evaluation, at its smallest k."""
    if run is None or not (run.path / "evaluations").is_dir():
        return None
    summaries = sorted((run.path / "evaluations").glob("*/summary.json"), key=lambda p: p.stat().st_mtime)
    if not summaries:
        return None
    shots = read_json(summaries[-1], "run")["shots"]
    return int(shots[min(shots, key=int)]["new"]["step"])


def calibrated(
    config: Mapping[str, Any],
    plan: AdaptPlan,
    run: Run | None,
    ready: Prepared,
    answers: Answers | None,
    step: int,
) -> tuple[float, str]:
    """The temperature of the probabilities, and what it was fitted on."""
    if not ready.task.labelled.classes:
        return 1.0, "none: a regression"
    if answers is not None:
        return temperature.temperature(answers.outputs, answers.targets, answers.n_different), BY_LABELS
    few = "too few labels" if len(ready.support) else "no labels"
    if run is None:
        return 1.0, f"none: {few}, and no trained run whose validation tasks could tell"
    try:
        return source_temperature(config, ready.hardware, run, ready.task, step, plan.tasks_to_calibrate)
    except RequestError as error:
        return 1.0, f"none: {few}, and the run's validation tasks cannot be had ({error})"
