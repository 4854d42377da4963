"""What `coldstart adapt` reads and builds before anything adapts: the plan, the task, the strategy."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

from annotated_types import Ge, Gt, Le, Lt

from coldstart_cli.bundles.adapting.changes import Earlier, check_same_task, earlier_in
from coldstart_cli.bundles.adapting.own_task import ranges_for, read_task, shift_of, source_classes, task_of
from coldstart_cli.bundles.adapting.untrained import said_of_untrained
from coldstart_cli.bundles.judging.held_out_labels import Together
from coldstart_cli.bundles.kept.folder import check_place
from coldstart_cli.bundles.rebuild import has_adapter
from coldstart_cli.config.building import build
from coldstart_cli.core.strategy import Strategy
from coldstart_cli.core.tasks import Support
from coldstart_cli.datasets.own.labelled import Labelled
from coldstart_cli.datasets.own.one_task import OneTask
from coldstart_cli.datasets.own.shift import InputRange
from coldstart_cli.errors import RequestError, Unserved
from coldstart_cli.experiment.assembly import check_values, lack_of_names
from coldstart_cli.experiment.parts import StrategyBuilder, check_pretrained
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


def plan_of(values: Mapping[str, Any]) -> AdaptPlan:
    """The values of conf/adapt.yaml, checked."""
    plan: AdaptPlan = build(values, "adapt", AdaptPlan, [], {})
    return plan


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
