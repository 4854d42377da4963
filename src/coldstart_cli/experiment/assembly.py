"""From a resolved config to an experiment, all of it built and checked before any training begins.

Building order: hardware, the model's preprocess, the data set (which is given the preprocess), the encoder
(which is given the input shape), and the strategy (which is given the encoder and those facts of the source
that its constructor names).
"""

from __future__ import annotations

import itertools
import logging
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from coldstart_cli.config.annotations import mismatch
from coldstart_cli.config.building import build, check
from coldstart_cli.config.keys import SCALARS
from coldstart_cli.core.strategy import Strategy
from coldstart_cli.core.tasks import Split, TaskShape, TaskSource
from coldstart_cli.errors import RequestError, Unserved, suggestion
from coldstart_cli.evaluation.loop import EvaluationPlan, served, shape_of, tasks_of
from coldstart_cli.experiment.example_budget import steps_for
from coldstart_cli.experiment.parts import StrategyBuilder, evaluated_source, facts_of, source_of
from coldstart_cli.experiment.sharding import check_sharding
from coldstart_cli.experiment.trainer import TrainingPlan, validation_shape
from coldstart_cli.hardware import Hardware
from coldstart_cli.loggers.logger import Logger
from coldstart_cli.models.network import Encoder
from coldstart_cli.runs.run import Run
from coldstart_cli.training.optimizers import OptimizerFactory

_log = logging.getLogger(__name__)

PARTS: Mapping[str, type] = {
    "strategy": Strategy,
    "model": Encoder,
    "dataset": TaskSource,
    "optimizer": OptimizerFactory,
    "hardware": Hardware,
    "evaluation": EvaluationPlan,
    "training": TrainingPlan,
}
"""What each key of a config builds."""


@dataclass(frozen=True, slots=True)
class Experiment:
    """Everything a run needs.

    Attributes:
        config: the resolved config it was built from; training.steps is what training.examples came to.
        left_out: k_shot -> why the evaluation leaves it out.
        contestants: role -> variant -> strategy; there is no role `baseline` where none is requested.
        facts: of the source, which are needed to build the strategy again: n_way and, if its constructor
            names them, n_source_outputs and source_groups.
    """

    config: Mapping[str, Any]
    hardware: Hardware
    source: TaskSource
    training: TrainingPlan
    evaluation: EvaluationPlan
    left_out: Mapping[int, str]
    contestants: Mapping[str, Mapping[str, Strategy]]
    vectorize: bool
    facts: Mapping[str, Any]

    @property
    def strategy(self) -> Strategy:
        return self.contestants["strategy"][""]


def assemble(config: Mapping[str, Any], run: Run | None = None) -> Experiment:
    """The experiment that a config describes, built and checked.

    Args:
        run: the finished run that the strategy's weights will come from: the data set then needs no source of
            its own.

    Raises:
        RequestError: naming the key that is wrong.
    """
    check_values(config)
    trust = config["trust"]
    hardware: Hardware = build(config["hardware"], "hardware", Hardware, trust, {})
    # Before anything is built: data sets and initial weights draw from the seeds that this sets.
    hardware.prepare(config["seed"])
    training: TrainingPlan = build(config["training"], "training", TrainingPlan, trust, {})
    asked: EvaluationPlan = build(config["evaluation"], "evaluation", EvaluationPlan, trust, {})
    source = source_of(config) if run is None else evaluated_source(config, run)
    evaluation, left_out = served(source, asked)
    is_trained = run is not None
    check_shapes(source, training, evaluation, config["baseline"], is_trained=is_trained)
    check_parts(config["strategy"], "strategy", hardware.processes)
    of_source = {} if run is None else {key: v for key, v in facts_of(run).items() if key != "n_way"}
    if training.examples is not None and not is_trained:
        n_steps = steps_for(training.examples, config, hardware, source)
        training = replace(training, steps=n_steps)
        config = {**config, "training": {**config["training"], "steps": n_steps}}
        hardware.prepare(config["seed"])  # chance begins anew, as if nothing had been counted
    builder = StrategyBuilder(config, hardware, source, training.steps, of_source)
    contestants = {"strategy": {"": builder.build(config["strategy"], "strategy")}}
    if config["baseline"] is not None:
        # The plain baseline first: it may be refused as such, before searched values are put into it.
        first = builder.build(config["baseline"], "baseline")
        _check_strategy(first, "baseline", source, evaluation, is_trained=False)
        contestants["baseline"] = {
            label: builder.build(node, "baseline")
            for label, node in variants(config["baseline"], evaluation.baseline_search).items()
        }
    for role, strategies in contestants.items():
        for strategy in strategies.values():
            trained_before = is_trained and role == "strategy"
            _check_strategy(strategy, role, source, evaluation, is_trained=trained_before)
    check_precision(hardware, contestants["strategy"][""])
    if not is_trained:
        check_sharding(hardware, contestants["strategy"][""])
    check_augmentation(training, source)
    facts = {"n_way": source.shape.n_way, **builder.known}
    return Experiment(
        config, hardware, source, training, evaluation, left_out, contestants, builder.vectorize, facts
    )


