"""After how many steps a new task is served best, where nothing of the source can say so.

Rows held out of the source's own domain never gain by adapting, so that they choose no step at all where a
shift of domain asks for many. The task then chooses by what it has itself, and what is reported is what a
user with these labels would get: no query and no other draw from the domain has a say.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from typing import Any, Literal

import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from coldstart_cli.core.strategy import Adapted, Strategy
from coldstart_cli.core.tasks import Inputs, Support
from coldstart_cli.training.cross_validation import Indices, to_select

MOST_FOLDS = 5
Means = Literal["labels", "unlabelled", "last"]


def outputs_after(
    strategy: Strategy,
    support: Support,
    inputs: Inputs,
    steps: Sequence[int],
    made: Callable[[nn.Module], nn.Module] = lambda module: module,
) -> Iterator[tuple[int, Tensor]]:
    """(step, outputs (n, n_outputs)) of `inputs` after each of `steps` of one adaptation, in their order.

    A strategy that takes fewer steps keeps its last predictor.

    Args:
        made: makes what answers of the adapted module.
    """
    adaptation, latest = strategy.adapt(support), None
    last: Adapted | None = None
    outputs = torch.empty(0)
    for step in range(max(steps) + 1):
        latest = next(adaptation, None) or latest
        assert latest is not None, "a strategy yields at least once"
        if step in steps:
            if latest is not last:  # making a module and calling it costs as much as a step
                with torch.no_grad():
                    outputs = made(latest.module)(inputs).float()
                last = latest
            yield step, outputs
    adaptation.close()


def means_of(support: Support) -> Means:
    """What such a task chooses its steps by: the same for all tasks of a shape."""
    if _least(support) >= 2:
        return "labels"
    informs = support.unlabelled is not None and support.objective.higher_is_better
    return "unlabelled" if informs else "last"


def own_step(strategy: Strategy, support: Support, steps: Sequence[int]) -> int:
    """The step that the task chooses for itself.

    With two labels a class or more: the best by cross-validation on them. With fewer, by the unlabelled
    examples of a classification: the largest mutual information between input and answer, H(mean p) - mean
    H(p), the criterion of Bridle, Heading and MacKay 1991 (NIPS, "Unsupervised classifiers, mutual
    information and phantom targets"), which wants answers that are sure and classes that all occur. With
    neither, the last.
    """
    means = means_of(support)
    if means == "labels":
        found = to_select(
            lambda seen, held_out: _scores(strategy, support, steps, seen, held_out),
            _labels(support),
            max_folds=MOST_FOLDS,
            seed=support.seed,
            higher_is_better=support.objective.higher_is_better,
        )
        if found is not None:
            return int(found)
    return by_unlabelled(strategy, support, steps) if means == "unlabelled" else max(steps)


def by_unlabelled(strategy: Strategy, support: Support, steps: Sequence[int]) -> int:
    """The step after which the unlabelled examples and their answers tell most of each other."""
    assert support.unlabelled is not None
    known = {
        step: mutual_information(outputs)
        for step, outputs in outputs_after(strategy, support, support.unlabelled, steps)
    }
    return max(steps, key=lambda step: known[step] if math.isfinite(known[step]) else -math.inf)


def mutual_information(outputs: Tensor) -> float:
    """H(mean p) - mean H(p) in nats of logits (n, n_outputs): between an input and its class."""
    log_p = outputs.double().log_softmax(dim=1)
    p = log_p.exp()
    mean = p.mean(dim=0)
    each = -(p * log_p).sum(dim=1).mean()
    # Where a class never occurs, p log p is 0, its limit.
    return float(-torch.xlogy(mean, mean).sum() - each)


def _scores(
    strategy: Strategy, support: Support, steps: Sequence[int], seen: Indices, held_out: Indices
) -> dict[str, float]:
    objective, device = support.objective, support.targets.device
    part, rest = (support.take(torch.from_numpy(ids).to(device)) for ids in (seen, held_out))
    known = replace(support, inputs=part.inputs, targets=part.targets)
    return {
        str(step): float(objective.metrics(outputs, rest.targets)[objective.headline])
        for step, outputs in outputs_after(strategy, known, rest.inputs, steps)
    }


def _labels(support: Support) -> NDArray[Any]:
    labels: NDArray[Any] = support.targets.cpu().numpy()
    return labels


def _least(support: Support) -> int:
    """Labels of the rarest class, classes without any included; of a regression, half of all."""
    if support.targets.ndim > 1:
        return len(support.targets) // 2
    return int(torch.bincount(support.targets, minlength=support.objective.n_outputs).min())
