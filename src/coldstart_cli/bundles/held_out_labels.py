"""Adaptation to a part of a task's labels, judged by the rest: how good, and after how many steps."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import torch
from numpy.typing import NDArray
from torch import Tensor

from coldstart_cli.core.tasks import Strategy, Support
from coldstart_cli.training.cross_validation import CrossValidated, Indices, to_estimate, to_select
from coldstart_cli.training.inner_loop import canonical

CONFIDENCE = 0.95


class Rehearsal:
    """Adaptation to a part of the labels, judged by the rest.

    Args:
        support: all labels.
        steps: adaptation steps at which the rest is predicted.
    """

    def __init__(self, strategy: Strategy, support: Support, steps: Sequence[int]) -> None:
        self.strategy, self.steps = strategy, steps
        ordered = canonical(support)  # so that the folds do not depend on the order of the files
        self.support = replace(support, inputs=ordered.inputs, targets=ordered.targets)
        self.outputs: dict[int, list[Tensor]] = {step: [] for step in steps}
        self.targets: list[Tensor] = []

    @property
    def _labels(self) -> NDArray[Any]:
        labels: NDArray[Any] = self.support.targets.cpu().numpy()
        return labels

    @property
    def _whole(self) -> bool:
        """Whether every class has a label: else none can be held out of it."""
        return self._labels.ndim > 1 or len(set(self._labels.tolist())) == self.support.objective.n_outputs

    def best(self, max_folds: int) -> int | None:
        """The number of steps that predicts best; None where there are too few labels to hold any out."""
        better = self.support.objective.higher_is_better
        found = to_select(
            self._score,
            self._labels,
            max_folds=max_folds,
            seed=self.support.seed,
            higher_is_better=better,
        )
        return int(found) if found is not None and self._whole else None

    def estimate(self, n_folds: int, n_repeats: int) -> CrossValidated | None:
        """How good the first of `steps` is; None where there are too few labels to hold any out."""
        if not self._whole:
            return None
        found = to_estimate(
            self._score, self._labels, n_folds=n_folds, n_repeats=n_repeats, seed=self.support.seed
        )
        return found.mean(str(self.steps[0]), CONFIDENCE) if found.values else None

    def predicted(self) -> tuple[Tensor, Tensor]:
        """Outputs after the first of `steps`, and targets, of all that was held out so far."""
        return torch.cat(self.outputs[self.steps[0]]), torch.cat(self.targets)

    def _score(self, seen: Indices, held_out: Indices) -> dict[str, float]:
        objective, device = self.support.objective, self.support.targets.device
        part, rest = (self.support.take(torch.from_numpy(ids).to(device)) for ids in (seen, held_out))
        adaptation = self.strategy.adapt(replace(self.support, inputs=part.inputs, targets=part.targets))
        self.targets.append(rest.targets.cpu())
        scores, latest = {}, None
        for step in range(max(self.steps) + 1):
            latest = next(adaptation, None) or latest
            assert latest is not None
            if step in self.outputs:
                with torch.no_grad():
                    outputs = latest.module(rest.inputs).float()
                self.outputs[step].append(outputs.cpu())
                scores[str(step)] = float(objective.metrics(outputs, rest.targets)[objective.headline])
        adaptation.close()
        return scores
