"""What answers to held-out labels say of a predictor: how good, how sure, where weak, and beside what."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np

from coldstart_cli.bundles.judging.held_out_labels import Answers
from coldstart_cli.bundles.kept.card import CrossValidation
from coldstart_cli.core.tasks import Objective
from coldstart_cli.metrics import held_out
from coldstart_cli.training.cross_validation import Indices

CONFIDENCE = 0.95
MOST_WEAK = 3
"""Classes that are named as the weakest."""


def estimated(answers: Answers, objective: Objective, classes: tuple[str, ...]) -> CrossValidation:
    """The metric with its interval, and what else a reader should know before believing it.

    Args:
        classes: names; empty for a regression.
    """
    if not classes:
        return _error(answers, objective)
    targets, examples = answers.targets.numpy(), answers.examples
    said = answers.outputs.argmax(-1).numpy()
    judged, of = np.unique(examples, return_inverse=True)
    right = np.bincount(of, said == targets) / np.bincount(of)  # mean over repeats
    first = np.unique(examples, return_index=True)[1]
    shares = np.bincount(targets[first], minlength=len(classes)) / len(judged)
    hits = np.bincount(answers.folds, said == targets) / np.bincount(answers.folds)
    found = held_out.accuracy(
        right,
        hits,
        answers.n_folds,
        (answers.together.alike[judged], answers.together.clusters[judged]),
        chance=float(shares.max()),
        confidence=CONFIDENCE,
    )
    other = objective.other_metrics(answers.outputs, answers.targets)
    recalls = {name: float((said[targets == c] == c).mean()) for c, name in enumerate(classes) if shares[c]}
    return CrossValidation(
        metric=objective.headline,
        mean=found.share,
        half_width=None,
        low=found.low,
        high=found.high,
        confidence=CONFIDENCE,
        folds=answers.n_folds,
        repeats=answers.n_repeats,
        judged=len(judged),
        different=answers.n_different,
        origins=_n_origins(answers, judged),
        balanced_accuracy=other["balanced_accuracy"],
        macro_f1=other["macro_f1"],
        majority=float(shares.max()),
        nearest_centroid=None if answers.centroid is None else float(answers.centroid.mean()),
        weakest=_weakest(recalls),
        not_judged=tuple(name for c, name in enumerate(classes) if not shares[c]),
    )


def without_luck(found: CrossValidation, luck: float) -> CrossValidation:
    """What is left of a score where the predictor was chosen by it among several.

    The better end of the interval stays: how lucky a choice was is not known, and where nearly all answers
    are right there is no room for luck.

    Args:
        luck: what its score, the higher the better, is expected to lose on other examples.
    """
    if luck == 0.0:
        return found
    if found.metric == "accuracy":
        return replace(
            found,
            mean=max(0.0, found.mean - luck),
            low=_less(found.low, luck),
            balanced_accuracy=_less(found.balanced_accuracy, luck),
            macro_f1=_less(found.macro_f1, luck),
        )
    return replace(found, mean=found.mean + luck, high=None if found.high is None else found.high + luck)


def _less(share: float | None, luck: float) -> float | None:
    return None if share is None else max(0.0, share - luck)


def _error(answers: Answers, objective: Objective) -> CrossValidation:
    judged, of = np.unique(answers.examples, return_inverse=True)
    squares = (answers.outputs - answers.targets).square().mean(1).double()
    # In the unit of the metric, whatever scale the targets were learned in.
    whole = float(objective.metrics(answers.outputs, answers.targets)[objective.headline])
    squares *= whole / squares.mean() if whole > 0 else 0.0
    found = held_out.squared_error(
        np.bincount(of, squares.numpy()) / np.bincount(of),
        answers.n_folds,
        (answers.together.alike[judged], answers.together.clusters[judged]),
        confidence=CONFIDENCE,
    )
    known = math.isfinite(found.high)
    return CrossValidation(
        metric=objective.headline,
        mean=found.mean,
        half_width=None,
        low=found.low if known else None,
        high=found.high if known else None,
        confidence=CONFIDENCE,
        folds=answers.n_folds,
        repeats=answers.n_repeats,
        judged=len(judged),
        different=answers.n_different,
        origins=_n_origins(answers, judged),
    )


def _n_origins(answers: Answers, judged: Indices) -> int | None:
    together = answers.together
    return len(np.unique(together.clusters[judged])) if together.by_origin else None


def _weakest(recalls: dict[str, float]) -> dict[str, float]:
    """Classes that are answered less well than they are on average, the worst first."""
    mean = sum(recalls.values()) / len(recalls)
    below = [name for name in recalls if recalls[name] < mean - 1e-9]
    return {name: recalls[name] for name in sorted(below, key=recalls.__getitem__)[:MOST_WEAK]}
