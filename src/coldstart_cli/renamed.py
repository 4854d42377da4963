"""Earlier public names: what an older YAML, run directory or bundle calls a class that has another name now.

The public name of a class (`coldstart_cli.strategies.MAML`) does not say in which file it is defined, so it
stays when files move. A run's hash was computed with the names of its time: `as_first_named` restores them,
so that a run trained before a name changed is found again.
"""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from typing import Any

RENAMED: Mapping[str, str] = {
    "coldstart_cli.strategies.adversarial.DomainAdversarial": "coldstart_cli.strategies.DomainAdversarial",
    "coldstart_cli.strategies.alignment.CCSA": "coldstart_cli.strategies.ccsa",
    "coldstart_cli.strategies.alignment.Coral": "coldstart_cli.strategies.coral",
    "coldstart_cli.strategies.alignment.MMD": "coldstart_cli.strategies.mmd",
    "coldstart_cli.strategies.baseline_pp.BaselinePP": "coldstart_cli.strategies.BaselinePP",
    "coldstart_cli.strategies.born_again.BornAgain": "coldstart_cli.strategies.BornAgain",
    "coldstart_cli.strategies.co_tuning.CoTuning": "coldstart_cli.strategies.CoTuning",
    "coldstart_cli.strategies.distillation.Distillation": "coldstart_cli.strategies.Distillation",
    "coldstart_cli.strategies.film.CAVIA": "coldstart_cli.strategies.CAVIA",
    "coldstart_cli.strategies.film.FiLM": "coldstart_cli.strategies.FiLM",
    "coldstart_cli.strategies.frozen.Logistic": "coldstart_cli.strategies.Logistic",
    "coldstart_cli.strategies.frozen.NearestCentroid": "coldstart_cli.strategies.NearestCentroid",
    "coldstart_cli.strategies.guarded.Guarded": "coldstart_cli.strategies.Guarded",
    "coldstart_cli.strategies.lora.LoRA": "coldstart_cli.strategies.LoRA",
    "coldstart_cli.strategies.maml.MAML": "coldstart_cli.strategies.MAML",
    "coldstart_cli.strategies.maml_lora.LowRankMAML": "coldstart_cli.strategies.LowRankMAML",
    "coldstart_cli.strategies.matching.MatchingNetwork": "coldstart_cli.strategies.MatchingNetwork",
    "coldstart_cli.strategies.proto_maml.ProtoMAML": "coldstart_cli.strategies.ProtoMAML",
    "coldstart_cli.strategies.protonet.ProtoNet": "coldstart_cli.strategies.ProtoNet",
    "coldstart_cli.strategies.r2d2.R2D2": "coldstart_cli.strategies.R2D2",
    "coldstart_cli.strategies.reptile.Reptile": "coldstart_cli.strategies.Reptile",
    "coldstart_cli.strategies.source_selection.SourceSelection": "coldstart_cli.strategies.SourceSelection",
    "coldstart_cli.strategies.task_encoder.TaskEncoder": "coldstart_cli.strategies.TaskEncoder",
    "coldstart_cli.strategies.transfer.FineTune": "coldstart_cli.strategies.FineTune",
    "coldstart_cli.strategies.transfer.L2SP": "coldstart_cli.strategies.L2SP",
    "coldstart_cli.strategies.transfer.LPFT": "coldstart_cli.strategies.LPFT",
    "coldstart_cli.datasets.arrays.arrays": "coldstart_cli.datasets.arrays",
    "coldstart_cli.datasets.banking77.banking77": "coldstart_cli.datasets.banking77",
    "coldstart_cli.datasets.clinc150.clinc150": "coldstart_cli.datasets.clinc150",
    "coldstart_cli.datasets.digits.Digits": "coldstart_cli.datasets.Digits",
    "coldstart_cli.datasets.glyph_shift.glyph_shift": "coldstart_cli.datasets.glyph_shift",
    "coldstart_cli.datasets.glyphs.glyphs": "coldstart_cli.datasets.glyphs",
    "coldstart_cli.datasets.image_folder.image_folder": "coldstart_cli.datasets.image_folder",
    "coldstart_cli.datasets.omniglot.omniglot": "coldstart_cli.datasets.omniglot",
    "coldstart_cli.datasets.synthetic.Sinusoid": "coldstart_cli.datasets.Sinusoid",
    "coldstart_cli.datasets.tabular.tabular": "coldstart_cli.datasets.tabular",
    "coldstart_cli.datasets.text.text": "coldstart_cli.datasets.text",
    "coldstart_cli.models.conv.Conv4": "coldstart_cli.models.Conv4",
    "coldstart_cli.models.mlp.MLP": "coldstart_cli.models.MLP",
    "coldstart_cli.models.preprocess.Plain": "coldstart_cli.models.Plain",
    "coldstart_cli.models.pretrained.Features": "coldstart_cli.models.Features",
    "coldstart_cli.models.text.EmbeddingBag": "coldstart_cli.models.EmbeddingBag",
    "coldstart_cli.models.text.FrozenText": "coldstart_cli.models.FrozenText",
    "coldstart_cli.models.text.HFText": "coldstart_cli.models.HFText",
    "coldstart_cli.models.text.Tokens": "coldstart_cli.models.Tokens",
    "coldstart_cli.models.vision.FrozenImage": "coldstart_cli.models.FrozenImage",
    "coldstart_cli.models.vision.HFImage": "coldstart_cli.models.HFImage",
    "coldstart_cli.models.vision.Pixels": "coldstart_cli.models.Pixels",
    "coldstart_cli.runner.TrainingPlan": "coldstart_cli.experiment.TrainingPlan",
    "coldstart_cli.runner.ValidationPlan": "coldstart_cli.experiment.ValidationPlan",
    "coldstart_cli.budgets.Budget": "coldstart_cli.metrics.Budget",
    "coldstart_cli.trackers.MLflow": "coldstart_cli.loggers.MLflow",
    "coldstart_cli.trackers.Trackio": "coldstart_cli.loggers.Trackio",
    "coldstart_cli.trackers.WandB": "coldstart_cli.loggers.WandB",
    "coldstart_cli.launcher.SweepPlan": "coldstart_cli.sweeps.SweepPlan",
    "coldstart_cli.tune.TunePlan": "coldstart_cli.sweeps.TunePlan",
    "coldstart_cli.adapting.AdaptPlan": "coldstart_cli.bundles.AdaptPlan",
}
"""Earlier name of a target -> its name now."""

