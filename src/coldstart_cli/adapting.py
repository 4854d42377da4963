"""`coldstart adapt`: a strategy, trained or pretrained, meets one labelled task; the result is a bundle."""

from __future__ import annotations

import math
import time
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Annotated, Any

import torch
from annotated_types import Ge, Le
from torch import Tensor

from coldstart_cli import __version__, calibration, statistics
from coldstart_cli import config as configs
from coldstart_cli.assembly import StrategyBuilder, check_values, preprocess_of, source_of
from coldstart_cli.bundles import CARD, FORMAT, Bundle, build_section
from coldstart_cli.core import Adapted, Strategy
from coldstart_cli.crossvalidation import HeldOut, held_out
from coldstart_cli.datasets.labelled import Labelled
from coldstart_cli.datasets.one_task import OneTask
from coldstart_cli.errors import RequestError, Unserved
from coldstart_cli.files import read_json
from coldstart_cli.hardware import Hardware
from coldstart_cli.runs import Run

CONFIDENCE = 0.95


@dataclass(frozen=True, kw_only=True, slots=True)
class AdaptPlan:
    """What `adapt` is asked for beside the config; see conf/adapt.yaml."""

    bundle: str
    steps: Annotated[int, Ge(0)] | None
    folds_to_select: Annotated[int, Ge(2)]
    folds_to_estimate: Annotated[int, Ge(2)]
    threshold: Annotated[float, Ge(0), Le(1)]
    copy_base: bool
    licence: str | None


def adapt(config: Mapping[str, Any], plan: AdaptPlan, run: Run | None) -> dict[str, Any]:
    """Adapts, writes the bundle, and returns its card.

    Args:
        config: resolved; the run's own with another data set, or one composed anew.

    Raises:
        RequestError: where the strategy cannot serve the task, or the run's weights do not fit it.
    """
    check_values(config)
    hardware: Hardware = configs.build(config["hardware"], "hardware", config["trust"], {})
    hardware.prepare(config["seed"])
    labelled = labelled_of(config)
    task = OneTask(labelled, config["seed"])
    known = _facts(run, task)
    builder = StrategyBuilder(config, hardware, task, config["training"]["steps"], known)
    strategy = builder.build(config["strategy"], "strategy").eval()
    reason = strategy.refusal(task)
    if reason is not None:
        raise Unserved(f"strategy: {reason}")
    if run is not None:
        _load(strategy, run)
    support = task.support().to(hardware.device)
    candidates = [plan.steps] if plan.steps is not None else config["evaluation"]["steps"]
    started = time.perf_counter()
    step, how = _chosen(strategy, support, candidates, plan, run)
    estimate = held_out(strategy, support, [step], plan.folds_to_estimate)
    before = time.perf_counter()
    *_, adapted = islice(strategy.adapt(support), step + 1)
    seconds = time.perf_counter() - before
    card = _card(config, plan, run, task, known, estimate, step, how)
    card["seconds"] = {"adaptation": round(seconds, 4), "in_all": round(time.perf_counter() - started, 3)}
    bundle = Bundle(card, adapted.module.cpu(), preprocess_of(config["model"], "model", config["trust"]))
    bundle.save(Path(plan.bundle), _base(strategy, adapted), plan.copy_base)
    return read_json(Path(plan.bundle) / CARD, "bundle")


def labelled_of(config: Mapping[str, Any]) -> Labelled:
    """The examples of a layout, whole.

    Raises:
        RequestError: where the data set is none of one's own.
    """
    labelled = getattr(source_of(config), "labelled", None)
    if not isinstance(labelled, Labelled):
        raise RequestError(
            f"dataset: {config['names']['dataset']} is no data of your own; choose image_folder, text, tabular "
            "or arrays with dataset.root=PATH"
        )
    return labelled


def _facts(run: Run | None, task: OneTask) -> dict[str, Any]:
    """What building the strategy takes and a task of one's own cannot know: facts of its training."""
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


