"""The parts of an experiment, each built from its node: preprocess, data set, encoder, strategy."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any, cast

import torch

from coldstart_cli.config.building import build, runtime_parameters
from coldstart_cli.core.strategy import Strategy
from coldstart_cli.core.tasks import TaskSource
from coldstart_cli.datasets.own.layouts import LAYOUTS, read_labelled, recipe_like
from coldstart_cli.datasets.own.names import named
from coldstart_cli.datasets.own.shared import OwnData, plan_of, wording_of
from coldstart_cli.datasets.own.source import Own
from coldstart_cli.datasets.readers.cache import load_or_make
from coldstart_cli.digests import json_digest
from coldstart_cli.errors import RequestError
from coldstart_cli.files.durable import read_json
from coldstart_cli.files.untrusted import shaped
from coldstart_cli.hardware import Hardware
from coldstart_cli.models.network import Encoder, InputShape, Trained
from coldstart_cli.models.preprocess import Plain, Preprocess
from coldstart_cli.models.pretrained.features import (
    FrozenFeatures,
    Pretrained,
    check_files,
    files_read,
)
from coldstart_cli.models.pretrained.files_read import FilesRead
from coldstart_cli.runs.run import Run
from coldstart_cli.training.optimizers import OptimizerFactory

_sources: dict[str, TaskSource] = {}
_preprocesses: dict[str, Preprocess] = {}


def source_of(config: Mapping[str, Any]) -> TaskSource:
    """The data set as the model reads it; points of a sweep that agree on both share it."""
    # By value: points of a sweep are composed separately and share no objects.
    key = json_digest([config["dataset"], config["model"].get("preprocess")])
    if key not in _sources:
        facts = {"preprocess": reading_preprocess(config)}
        _sources[key] = build(config["dataset"], "dataset", TaskSource, config["trust"], facts)
    return _sources[key]


def evaluated_source(config: Mapping[str, Any], run: Run) -> TaskSource:
    """The data set that a finished run is evaluated on; new examples alone are read as the run's own were.

    Your own files need no training rows then: columns, means and deviations are the run's, and where its new
    tasks share the classes of its source, theirs are known by name.
    """
    node, layout = config["dataset"], str(config["dataset"]["_target_"]).rpartition(".")[2]
    if layout not in LAYOUTS or node["split_by"] != "file" or node == run.config["dataset"]:
        return source_of(config)
    environment = read_json(run.path / "environment.json", "run")
    recipe = environment.get("recipe")
    if recipe is None or recipe.get("layout") != layout:
        return source_of(config)
    recipe = recipe_like(recipe, layout, node)
    preprocess, own = reading_preprocess(config), cast("OwnData", node)
    wording = wording_of(own, preprocess)
    labelled = read_labelled(
        recipe, preprocess, node["root"], unlabelled=node["unlabelled"], on_bad=node["on_bad"]
    )
    if "train" in labelled.splits:
        return source_of(config)
    labelled = named(labelled, preprocess, wording)
    elsewhere = tuple(environment.get("source_classes") or ())
    return Own(layout, labelled, replace(plan_of(own), elsewhere=elsewhere))


def facts_of(run: Run) -> Mapping[str, Any]:
    """Facts of a finished run's training; the first versions wrote none."""
    facts: Mapping[str, Any] = read_json(run.path / "environment.json", "run").get("facts") or {}
    return facts


def reading_preprocess(config: Mapping[str, Any]) -> Preprocess:
    """What the model does to raw examples, on the device that the config names."""
    preprocess = preprocess_of(config["model"], "model", config["trust"])
    if isinstance(preprocess, FrozenFeatures):
        hardware: Hardware = build(config["hardware"], "hardware", Hardware, config["trust"], {})
        preprocess.device = hardware.device
    return preprocess


def preprocess_of(model: Mapping[str, Any], key: str, trust: list[str]) -> Preprocess:
    """What a model does to raw examples, from the node `preprocess` in the model's; made once per process."""
    node = model.get("preprocess")
    if node is None:
        return Plain()
    name = json_digest(node)
    if name not in _preprocesses:
        _preprocesses[name] = build(node, f"{key}.preprocess", Preprocess, trust, {"cached": load_or_make})
    return _preprocesses[name]


def encoder_of(model: Mapping[str, Any], key: str, trust: list[str], source: TaskSource) -> Encoder:
    """A new encoder for the inputs of a source."""
    return encoder_for(model, key, trust, source.input_shape)


def encoder_for(model: Mapping[str, Any], key: str, trust: list[str], shape: InputShape) -> Encoder:
    """A new encoder for inputs of `shape`, which a run or a bundle knows without its data."""
    node = dict(model)
    if "preprocess" in node:
        node["preprocess"] = preprocess_of(model, key, trust)
    encoder: Encoder = build(node, key, Encoder, trust, {"input_shape": shape})
    return encoder


