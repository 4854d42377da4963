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
from coldstart_cli.core import Split, Strategy, TaskShape, TaskSource
from coldstart_cli.datasets.cache import load_or_make
from coldstart_cli.errors import RequestError, Unserved, suggestion
from coldstart_cli.evaluation import EvaluationPlan, served, shape_of
from coldstart_cli.files import read_json
from coldstart_cli.hardware import Hardware
from coldstart_cli.models.network import Encoder, InputShape, Trained
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
        left_out: k_shot -> why the evaluation leaves it out.
        contestants: role -> variant -> strategy; the role `baseline` is absent where none is asked for.
        facts: of the source, that building the strategy again takes: n_way and, where it asks for
            them, n_source_outputs and source_groups.
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
    asked: EvaluationPlan = configs.build(config["evaluation"], "evaluation", trust, {})
    source = source_of(config)
    evaluation, left_out = served(source, asked)
    check_shapes(source, training, evaluation)
    builder = StrategyBuilder(config, hardware, source, training.steps, {})
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
    facts = {"n_way": source.shape.n_way, **builder.known}
    return Experiment(
        config, hardware, source, training, evaluation, left_out, contestants, builder.vectorize, facts
    )


def check_values(config: Mapping[str, Any]) -> None:
    """Names, types and ranges of the whole config; builds nothing."""
    known = {*SCALARS, *PARTS, "baseline", "names", "sweep"}
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
    if "sweep" in config:  # a run may have none: it is not part of it
        configs.check(config["sweep"], "sweep", config["trust"])
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
        _preprocesses[name] = configs.build(node, f"{key}.preprocess", trust, {"cached": load_or_make})
    return _preprocesses[name]


def encoder_of(model: Mapping[str, Any], key: str, trust: list[str], source: TaskSource) -> Encoder:
    """A fresh encoder for the inputs of a source."""
    return encoder_for(model, key, trust, source.input_shape)


def encoder_for(model: Mapping[str, Any], key: str, trust: list[str], shape: InputShape) -> Encoder:
    """A fresh encoder for inputs of `shape`, which a run or a bundle knows without its data."""
    node = dict(model)
    if "preprocess" in node:
        node["preprocess"] = preprocess_of(model, key, trust)
    encoder: Encoder = configs.build(node, key, trust, {"input_shape": shape})
    return encoder


def shapes_asked(
    source: TaskSource, training: TrainingPlan, evaluation: EvaluationPlan
) -> list[tuple[str, Split, TaskShape]]:
    """(key that says so, split, shape) of all tasks that a run must have."""
    asked: list[tuple[str, Split, TaskShape]] = []
    if source.has_source:
        validation = validation_shape(source, training.validation)
        asked = [("dataset", "train", source.shape), ("training.validation", "validation", validation)]
    splits: tuple[Split, ...] = ("new", "validation")
    for k in evaluation.k_shots:
        asked += [("evaluation", split, shape_of(source, evaluation, k)) for split in splits]
    return asked


def check_shapes(source: TaskSource, training: TrainingPlan, evaluation: EvaluationPlan) -> None:
    """Refuses tasks that the data cannot serve."""
    for key, split, shape in shapes_asked(source, training, evaluation):
        reason = source.refusal(split, shape)
        if reason:
            raise RequestError(f"{key}: {reason}")


class StrategyBuilder:
    """Builds strategies over fresh encoders with the same initial weights.

    Args:
        known: facts of the run that stand in for those of the source, as where a trained strategy is
            built again without its source.
    """

    def __init__(
        self,
        config: Mapping[str, Any],
        hardware: Hardware,
        source: TaskSource,
        n_steps: int,
        known: Mapping[str, Any],
    ) -> None:
        self.config, self.hardware, self.source, self.n_steps = config, hardware, source, n_steps
        self.known = dict(known)
        self.vectorize = False

    def build(self, node: Mapping[str, Any], key: str) -> Strategy:
        config, trust, source = self.config, self.config["trust"], self.source
        torch.manual_seed(config["seed"])
        encoder = encoder_of(config["model"], "model", trust, source)
        self.vectorize = self.hardware.vectorizes(encoder)
        facts: dict[str, object] = {
            "encoder": encoder,
            "optimizer": configs.build(config["optimizer"], "optimizer", trust, {"n_steps": self.n_steps}),
            "n_outputs": source.objective.n_outputs,
            "n_way": source.shape.n_way,
            "n_steps": self.n_steps,
            "input_shape": source.input_shape,
            "vectorize": self.vectorize,
            "seed": config["seed"],
            "cached": load_or_make,
            "trained": partial(trained, source=source, trust=trust, key=key),
        }
        of_pool = {"n_source_outputs", "source_groups"} & configs.runtime_parameters(node, key, trust)
        if of_pool - self.known.keys() and not source.has_source:  # a head that nothing trains or reads
            self.known |= {"n_source_outputs": source.objective.n_outputs, "source_groups": []}
        if of_pool - self.known.keys():
            pool = source.pool("train")
            self.known |= {"n_source_outputs": pool.objective.n_outputs, "source_groups": list(pool.groups)}
        facts |= {**self.known, "source_groups": tuple(self.known.get("source_groups", ()))}
        strategy: Strategy = configs.build(node, key, trust, facts)
        check_inputs(strategy, key, encoder.reads)
        if not any(parameter.requires_grad for parameter in strategy.parameters()):
            strategy.learns_from_source = False
        return strategy.to(self.hardware.device)


def check_inputs(strategy: Strategy, key: str, reads: str | None) -> None:
    """Refuses a teacher that cannot read what the run's model does to raw examples.

    Raises:
        RequestError: where two encoders want the output of different preprocesses.
    """
    for name, module in strategy.named_modules():
        other = getattr(module, "reads", None)
        if other is not None and other != reads:
            raise RequestError(
                f"{key}.{name.partition('.')[0]}: reads {other}, the run's model {reads or 'plain numbers'}; "
                "give both models one path and one preprocess"
            )


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
