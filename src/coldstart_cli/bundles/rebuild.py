"""A bundle's predictor built again from values: what its card says, without its tensors.

By adapting a fresh strategy to a support set of zeros of the same shape, whose tensors are then replaced by
the stored ones; that this gives the same predictor is tested for every strategy.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from coldstart_cli.bundles.judging.batch_statistics import settled
from coldstart_cli.bundles.kept.card import BuildFacts, InputFacts
from coldstart_cli.core.objectives import Classification, Regression
from coldstart_cli.core.tasks import Inputs, n_examples
from coldstart_cli.datasets.own.labelled import Labelled
from coldstart_cli.datasets.own.one_task import OneTask
from coldstart_cli.experiment.parts import StrategyBuilder
from coldstart_cli.hardware import Hardware


def build_section(
    config: Mapping[str, Any], task: OneTask, known: Mapping[str, Any], *, is_settled: bool
) -> BuildFacts:
    """What it takes to build the predictor again, as values; `is_settled` as `BuildFacts.settled`."""
    labelled = task.labelled
    n_classes = len(labelled.classes)
    return BuildFacts(
        recipe=dict(labelled.recipe),
        strategy=_without_runs(config["strategy"]),
        model=config["model"],
        optimizer=config["optimizer"],
        seed=config["seed"],
        n_steps=config["training"]["steps"],
        facts=dict(known),
        inputs=_facts_of(labelled.inputs),
        names={} if labelled.names is None else _facts_of(labelled.names),
        classification=bool(labelled.classes),
        n_outputs=labelled.objective.n_outputs,
        counts=tuple(labelled.targets.bincount(minlength=n_classes).tolist())
        if n_classes
        else (len(labelled),),
        n_unlabelled=0 if labelled.unlabelled is None else n_examples(labelled.unlabelled),
        settled=is_settled,
    )


def _facts_of(inputs: Inputs) -> dict[str, InputFacts]:
    named = inputs if isinstance(inputs, Mapping) else {"": inputs}
    return {
        name: InputFacts(shape=tuple(t.shape[1:]), dtype=str(t.dtype).removeprefix("torch."))
        for name, t in named.items()
    }


def base_tensors(build: BuildFacts) -> dict[str, Tensor]:
    """The predictor's tensors that are the same however it is seeded: those its pretrained base holds."""
    one, other = (tensors_of(skeleton(replace(build, seed=seed), None)) for seed in (0, 1))
    return {name: tensor for name, tensor in one.items() if torch.equal(tensor, other[name])}


def skeleton(build: BuildFacts, base: Path | None) -> nn.Module:
    """The predictor's module with tensors of no meaning, but for those of the pretrained base.

    Args:
        base: the folder of that base, where it is not the one that the model's node names.
    """
    task = _zeros(build)
    hardware = Hardware(
        device="cpu",
        threads=None,
        processes=1,
        precision="fp32",
        deterministic=False,
        vectorize="loop",
        replay=False,
        shard=False,
        compile=False,
    )
    config = {
        "model": placed(build.model, base),
        "optimizer": build.optimizer,
        "seed": build.seed,
        "trust": [],
    }
    builder = StrategyBuilder(config, hardware, task, build.n_steps, build.facts)
    strategy = builder.build(build.strategy, "bundle").eval()
    adaptation = strategy.adapt(task.support())
    module = next(adaptation).module
    adaptation.close()
    return settled(module, task.support()) if build.settled else module


def _zeros(build: BuildFacts) -> OneTask:
    """A task of the same shape whose inputs are all zero (token masks: one)."""
    counts = build.counts
    n_classes = len(counts) if build.classification else 0
    objective = objective_of(build)

    def inputs(n: int, facts: Mapping[str, InputFacts] = build.inputs) -> Inputs:
        made = {
            name: (torch.ones if name == "attention_mask" else torch.zeros)(
                (n, *spec.shape), dtype=getattr(torch, spec.dtype)
            )
            for name, spec in facts.items()
        }
        return made[""] if set(made) == {""} else made

    n = sum(counts)
    targets = (
        torch.repeat_interleave(torch.arange(n_classes), torch.tensor(counts))
        if n_classes
        else torch.zeros(n, build.n_outputs)
    )
    labelled = Labelled(
        inputs=inputs(n),
        targets=targets,
        objective=objective,
        classes=tuple(map(str, range(n_classes))),
        tasks=(),
        task_of=np.zeros(n, dtype=np.int64),
        splits=(),
        split_of=np.zeros(n, dtype=np.int64),
        places=[],
        unlabelled=inputs(1) if build.n_unlabelled else None,  # no predictor holds them, and each takes time
        skipped=(),
        recipe=build.recipe,
        names=inputs(n_classes, build.names) if build.names else None,
        fingerprint="",
    )
    return OneTask(labelled, build.seed)


def objective_of(build: BuildFacts) -> Classification | Regression:
    """What the outputs of the predictor mean."""
    if build.classification:
        return Classification(len(build.counts))
    scale = build.recipe.get("target_scale")  # of tables alone, and not before they were scaled
    return Regression(build.n_outputs, *(scale or ()))


def tensors_of(module: nn.Module) -> dict[str, Tensor]:
    """All that a predictor computes with, by name: its state, and constants that no state dict holds."""
    return {**dict(module.named_buffers(remove_duplicate=False)), **module.state_dict()}


def placed(model: Mapping[str, Any], base: Path | None) -> dict[str, Any]:
    """The model's node, reading its pretrained base from another folder where one is given."""
    if base is None:
        return dict(model)
    node = {key: str(base) if key == "path" else value for key, value in model.items()}
    inner = node.get("preprocess")
    if isinstance(inner, Mapping) and "path" in inner:
        node["preprocess"] = {**inner, "path": str(base)}
    return node


def has_adapter(model: Mapping[str, Any]) -> bool:
    """Whether a model's node, or its preprocess that computes features, names an adapter of peft."""
    return any((node or {}).get("adapter") is not None for node in (model, model.get("preprocess")))


def _without_runs(strategy: Mapping[str, Any]) -> dict[str, Any]:
    """A run that gave a teacher is not needed to predict, and will not be where the bundle goes."""
    return {key: None if key.endswith("_run") else value for key, value in strategy.items()}


def base_of(model: Mapping[str, Any]) -> Path | None:
    """The folder of the pretrained weights that a model's node names, or None."""
    if not isinstance(model.get("path"), str):
        return None
    from coldstart_cli.models.pretrained.hf import folder_of

    return folder_of(model["path"])