class StrategyBuilder:
    """Builds strategies on new encoders that all have the same initial weights.

    Args:
        known: facts of the run in place of those of the source, as when a trained strategy is built
            again without its source.
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
        # Before every build: strategy, baseline and its variants then start from the same weights.
        torch.manual_seed(config["seed"])
        encoder = encoder_of(config["model"], "model", trust, source)
        self.vectorize = self.hardware.vectorizes(encoder)
        facts: dict[str, object] = {
            "encoder": encoder,
            "optimizer": build(
                config["optimizer"], "optimizer", OptimizerFactory, trust, {"n_steps": self.n_steps}
            ),
            "n_outputs": source.objective.n_outputs,
            "n_way": source.shape.n_way,
            "n_steps": self.n_steps,
            "input_shape": source.input_shape,
            "vectorize": self.vectorize,
            "seed": config["seed"],
            "cached": load_or_make,
            "trained": partial(trained, source=source, trust=trust, key=key),
        }
        of_pool = {"n_source_outputs", "source_groups"} & runtime_parameters(node, key, trust)
        if of_pool - self.known.keys() and not source.has_source:  # the head is never trained
            self.known |= {"n_source_outputs": source.objective.n_outputs, "source_groups": []}
        if of_pool - self.known.keys():
            pool = source.pool("train")
            self.known |= {"n_source_outputs": pool.objective.n_outputs, "source_groups": list(pool.groups)}
        facts |= {**self.known, "source_groups": tuple(self.known.get("source_groups", ()))}
        strategy: Strategy = build(node, key, Strategy, trust, facts)
        check_inputs(strategy, key, encoder.reads)
        if strategy.differentiates_twice and isinstance(encoder, Pretrained):
            encoder.differentiable_twice()
        # Over a frozen encoder there may be nothing to train: it then needs no source, and can be a
        # baseline.
        if not any(parameter.requires_grad for parameter in strategy.parameters()):
            strategy.learns_from_source = strategy.searches_source and source.has_source
        return strategy.to(self.hardware.device)


def files_read_by(config: Mapping[str, Any], module: torch.nn.Module) -> FilesRead | None:
    """What a strategy, or a part of it, reads at the `model.path` of its config; None: nothing."""
    return files_read(config["model"], preprocess_of(config["model"], "model", config["trust"]), module)


def check_pretrained(run: Run, config: Mapping[str, Any], module: torch.nn.Module) -> None:
    """Holds the pretrained weights and vocabulary that a module was just built on against those of a run.

    Raises:
        RequestError: where the run was trained over others.
    """
    kept = read_json(run.path / "environment.json", "run").get("pretrained")
    with shaped("run", run.path / "environment.json"):
        known = kept and FilesRead(contents=tuple(kept["contents"]), revision=kept["revision"])
    check_files(known, files_read_by(config, module), f"run: {run.path}", config["model"].get("path"))


def check_inputs(strategy: Strategy, key: str, reads: str | None) -> None:
    """Refuses a teacher that cannot read the output of the run's preprocess.

    Raises:
        RequestError: where two encoders need different preprocesses.
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
        name: the parameter that asks for it.
        key: the node that the parameter belongs to; both are for messages.

    Raises:
        RequestError: where it is not a finished run, or was trained on different inputs.
    """
    run, key = Run(Path(path)), f"{key}.{name}"
    if not run.finished:
        raise RequestError(
            f"{key}: {path} is not a finished run; name a run directory that train has finished"
        )
    known = read_json(run.path / "environment.json", "run").get("input_shape")
    ours = shape_facts(source)
    if known is not None and known != ours:
        raise RequestError(
            f"{key}: {path} reads inputs of shape {known}, this data set gives {ours}; "
            "name a run that was trained on inputs of this shape"
        )
    encoder = encoder_of(run.config["model"], "model", trust, source)
    state = run.checkpoints.best()["strategy"]
    # Strategies keep the encoder as `network.encoder` or directly as `encoder`.
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
            f"{key}: {path} does not contain an encoder for inputs of shape {ours}; "
            "name a run of a strategy such as finetune on inputs of this shape"
        ) from error
    check_pretrained(run, {**run.config, "trust": trust}, encoder)
    return Trained(encoder, parts["head"])


def shape_facts(source: TaskSource) -> Any:
    """The shape of one input as a JSON value."""
    shape = source.input_shape
    return list(shape) if isinstance(shape, tuple) else {name: list(part) for name, part in shape.items()}
