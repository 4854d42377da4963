"""Choosing among what was learned from several parts of a source, or weighting it, by a similarity.

Candidates are ways from a support set to predictors, by name; each is scored beside the choice, so that
`strategy_notes.similarity_check` can say whether the similarity foretold the gain.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from itertools import islice
from typing import Literal, final

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from coldstart_cli.core.strategy import Adapted
from coldstart_cli.core.tasks import Support
from coldstart_cli.strategies.building_blocks.similarity import h_score, leep, logme, n_leep

ALL = "all groups"
"""The name of what all groups taught together, among the candidates."""
Use = Literal["weight", "choose"]
"""Average the candidates' predictions by softmax(similarity / temperature), or take the one most alike."""
Measure = Literal["leep", "logme", "n_leep", "h_score"]
"""Of a classifier's outputs for a task's examples, or of its features, and their labels."""
Adapt = Callable[[Support], Iterator[Adapted]]


def lack_of_groups(n: int) -> str | None:
    """Why there is no choice among n groups of source classes, or None where there is one."""
    if n >= 2:
        return None
    return (
        f"it chooses among groups of source classes and these data name {n}; choose dataset=glyphs or "
        "omniglot, or strategy=finetune"
    )


def measured(
    measure: Measure, features: Tensor, logits: Tensor, targets: Tensor, n_way: int, components: int
) -> float:
    """How alike a candidate is to a task of n_way classes.

    Args:
        features: (n, d) that it makes of the task's examples; float32.
        logits: (n, C) of its source classes.
        targets: (n,) class ids of the task.
        components: of `n_leep`.
    """
    if measure == "leep":
        return leep(logits.softmax(-1), targets, n_way)
    if measure == "logme":
        return logme(features, F.one_hot(targets, n_way))
    if measure == "n_leep":
        return n_leep(features, targets, n_way, components)
    return h_score(features, targets, n_way)


def used(
    use: Use,
    candidates: Mapping[str, Adapt],
    of_all: Adapt,
    similarities: Sequence[float],
    temperature: float,
    support: Support,
) -> Iterator[Adapted]:
    """Yields after every step; the similarity of each candidate is noted from the first step on.

    The first item knows nothing of the support set: with `choose` what all groups taught, with `weight` all
    candidates alike, under new heads.

    Args:
        of_all: what all groups taught, a candidate or not.
        temperature: of the weights, in units of the similarity; `weight` alone.
    """
    notes = {f"similarity of {c}": s for c, s in zip(candidates, similarities, strict=True)}
    if use == "choose":
        best = list(candidates)[max(range(len(similarities)), key=similarities.__getitem__)]
        steps = _chosen(candidates, of_all, best, support)
    else:
        weights = (torch.tensor(similarities) / temperature).softmax(0).to(support.targets.device)
        steps = _mixed(candidates, weights, support)
    for step, adapted in enumerate(steps):
        yield Adapted(adapted.build, adapted.changed, notes if step else {}, adapted.beside)


def _chosen(candidates: Mapping[str, Adapt], of_all: Adapt, best: str, support: Support) -> Iterator[Adapted]:
    """What all groups taught before a step, then the candidate most alike."""
    before = next(of_all(support))
    for step, adapted in enumerate(candidates[best](support)):
        beside = {name: partial(_after, adapt, support, step) for name, adapt in candidates.items()}
        # Before a step nothing may be known of the support set, also not which candidate it chose.
        shown = adapted if step else before
        yield Adapted(shown.build, shown.changed, {}, beside)


def _mixed(candidates: Mapping[str, Adapt], weights: Tensor, support: Support) -> Iterator[Adapted]:
    """All candidates, one step further each time; weighted equally at first, then by similarity."""
    # Generators side by side: each step of the mixture takes one step of every candidate.
    trajectories = [adapt(support) for adapt in candidates.values()]
    for step, together in enumerate(zip(*trajectories, strict=True)):
        shares = weights if step else torch.full_like(weights, 1 / len(weights))
        builds = [adapted.build for adapted in together]
        changed = {
            f"experts.{i}.network.{name}": tensor
            for i, adapted in enumerate(together)
            for name, tensor in adapted.changed.items()
        }
        yield Adapted(
            partial(Mixture, builds, shares),
            {**changed, "weights": shares},
            {},
            dict(zip(candidates, builds, strict=True)),
        )


@final
class Mixture(nn.Module):
    """The weighted mean of several classifiers' log-probabilities, (n, ...) -> (n, n_way).

    Args:
        builds: make the classifiers.
        weights: (n_classifiers,), which add up to 1.
    """

    weights: Tensor

    def __init__(self, builds: Sequence[Callable[[], nn.Module]], weights: Tensor) -> None:
        super().__init__()
        self.classifiers = nn.ModuleList(build() for build in builds)
        self.register_buffer("weights", weights)

    def forward(self, inputs: object) -> Tensor:
        each = [classifier(inputs).log_softmax(-1) for classifier in self.classifiers]
        return torch.einsum("g,gnc->nc", self.weights.to(each[0].dtype), torch.stack(each))


def _after(adapt: Adapt, support: Support, step: int) -> nn.Module:
    """A candidate's predictor after `step` steps, computed on demand."""
    return next(islice(adapt(support), step, None)).module
