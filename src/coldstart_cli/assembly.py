"""A resolved config to an experiment, all of it built and checked before any training begins.

Building order: hardware, the model's preprocess, the data set, which gets it, then the encoder, which
gets the input shape, then the strategy, which gets the encoder and the facts of the source it names in
its constructor.
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Annotated, Any

import torch
from annotated_types import Ge, Lt

from coldstart_cli import config as configs
from coldstart_cli.core import Strategy, TaskShape, TaskSource
from coldstart_cli.errors import RequestError, Unserved, suggestion
from coldstart_cli.evaluation import EvaluationPlan, shape_of
from coldstart_cli.files import read_json
from coldstart_cli.hardware import Hardware
from coldstart_cli.models.network import Encoder, Trained
from coldstart_cli.models.preprocess import Plain, Preprocess
from coldstart_cli.runner import TrainingPlan, validation_shape
from coldstart_cli.runs import Run, digest

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


_NO_SOURCE = (
    "it learns from a source and this data set has none; choose one that learns from the new task alone "
    "(strategy=scratch, logistic, nearest_centroid)"
)
_sources: dict[str, TaskSource] = {}
_preprocesses: dict[str, Preprocess] = {}


def source_of(config: Mapping[str, Any]) -> TaskSource:
    """The data set as the model reads it; points of a sweep that agree on both share one."""
    key = digest([config["dataset"], config["model"].get("preprocess")])
    if key not in _sources:
        facts = {"preprocess": preprocess_of(config["model"], "model", config["trust"])}
        _sources[key] = configs.build(config["dataset"], "dataset", config["trust"], facts)
    return _sources[key]


def preprocess_of(model: Mapping[str, Any], key: str, trust: list[str]) -> Preprocess:
    """What a model does to raw examples, from the node `preprocess` in its own; made once a process."""
    node = model.get("preprocess")
    if node is None:
        return Plain()
    name = digest(node)
    if name not in _preprocesses:
        _preprocesses[name] = configs.build(node, f"{key}.preprocess", trust, {})
    return _preprocesses[name]


def encoder_of(model: Mapping[str, Any], key: str, trust: list[str], source: TaskSource) -> Encoder:
    """A fresh encoder for the inputs of a source."""
    node = dict(model)
    if "preprocess" in node:
        node["preprocess"] = preprocess_of(model, key, trust)
    encoder: Encoder = configs.build(node, key, trust, {"input_shape": source.input_shape})
    return encoder


def check_shapes(source: TaskSource, training: TrainingPlan, evaluation: EvaluationPlan) -> None:
    """Refuses tasks that the data cannot serve."""
    asked: list[tuple[str, Any, TaskShape]] = []
    if source.has_source:
        validation = validation_shape(source, training.validation)
        asked = [("dataset", "train", source.shape), ("training.validation", "validation", validation)]
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
        config, trust, source = self.config, self.config["trust"], self.source
        torch.manual_seed(config["seed"])
        encoder = encoder_of(config["model"], "model", trust, source)
        self.vectorize = self.hardware.vectorizes(encoder)
        facts: dict[str, object] = {
            "encoder": encoder,
            "optimizer": configs.build(
                config["optimizer"], "optimizer", trust, {"n_steps": self.training.steps}
            ),
            "n_outputs": source.objective.n_outputs,
            "n_way": source.shape.n_way,
            "n_steps": self.training.steps,
            "input_shape": source.input_shape,
            "vectorize": self.vectorize,
            "seed": config["seed"],
            "trained": partial(trained, source=source, trust=trust, key=key),
        }
        if {"n_source_outputs", "source_groups"} & configs.runtime_parameters(node, key, trust):
            pool = source.pool("train" if source.has_source else "new")
            facts |= {"n_source_outputs": pool.objective.n_outputs, "source_groups": pool.groups}
        strategy: Strategy = configs.build(node, key, trust, facts)
        return strategy.to(self.hardware.device)


def trained(name: str, path: str, *, source: TaskSource, trust: list[str], key: str) -> Trained:
    """What the run at `path` learned, if it read inputs like those of `source`.

    Args:
        name: the parameter that asks, and `key` the node it stands in, for messages.

    Raises:
        RequestError: where it is no finished run, or its inputs are others.
    """
    run, key = Run(Path(path)), f"{key}.{name}"
    if not run.finished:
        raise RequestError(f"{key}: {path} is no finished run; name a run directory that train has finished")
    known = read_json(run.path / "environment.json", "run").get("input_shape")
    ours = shape_facts(source)
    if known is not None and known != ours:
        raise RequestError(
            f"{key}: {path} reads inputs of shape {known}, this data set gives {ours}; "
            "name a run that was trained on inputs of this shape"
        )
    encoder = encoder_of(run.config["model"], "model", trust, source)
    state = run.checkpoints.best()["strategy"]
    prefix = "network." if any(name.startswith("network.encoder.") for name in state) else ""
    parts = {
        part: {
            n.removeprefix(f"{prefix}{part}."): t
            for n, t in state.items()
            if n.startswith(f"{prefix}{part}.")
        }
        for part in ("encoder", "head")
    }
    try:
        encoder.load_state_dict(parts["encoder"])
    except RuntimeError as error:
        raise RequestError(
            f"{key}: {path} holds no encoder for inputs of shape {ours}; "
            "name a run of a strategy such as finetune on inputs of this shape"
        ) from error
    return Trained(encoder, parts["head"])


def shape_facts(source: TaskSource) -> Any:
    """The shape of one input as JSON keeps it."""
    shape = source.input_shape
    return list(shape) if isinstance(shape, tuple) else {name: list(part) for name, part in shape.items()}


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
    if strategy.learns_from_source and not source.has_source:
        raise Unserved(f"{role}: {_NO_SOURCE}")
    if strategy.learns_from_source and role == "strategy":
        _refuse(strategy.refusal(source), role)
    for k in evaluation.k_shots:
        if k > 0 or role == "strategy":  # without labels the baseline is the source model as it is
            _refuse(strategy.refusal(source.with_shape(shape_of(source, evaluation, k))), role)


def _refuse(reason: str | None, role: str) -> None:
    if reason:
        raise Unserved(f"{role}: {reason}")