_ALIGN = (
    "was replaced by TaskAlignment, which learns what source, names and unlabelled examples are worth; train "
    "anew with strategy=align, for its weights and keys are others"
)
REPLACED: Mapping[str, str] = {
    "coldstart_cli.strategies.align.Align": _ALIGN,
    "coldstart_cli.strategies.Align": _ALIGN,
}
"""A target that is no more -> what became of it, and what to do."""

# Reversed: of equal keys a dict keeps the last, which is then the name that came first.
FIRST: Mapping[str, str] = {now: first for first, now in reversed(list(RENAMED.items()))}
"""Name of a target now -> the name that hashes know it by: of several earlier ones, the first above."""


def renamed(node: Any) -> Any:
    """A config, or a part of one, in which every target has its present name."""
    return _with_targets(node, RENAMED)


def as_first_named(node: Any) -> Any:
    """The same config with the names that its hash was first computed with."""
    return _with_targets(node, FIRST)


def warn_of_renamed(node: Any, key: str = "") -> None:
    """Says what replaced the earlier names in a config that a person wrote."""
    if isinstance(node, Mapping):
        target = node.get("_target_")
        if isinstance(target, str) and target in RENAMED:
            place = f"{key}._target_" if key else "_target_"
            warnings.warn(
                f"{place}: {target} is now called {RENAMED[target]}; write that", RuntimeWarning, stacklevel=2
            )
        for name, value in node.items():
            warn_of_renamed(value, f"{key}.{name}" if key else str(name))
    elif isinstance(node, list):
        for i, value in enumerate(node):
            warn_of_renamed(value, f"{key}[{i}]")


def _with_targets(node: Any, names: Mapping[str, str]) -> Any:
    if isinstance(node, Mapping):
        changed = {key: _with_targets(value, names) for key, value in node.items()}
        target = changed.get("_target_")
        return {**changed, "_target_": names.get(target, target)} if isinstance(target, str) else changed
    if isinstance(node, list):
        return [_with_targets(value, names) for value in node]
    return node