def check_values(config: Mapping[str, Any]) -> None:
    """Checks names, types and ranges of the whole config; builds nothing."""
    known = {*SCALARS, *PARTS, "logger", "baseline", "names", "sweep"}
    for key in sorted(config.keys() - known):
        raise RequestError(f"{key}: there is no such key; {suggestion(key, known)} (E20)")
    for key, annotation in SCALARS.items():
        if key not in config:
            raise RequestError(f"{key}: is missing; write {key}=VALUE")
        wrong = mismatch(config[key], annotation)
        if wrong:
            raise RequestError(f"{key}: {wrong} (E22)")
    for key, kind in PARTS.items():
        if config.get(key) is None:
            raise RequestError(f"{key}: nothing is chosen; see coldstart ls {key}")
        check(config[key], key, kind, config["trust"])
    if not isinstance(config.get("logger"), Mapping):
        raise RequestError(
            "logger: is not a mapping of names to loggers; write logger=[console] or logger=[]"
        )
    for name, node in config["logger"].items():
        check(node, f"logger.{name}", Logger, config["trust"])
    if "sweep" in config:  # runs may lack it; its class is known to sweeps/
        check(config["sweep"], "sweep", object, config["trust"])
    if config.get("baseline") is not None:
        check(config["baseline"], "baseline", Strategy, config["trust"])
    names = config.get("names")
    if not isinstance(names, Mapping) or not names.keys() >= {"strategy", "model", "dataset", "baseline"}:
        raise RequestError("names: lacks strategy, model, dataset or baseline; write all four, as train does")


def check_precision(hardware: Hardware, strategy: Strategy) -> None:
    """Refuses a second-order gradient in bf16, unless it is forced."""
    if strategy.differentiates_twice and hardware.precision == "bf16":
        raise RequestError(
            "hardware.precision: bf16 makes a gradient through inner steps some 18 % wrong; choose fp32, "
            "strategy.second_order=false, or bf16_second_order to use it anyway"
        )


def check_augmentation(training: TrainingPlan, source: TaskSource) -> None:
    """Refuses to move inputs that are no images."""
    shape = source.input_shape
    if training.augment and not (isinstance(shape, tuple) and len(shape) == 3):
        raise RequestError(
            f"training.augment: it moves images and this data set gives inputs of shape {shape}; "
            "leave it at 0"
        )


_NO_SOURCE = (
    "it learns from a source and this data set has none; choose one that learns from the new task alone "
    "(strategy=scratch, logistic, nearest_centroid)"
)


def shapes_asked(
    source: TaskSource,
    training: TrainingPlan,
    evaluation: EvaluationPlan,
    baseline: object,
    *,
    is_trained: bool = False,
) -> list[tuple[str, Split, TaskShape]]:
    """(key that says so, split, shape) of all tasks that a run, or an evaluation of one, must have."""
    asked: list[tuple[str, Split, TaskShape]] = []
    if source.has_source and not is_trained:
        asked = [("dataset", "train", source.shape)]
        if source.validation != "none":
            validation = validation_shape(source, training.validation)
            asked.append(("training.validation", "validation", validation))
    # Where each new task chooses its steps itself, only a baseline's settings are chosen on validation tasks.
    validates = source.validation == "as_new" or (baseline is not None and source.validation != "none")
    splits: tuple[Split, ...] = ("new", "validation") if validates else ("new",)
    for k in evaluation.k_shots:
        asked += [("evaluation", split, shape_of(source, evaluation, k)) for split in splits]
    return asked


