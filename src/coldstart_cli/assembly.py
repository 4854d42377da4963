"""A resolved config to an experiment, all of it built and checked before any training begins.

Building order: hardware, the data set, then the encoder, which gets the input shape, then the
strategy, which gets the encoder and the facts of the source it names in its constructor.
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Any

import torch
from annotated_types import Ge, Lt

from coldstart_cli import config as configs
from coldstart_cli.core import Strategy, TaskShape, TaskSource
from coldstart_cli.errors import RequestError, suggestion
from coldstart_cli.evaluation import EvaluationPlan, shape_of
from coldstart_cli.hardware import Hardware
from coldstart_cli.runner import TrainingPlan, validation_shape
from coldstart_cli.runs import digest

PARTS = ("strategy", "model", "dataset", "optimizer", "hardware", "evaluation", "training", "logger")
SCALARS: Mapping[str, Any] = {
    "seed": Annotated[int, Ge(0), Lt(2**31)],
    "outputs": str,
    "again": bool,
    "trust": list[str],
}


@dataclass(frozen=True, slots=True)
class Experiment:
    """Everything a run needs.

    Attributes:
        config: the resolved config it was built from.
        contestants: role -> variant -> strategy; the role `baseline` is absent where none is asked for.
    """

    config: Mapping[str, Any]
    hardware: Hardware
    source: TaskSource
    training: TrainingPlan
    evaluation: EvaluationPlan
    contestants: Mapping[str, Mapping[str, Strategy]]
    vectorize: bool

    @property
    def strategy(self) -> Strategy:
        return self.contestants["strategy"][""]


def assemble(config: Mapping[str, Any]) -> Experiment:
    """Builds and checks.

    Raises:
        RequestError: naming the key that is wrong.
    """
    check_values(config)
    trust = config["trust"]
    hardware: Hardware = configs.build(config["hardware"], "hardware", trust, {})
    hardware.prepare(config["seed"])
    training: TrainingPlan = configs.build(config["training"], "training", trust, {})
    evaluation: EvaluationPlan = configs.build(config["evaluation"], "evaluation", trust, {})
    source = source_of(config)
    check_shapes(source, training, evaluation)
    builder = _StrategyBuilder(config, hardware, source, training)
    contestants = {"strategy": {"": builder.build(config["strategy"], "strategy")}}
    if config["baseline"] is not None:
        _check_strategy(builder.build(config["baseline"], "baseline"), "baseline", source, evaluation)
        contestants["baseline"] = {
            label: builder.build(node, "baseline")
            for label, node in _variants(config["baseline"], evaluation.baseline_search)
        }
    for role, variants in contestants.items():
        for strategy in variants.values():
            _check_strategy(strategy, role, source, evaluation)
    return Experiment(config, hardware, source, training, evaluation, contestants, builder.vectorize)


def check_values(config: Mapping[str, Any]) -> None:
    """Names, types and ranges of the whole config; builds nothing."""
    known = {*SCALARS, *PARTS, "baseline", "names"}
    for key in sorted(config.keys() - known):
        raise RequestError(f"{key}: there is no such key; {suggestion(key, known)}")
    for key, annotation in SCALARS.items():
        if key not in config:
            raise RequestError(f"{key}: is missing; write {key}=VALUE")
        wrong = configs.mismatch(config[key], annotation)
        if wrong:
            raise RequestError(f"{key}: {wrong}")
    for key in PARTS:
        if key not in config or config[key] is None:
            raise RequestError(f"{key}: nothing is chosen; see coldstart ls {key}")
        configs.check(config[key], key, config["trust"])
    if config["baseline"] is not None:
        configs.check(config["baseline"], "baseline", config["trust"])


_sources: dict[str, TaskSource] = {}


def source_of(config: Mapping[str, Any]) -> TaskSource:
    """The data set; points of a sweep that agree on it share one."""
    key = digest(config["dataset"])
    if key not in _sources:
        _sources[key] = configs.build(config["dataset"], "dataset", config["trust"], {})
    return _sources[key]


def check_shapes(source: TaskSource, training: TrainingPlan, evaluation: EvaluationPlan) -> None:
    """Refuses tasks that the data cannot serve."""
    asked: list[tuple[str, Any, TaskShape]] = [
        ("dataset", "train", source.shape),
        ("training.validation", "validation", validation_shape(source, training.validation)),
    ]
    for k in evaluation.k_shots:
        asked += [("evaluation", split, shape_of(source, evaluation, k)) for split in ("new", "validation")]
    for key, split, shape in asked:
        reason = source.refusal(split, shape)
        if reason:
            raise RequestError(f"{key}: {reason}")


class _StrategyBuilder:
    """Builds strategies over fresh encoders with the same initial weights."""

    def __init__(
        self, config: Mapping[str, Any], hardware: Hardware, source: TaskSource, training: TrainingPlan
    ) -> None:
        self.config, self.hardware, self.source, self.training = config, hardware, source, training
        self.vectorize = False

    def build(self, node: Mapping[str, Any], key: str) -> Strategy:
        config, trust = self.config, self.config["trust"]
        torch.manual_seed(config["seed"])
        encoder = configs.build(config["model"], "model", trust, {"input_shape": self.source.input_shape})
        self.vectorize = self.hardware.vectorizes(encoder)
        facts: dict[str, object] = {
            "encoder": encoder,
            "optimizer": configs.build(
                config["optimizer"], "optimizer", trust, {"n_steps": self.training.steps}
            ),
            "n_outputs": self.source.objective.n_outputs,
            "vectorize": self.vectorize,
            "seed": config["seed"],
        }
        if "n_source_outputs" in configs.runtime_parameters(node, key, trust):
            facts["n_source_outputs"] = self.source.pool("train").objective.n_outputs
        strategy: Strategy = configs.build(node, key, trust, facts)
        return strategy.to(self.hardware.device)


def _variants(
    baseline: Mapping[str, Any], search: Mapping[str, list[float]]
) -> list[tuple[str, dict[str, Any]]]:
    """The baseline once for each combination of the searched values, labelled `lr=0.05`."""
    names = sorted(search)
    combinations = itertools.product(*(search[name] for name in names))
    return [
        (
            ",".join(f"{name}={value:g}" for name, value in zip(names, values, strict=True)),
            {**baseline, **dict(zip(names, values, strict=True))},
        )
        for values in combinations
    ]


def _check_strategy(strategy: Strategy, role: str, source: TaskSource, evaluation: EvaluationPlan) -> None:
    if role == "baseline" and strategy.learns_from_source:
        raise RequestError(
            "baseline: it learns from the source, which a baseline does not; "
            "choose strategy@baseline=scratch, or train it as a run of its own"
        )
    if strategy.learns_from_source and role == "strategy":
        _refuse(strategy.refusal(source.objective), role)
    for k in evaluation.k_shots:
        _refuse(strategy.refusal(source.with_shape(shape_of(source, evaluation, k)).objective), role)


def _refuse(reason: str | None, role: str) -> None:
    if reason:
        raise RequestError(f"{role}: {reason}")
