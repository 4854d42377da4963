"""`coldstart adapt`: a strategy, trained or pretrained, meets one labelled task; the result is a bundle."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from itertools import islice
from pathlib import Path
from typing import Annotated, Any

from annotated_types import Ge, Gt, Le, Lt

from coldstart_cli.bundles.adapting import notices
from coldstart_cli.bundles.adapting.changes import (
    Earlier,
    adapted_otherwise,
    changed,
    check_same_task,
    earlier_in,
)
from coldstart_cli.bundles.adapting.estimates import estimated, without_luck
from coldstart_cli.bundles.adapting.held_out_rows import rows_of
from coldstart_cli.bundles.adapting.own_task import ranges_for, read_task, shift_of, source_classes, task_of
from coldstart_cli.bundles.adapting.stated_test import scored
from coldstart_cli.bundles.adapting.untrained import said_of_untrained
from coldstart_cli.bundles.bundle import Bundle
from coldstart_cli.bundles.judging import temperature
from coldstart_cli.bundles.judging.batch_statistics import reads_its_batch, settled
from coldstart_cli.bundles.judging.held_out_labels import Answers, Rehearsal, Together, Told, takes_steps
from coldstart_cli.bundles.judging.kept_precision import kept_precision
from coldstart_cli.bundles.judging.source_temperature import source_temperature
from coldstart_cli.bundles.kept.card import (
    BY_LABELS,
    BY_UNLABELLED,
    CLOSED_FORM,
    NO_LABELS,
    Card,
    Changed,
    Seconds,
)
from coldstart_cli.bundles.kept.folder import check_place
from coldstart_cli.bundles.kept.kept_rows import KeptRows
from coldstart_cli.bundles.kept.origin import determined_by, made_of
from coldstart_cli.bundles.rebuild import build_section, has_adapter
from coldstart_cli.config.building import build
from coldstart_cli.core.stepping import last_step
from coldstart_cli.core.strategy import Strategy
from coldstart_cli.core.tasks import Support
from coldstart_cli.datasets.own.labelled import Labelled
from coldstart_cli.datasets.own.one_task import OneTask
from coldstart_cli.datasets.own.shift import InputRange
from coldstart_cli.errors import RequestError, Unserved
from coldstart_cli.evaluation.step_choice import by_unlabelled
from coldstart_cli.experiment.assembly import check_values, lack_of_names
from coldstart_cli.experiment.parts import StrategyBuilder, check_pretrained, preprocess_of
from coldstart_cli.files.durable import read_json
from coldstart_cli.hardware import Hardware
from coldstart_cli.runs.run import Run


@dataclass(frozen=True, kw_only=True, slots=True)
class AdaptPlan:
    """What `adapt` is asked for beside the config; see conf/adapt.yaml."""

    bundle: str
    steps: Annotated[int, Ge(0)] | None
    folds_to_select: Annotated[int, Ge(2)]
    folds_to_estimate: Annotated[int, Ge(2)]
    repeats_to_estimate: Annotated[int, Ge(1)]
    tasks_to_calibrate: Annotated[int, Ge(1)]
    threshold: Annotated[float, Ge(0), Le(1)]
    precision: Annotated[float, Gt(0), Lt(1)] | None
    copy_base: bool
    untrained: bool
    licence: str | None
    keep_versions: Annotated[int, Ge(0)]
    overwrite: bool


@dataclass(frozen=True, slots=True)
class Prepared:
    """What is read and built before anything adapts.

    Attributes:
        known: facts of the strategy's training.
        candidates: numbers of adaptation steps to choose from.
        test: examples that the files state as such, or None.
        ranges: see `Card.input_ranges`.
        said: what was kept apart, left out or guessed of the examples.
        earlier: the bundle that is to become an earlier version, or None.
    """

    hardware: Hardware
    task: OneTask
    known: Mapping[str, Any]
    strategy: Strategy
    support: Support
    together: Together
    candidates: tuple[int, ...]
    test: Labelled | None
    ranges: Mapping[str, InputRange]
    said: tuple[str, ...]
    earlier: Earlier | None


def prepared(config: Mapping[str, Any], plan: AdaptPlan, run: Run | None) -> Prepared:
    """Reads the data and builds the strategy.

    Raises:
        RequestError: where the strategy cannot serve the task, the run's weights do not fit it, or the bundle
            that is there is one of another task.
    """
    check_place(Path(plan.bundle))
    earlier = None if plan.overwrite else earlier_in(Path(plan.bundle))
    if plan.copy_base and has_adapter(config["model"]):
        raise RequestError(
            "copy_base: true, and the model has an adapter, which no bundle holds; write false"
        )
    check_values(config)
    hardware: Hardware = build(config["hardware"], "hardware", Hardware, config["trust"], {})
    hardware.prepare(config["seed"])
    source = source_classes(config, run)
    found = read_task(config, run, source)
    if earlier is not None:
        check_same_task(earlier, found.learned, plan.bundle)
    task = task_of(found.learned, config["seed"], source, trained=run is not None)
    if plan.precision is not None and not task.labelled.classes:
        raise RequestError("precision: this task is a regression, whose answers are numbers; leave it out")
    known = _facts(run, task)
    builder = StrategyBuilder(config, hardware, task, config["training"]["steps"], known)
    strategy = builder.build(config["strategy"], "strategy").eval()
    reason = strategy.refusal(task)
    if reason is not None:
        raise Unserved(f"strategy: {reason} (E24)")
    if run is not None:
        _load(strategy, run, config)
    support = task.support().to(hardware.device)
    said = (*found.learned.remarks, *found.said, *source.said(found.learned.classes))
    lack = lack_of_names(strategy, task)
    said += () if lack is None else (f"strategy: {lack}",)
    ranges = ranges_for(run, found.learned)
    said += () if (shift := shift_of(ranges, found)) is None else (shift,)
    if run is None:
        said += said_of_untrained(config, strategy, support, allowed=plan.untrained)
    together = Together.of(found.learned.near_equal(), found.learned.origins)
    candidates = (plan.steps,) if plan.steps is not None else tuple(config["evaluation"]["steps"])
    return Prepared(
        hardware, task, known, strategy, support, together, candidates, found.test, ranges, said, earlier
    )


@dataclass(frozen=True, slots=True)
class Rehearsed:
    """What is settled before the strategy adapts to all labels.

    Attributes:
        step, how: the number of adaptation steps, and how it was chosen.
        answers: to held-out labels, or None where none can be held out.
        started: by `time.perf_counter`.
        luck: what the score of `answers` is expected to lose elsewhere, for having been the best of several.
        said: what else the card is to say.
    """

    step: int
    how: str
    answers: Answers | None
    started: float
    luck: float = 0.0
    said: tuple[str, ...] = ()


def adapt(
    config: Mapping[str, Any], plan: AdaptPlan, run: Run | None, told: Told = lambda what, done, total: None
) -> Bundle:
    """Adapts, writes the bundle, and returns it; where nothing has changed, the one that is there.

    Args:
        config: resolved; the run's own with another data set, or one composed anew.
        told: hears how far it is.

    Raises:
        RequestError: see `prepared`.
    """
    ready = prepared(config, plan, run)
    if (there := unchanged(config, plan, run, ready)) is not None:
        return there
    started = time.perf_counter()
    rehearsal = Rehearsal(ready.strategy, ready.support, ready.together, told)
    step, how = chosen_steps(rehearsal, ready.candidates, plan, run)
    answers = rehearsal.answers(step, plan.folds_to_estimate, plan.repeats_to_estimate)
    return bundled(config, plan, run, ready, Rehearsed(step, how, answers, started))


def _changed(config: Mapping[str, Any], ready: Prepared, earlier: Earlier, rows: KeptRows) -> Changed:
    task = ready.task
    found = changed(earlier, task.labelled, rows, ready.together, task.objective.headline)
    return replace(found, adapted_by=adapted_otherwise(earlier.card, config))


def unchanged(config: Mapping[str, Any], plan: AdaptPlan, run: Run | None, ready: Prepared) -> Bundle | None:
    """The bundle that is there, where all that determines one is as it was; else None."""
    if ready.earlier is None or ready.earlier.card.made_from != _determined_by(config, plan, run, ready):
        return None
    bundle = Bundle.load(plan.bundle)
    bundle.found = True
    return bundle


def bundled(
    config: Mapping[str, Any], plan: AdaptPlan, run: Run | None, ready: Prepared, settled_by: Rehearsed
) -> Bundle:
    """Adapts to all labels, writes the bundle, and returns it."""
    strategy, support, task = ready.strategy, ready.support, ready.task
    step, how, answers = settled_by.step, settled_by.how, settled_by.answers
    before = time.perf_counter()
    taken, adapted = last_step(strategy, support, step)
    seconds = time.perf_counter() - before
    module = adapted.module
    own = settled(module, support)
    t, origin = _calibrated(config, plan, run, ready, answers, step)
    measured = None if answers is None else estimated(answers, task.objective, task.labelled.classes)
    found = notices.of_data(task.labelled, ready.together)
    found += notices.of_code(config)
    found += notices.of_strategy(config, strategy, support, adapted, step)
    found += notices.of_result(measured, config, task.labelled.classes)
    found += notices.of_choices(
        config, ready.candidates, (step, taken), how, t if origin == BY_LABELS else None
    )
    threshold = plan.threshold
    if plan.precision is not None:
        threshold, how_sure = kept_precision(answers, t, plan.precision, plan.threshold)
        found.append(how_sure)
    ready = _with_what_is_there(ready, plan)
    if (there := unchanged(config, plan, run, ready)) is not None:
        return there
    rows = KeptRows.of(task.labelled, answers)
    card = Card(
        made_from=_determined_by(config, plan, run, ready),
        changed=None if ready.earlier is None else _changed(config, ready, ready.earlier, rows),
        **made_of(config, plan.licence, run, task.labelled),
        steps=taken,
        steps_chosen_by=how,
        threshold=threshold,
        build=build_section(config, task, ready.known, is_settled=reads_its_batch(module)),
        cross_validation=None if measured is None else without_luck(measured, settled_by.luck),
        temperature=t,
        temperature_from=origin,
        seconds=Seconds(
            adaptation=round(seconds, 4), in_all=round(time.perf_counter() - settled_by.started, 3)
        ),
        held_out=rows_of(
            answers, task.labelled, config["dataset"]["root"], config["dataset"].get("labelled", ())
        ),
        test=None if ready.test is None else scored(own, ready.test, ready.hardware.device),
        said=(*ready.said, *settled_by.said, *found),
        input_ranges=ready.ranges,
    )
    preprocess = preprocess_of(config["model"], "model", config["trust"])
    bundle = Bundle(card, own.cpu(), preprocess)
    bundle.save(
        Path(plan.bundle),
        base_of(config["model"]),
        copy_base=plan.copy_base,
        rows=rows.as_bytes(),
        keep=0 if plan.overwrite else plan.keep_versions,
    )
    return bundle


def _with_what_is_there(ready: Prepared, plan: AdaptPlan) -> Prepared:
    """With the bundle that is in the folder by now: another command may have put one there meanwhile.

    Raises:
        RequestError: where it is one of another task.
    """
    earlier = None if plan.overwrite else earlier_in(Path(plan.bundle))
    if earlier is not None:
        check_same_task(earlier, ready.task.labelled, plan.bundle)
    return replace(ready, earlier=earlier)


def _determined_by(config: Mapping[str, Any], plan: AdaptPlan, run: Run | None, ready: Prepared) -> str:
    return determined_by(config, asdict(plan), run, ready.strategy, ready.task.labelled, ready.test)


def _facts(run: Run | None, task: OneTask) -> dict[str, Any]:
    """What building the strategy takes and a task of your own cannot know: facts of its training."""
    n = task.objective.n_outputs
    if run is None:  # nothing was learned from a source: its head is as good as any
        return {"n_way": task.shape.n_way, "n_source_outputs": n, "source_groups": []}
    facts = read_json(run.path / "environment.json", "run").get("facts")
    if facts is None:
        raise RequestError(
            f"run: {run.path} was trained by an older coldstart and does not say what its source was; "
            "repeat its train command with again=true"
        )
    return {**facts, "n_source_outputs": facts.get("n_source_outputs", n)}


def _load(strategy: Strategy, run: Run, config: Mapping[str, Any]) -> None:
    check_pretrained(run, config, strategy)
    try:
        strategy.load_state_dict(run.checkpoints.best()["strategy"])
    except RuntimeError as error:
        raise RequestError(
            f"dataset: the weights of {run.path} do not fit this task's inputs or number of classes; choose "
            "a run on inputs like these, of a strategy that serves any number of ways (protonet, finetune) "
            "(E42)"
        ) from error


@dataclass(frozen=True, slots=True)
class Outlook:
    """What adapting would do.

    Attributes:
        data: the task, in words.
        to_select, to_estimate: adaptations to parts of the labels.
        seconds: about; from one adaptation to all labels.
    """

    bundle: str
    strategy: str
    model: str
    data: str
    to_select: int
    to_estimate: int
    seconds: float
    notices: tuple[str, ...]


def outlook(config: Mapping[str, Any], plan: AdaptPlan, run: Run | None) -> Outlook:
    """Reads and builds everything, adapts once for the clock, and writes nothing.

    Raises:
        RequestError: see `prepared`.
    """
    ready = prepared(config, plan, run)
    rehearsal = Rehearsal(ready.strategy, ready.support, ready.together, lambda what, done, total: None)
    choosing = len(ready.candidates) > 1 and takes_steps(ready.strategy, ready.support)
    to_select = rehearsal.n_to_select(plan.folds_to_select) if choosing else 0
    to_estimate = rehearsal.n_to_estimate(plan.folds_to_estimate, plan.repeats_to_estimate)
    before = time.perf_counter()
    for _ in islice(ready.strategy.adapt(ready.support), max(ready.candidates) + 1):
        pass
    return Outlook(
        plan.bundle,
        config["names"]["strategy"],
        config["names"]["model"],
        ready.task.facts()["new"],
        to_select,
        to_estimate,
        (time.perf_counter() - before) * (to_select + to_estimate + 1),
        (
            *ready.said,
            *notices.of_data(ready.task.labelled, ready.together),
            *kept_there(ready.earlier, plan),
        ),
    )


def kept_there(earlier: Earlier | None, plan: AdaptPlan) -> tuple[str, ...]:
    """A line where a bundle is there that becomes an earlier version."""
    if earlier is None or not plan.keep_versions:
        return ()
    kept = f"{plan.bundle}/versions/{earlier.card.version}"
    return (f"{plan.bundle} is a bundle already, which is kept as {kept} where anything has changed",)


def plan_of(values: Mapping[str, Any]) -> AdaptPlan:
    """The values of conf/adapt.yaml, checked."""
    plan: AdaptPlan = build(values, "adapt", AdaptPlan, [], {})
    return plan


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


def base_of(model: Mapping[str, Any]) -> Path | None:
    """The folder of the pretrained weights that a model's node names, or None."""
    if not isinstance(model.get("path"), str):
        return None
    from coldstart_cli.models.pretrained.hf import folder_of

    return folder_of(model["path"])


def _calibrated(
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