def check_shapes(
    source: TaskSource,
    training: TrainingPlan,
    evaluation: EvaluationPlan,
    baseline: object,
    *,
    is_trained: bool = False,
) -> None:
    """Refuses tasks that the data cannot serve.

    Args:
        is_trained: the run is finished, and only evaluated.
    """
    for key, split, shape in shapes_asked(source, training, evaluation, baseline, is_trained=is_trained):
        reason = source.refusal(split, shape)
        if reason:
            raise RequestError(f"{key}: {reason}")
    if baseline is not None and source.validation == "none":
        raise RequestError(
            "baseline: its settings are chosen on validation tasks and this data set has none; hold some out "
            "(dataset.validation_share=0.2) or do without it (baseline=null)"
        )


def check_parts(node: Mapping[str, Any], key: str, processes: int) -> None:
    """Refuses batches with fewer tasks, or examples, than processes to share them."""
    for name, value in node.items():
        if isinstance(value, Mapping):
            check_parts(value, f"{key}.{name}", processes)
        elif name in ("meta_batch_size", "batch_size") and value < processes:
            raise RequestError(
                f"{key}.{name}: {value} cannot be shared among {processes} processes; "
                f"give {key}.{name}={processes} or more, or fewer processes (hardware.processes={value})"
            )


def variants(baseline: Mapping[str, Any], search: Mapping[str, list[float]]) -> dict[str, dict[str, Any]]:
    """The baseline for each combination of the searched values, with labels such as `lr=0.05`."""
    # Sorted, so that labels do not depend on the order in which the search was written.
    names = sorted(search)
    combinations = itertools.product(*(search[name] for name in names))
    return {
        ",".join(f"{name}={value:g}" for name, value in zip(names, values, strict=True)): {
            **baseline,
            **dict(zip(names, values, strict=True)),
        }
        for values in combinations
    }


def _check_strategy(
    strategy: Strategy, role: str, source: TaskSource, evaluation: EvaluationPlan, *, is_trained: bool
) -> None:
    if role == "baseline" and strategy.learns_from_source:
        raise RequestError(
            "baseline: it learns from the source, which a baseline must not; "
            "choose strategy@baseline=scratch, or train it as a run of its own"
        )
    if strategy.learns_from_source and not source.has_source and not is_trained:
        raise Unserved(f"{role}: {_NO_SOURCE}")
    if strategy.learns_from_source and role == "strategy" and source.has_source:
        _refuse(strategy.refusal(source), role)
    steps = evaluation.steps if role == "strategy" else evaluation.baseline_steps
    for remark in (lack_of_names(strategy, source), strategy.short_of(max(steps))):
        if remark is not None:
            _log.warning("%s: %s", role, remark)
    for k in evaluation.k_shots:
        if k > 0 or role == "strategy":  # at k = 0 there is no baseline
            shaped = source.with_shape(shape_of(source, evaluation, k))
            _refuse(strategy.refusal(shaped), role)
            _check_every_task(strategy, role, shaped, evaluation)


def _check_every_task(strategy: Strategy, role: str, source: TaskSource, evaluation: EvaluationPlan) -> None:
    """Refuses a task that does not fit now, not after hours of those before it."""
    if type(strategy).refusal_of is Strategy.refusal_of:
        return
    splits: tuple[tuple[Split, int], ...] = (
        ("new", evaluation.n_tasks),
        ("source_test", evaluation.of_source),
        ("validation", evaluation.n_selection_tasks),
    )
    for split, n_tasks in splits:
        if source.refusal(split, source.shape) is not None:
            continue
        for i, task in enumerate(tasks_of(source, split, n_tasks)):
            reason = strategy.refusal_of(task.support)
            if reason is not None:
                raise Unserved(
                    f"{role}: task {i + 1} of {n_tasks:,} ({split}, k={source.shape.k_shot}): {reason}"
                )


def lack_of_names(strategy: Strategy, source: TaskSource) -> str | None:
    """A line where a strategy reads names and classes have none, or labels that say nothing in words."""
    if not strategy.reads_names:
        return None
    if not source.named:
        return (
            "it reads what classes are called, and these have no names that the model reads: it does without"
        )
    if not source.nameless:
        return None
    more = ", ..." if len(source.nameless) > 3 else ""
    n = len(source.nameless)
    return (
        f"it reads what classes are called, and {n:,} label{'s say' if n > 1 else ' says'} nothing in words "
        f"({', '.join(source.nameless[:3])}{more}); describe them (dataset.descriptions=FILE, a table with "
        "columns label and description)"
    )


def _refuse(reason: str | None, role: str) -> None:
    if reason:
        raise Unserved(f"{role}: {reason} (E24)")