def _load(strategy: Strategy, run: Run) -> None:
    try:
        strategy.load_state_dict(run.checkpoints.best()["strategy"])
    except RuntimeError as error:
        raise RequestError(
            f"dataset: the weights of {run.path} do not fit this task's inputs or number of classes; choose a "
            "run trained on inputs like these, of a strategy that serves any number of ways (protonet, finetune)"
        ) from error


def _chosen(
    strategy: Strategy, support: Any, candidates: list[int], plan: AdaptPlan, run: Run | None
) -> tuple[int, str]:
    """The number of adaptation steps, and how it was chosen."""
    if len(candidates) == 1:
        return candidates[0], "given"
    found = held_out(strategy, support, candidates, plan.folds_to_select)
    if found is not None:
        better = 1 if support.objective.higher_is_better else -1
        means = {step: better * float(found.scores(step).mean()) for step in candidates}
        return max(means, key=lambda step: means[step]), "cross-validation on the labels"
    known = _steps_of(run)
    if known is not None:
        return known, "validation tasks of the run (too few labels for cross-validation)"
    return max(candidates), "the most of evaluation.steps (too few labels for cross-validation)"


def _steps_of(run: Run | None) -> int | None:
    """What validation chose in the run's newest evaluation, at its smallest k."""
    if run is None or not (run.path / "evaluations").is_dir():
        return None
    summaries = sorted((run.path / "evaluations").glob("*/summary.json"), key=lambda p: p.stat().st_mtime)
    if not summaries:
        return None
    shots = read_json(summaries[-1], "run")["shots"]
    return int(shots[min(shots, key=int)]["new"]["step"])


def _base(strategy: Strategy, adapted: Adapted) -> dict[str, Tensor]:
    """The predictor's tensors that the pretrained base holds, by their names in the predictor."""
    found: dict[str, Tensor] = {}
    for prefix, module in adapted.module.named_modules():
        if hasattr(module, "pretrained"):
            pretrained: Mapping[str, Tensor] = module.pretrained()
            found |= {f"{prefix}.{name}": tensor for name, tensor in pretrained.items()}
    return found


def _card(
    config: Mapping[str, Any],
    plan: AdaptPlan,
    run: Run | None,
    task: OneTask,
    known: Mapping[str, Any],
    estimate: HeldOut | None,
    step: int,
    how: str,
) -> dict[str, Any]:
    labelled = task.labelled
    counts = labelled.targets.bincount(minlength=len(labelled.classes)).tolist() if labelled.classes else []
    t = 1.0
    if estimate is not None and labelled.classes:
        t = calibration.temperature(estimate.outputs[step], estimate.targets)
    return {
        "format": FORMAT,
        "made_by": f"coldstart {__version__}",
        "made": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
        "strategy": config["names"]["strategy"],
        "model": config["names"]["model"],
        "run": None if run is None else run.path.name,
        "licence": plan.licence,
        "data": {"hash": labelled.fingerprint, "examples": len(labelled), "skipped": len(labelled.skipped)},
        "labels": list(labelled.classes),
        "examples_of": dict(zip(labelled.classes, counts, strict=True)) if counts else {},
        "steps": step,
        "steps_chosen_by": how,
        "cross_validation": _estimate(task, estimate, step),
        "temperature": t,
        "temperature_from": "cross-validation on the labels" if t != 1.0 else "none: too few labels",
        "threshold": plan.threshold,
        "build": build_section(config, task, known),
    }


def _estimate(task: OneTask, estimate: HeldOut | None, step: int) -> dict[str, Any] | None:
    """The metric by cross-validation with its interval, which takes in that folds share their labels."""
    if estimate is None:
        return None
    scores = estimate.scores(step).numpy()
    found = statistics.cross_validated(scores, estimate.fold_of.numpy(), CONFIDENCE)
    half = found.half_width if math.isfinite(found.half_width) else None
    return {
        "metric": task.objective.headline,
        "mean": found.mean,
        "half_width": half,
        "confidence": CONFIDENCE,
        "folds": int(estimate.fold_of.max()) + 1,
    }
