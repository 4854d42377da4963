"""Tip-Adapter: labelled examples as a memory beside what the names say, without training or with a little.

Zhang, Fang, Zhang, Gao, Li, Dai, Qiao and Li 2021, arXiv:2111.03930, equations 3 to 6, and
trained, Tip-Adapter-F.
"""

from __future__ import annotations

import itertools
from collections.abc import Generator, Iterator
from functools import partial
from typing import Annotated

import torch
from annotated_types import Ge, Gt, Len, Lt
from torch import Tensor, nn

from coldstart_cli.core.objectives import one_hot
from coldstart_cli.core.strategy import Adapted, Strategy
from coldstart_cli.core.tasks import Inputs, Support, Task, TaskSource
from coldstart_cli.models.network import Encoder, Network, linear_head
from coldstart_cli.strategies.building_blocks.centred import Centred
from coldstart_cli.strategies.building_blocks.names import ablations_of_names
from coldstart_cli.strategies.building_blocks.source_classifier import descended, fit_classifier
from coldstart_cli.training.inner_loop import Weights, adam
from coldstart_cli.training.optimizers import OptimizerFactory
from coldstart_cli.training.outer_loops import in_turn, scored


class TipAdapter(Strategy):
    """Adds to the logits of the names those of a memory of the labelled examples, whose keys steps move.

    With features f of a query, K (n, d) of the support set and W (n_way, d) of the names, all of length 1,
    and labels L (n, n_way) as zeros and ones: logits = alpha exp(-beta (1 - f K^T)) L + f W^T / temperature.
    Item 0 is Tip-Adapter, later items Tip-Adapter-F: gradient steps on K alone, by Adam on all labels. The
    paper's steps are by AdamW on augmented images, with a cosine schedule. Without names the memory answers
    alone; without labels the names do.

    alpha and beta are searched as in the authors' code (`search_hp`), by accuracy on other data: here on
    tasks of the source, each scored at every pair of the grid.

    Args:
        encoder, optimizer, n_source_outputs, n_steps, seed: from the run.
        source_training: train a source classifier first; otherwise the encoder is taken as it is given, as in
            the paper, which suits pretrained ones.
        batch_size: source examples in one outer step.
        alpha: of the memory beside the names; of the search's pairs, where it has found the best.
        beta: how fast an example's say falls with its distance; the same.
        search: `alpha` and `beta`, lists of values of which every pair is tried on source tasks; empty: none.
            Of pairs that do equally well the first counts.
        search_share: of the outer steps, the last ones, each of which tries all pairs on one source task; all
            of them without `source_training`.
        temperature: that similarities to names are divided by, CLIP's own.
        lr: rate of the steps.
    """

    needs_classes = True
    replayable = False  # Adam changes its means in place
    reads_names = True
    starts_from_support = True
    shardable = True
    accuracies: Tensor
    pair: Tensor

    def __init__(
        self,
        encoder: Encoder,
        optimizer: OptimizerFactory,
        n_source_outputs: int,
        n_steps: int,
        seed: int,
        *,
        source_training: bool,
        batch_size: Annotated[int, Ge(1)],
        alpha: Annotated[float, Ge(0)],
        beta: Annotated[float, Gt(0)],
        search: dict[str, Annotated[list[float], Len(1)]],
        search_share: Annotated[float, Gt(0), Lt(1)],
        temperature: Annotated[float, Gt(0)],
        lr: Annotated[float, Gt(0)],
    ) -> None:
        super().__init__()
        self.network = Network(encoder, linear_head(encoder.feature_dim, n_source_outputs))
        self.network.head.requires_grad_(source_training)
        if search and set(search) != {"alpha", "beta"}:
            raise ValueError("search: it needs values of alpha and values of beta; give both lists, or {}")
        self.source_training, self.searches_source = source_training, bool(search)
        self.learns_from_source = source_training or bool(search)
        self.seed, self.batch_size = seed, batch_size
        self.grid = list(itertools.product(search["alpha"], search["beta"])) if search else [(alpha, beta)]
        self.preparing_steps = round((1 - search_share) * n_steps) if source_training and search else 0
        self.register_buffer("accuracies", torch.zeros(len(self.grid)))
        # A tensor that is filled anew, not numbers: recorded adaptations read it where it lies.
        self.register_buffer("pair", torch.tensor([alpha, beta]))
        self.alpha, self.beta, self.temperature, self.lr = alpha, beta, temperature, lr
        self.optimizer = optimizer(self.parameters())

    def fit(self, source: TaskSource, start: int = 0) -> Iterator[dict[str, float]]:
        training = partial(
            fit_classifier, self.network, source, self.optimizer, batch_size=self.batch_size, seed=self.seed
        )
        if not self.searches_source:
            return training(start=start) if self.source_training else iter(())
        phases = [
            (self.preparing_steps, lambda first: training(start=first)),
            (0, lambda first: scored(self._score, source, start=first)),
        ]
        return in_turn(phases, start)

    def _score(self, task: Task) -> dict[str, float]:
        """Adds the accuracies of all pairs of the grid on the task to those of earlier ones."""
        support, query = task.support, task.query
        encoder, labels = self._encoder(), one_hot(support.targets, support.objective.n_outputs)
        with torch.no_grad():
            keys, features = encoder(support.inputs), encoder(query.inputs)
            named = 0.0
            if support.names is not None:
                named = features @ encoder(support.names).T / self.temperature
            of_memory = partial(memory_logits, features, keys, labels=labels.to(keys.dtype))
            for i, (alpha, beta) in enumerate(self.grid):
                said = (of_memory(alpha=alpha, beta=beta) + named).argmax(1)
                self.accuracies[i] += (said == query.targets).double().mean()
        best = (self.accuracies == self.accuracies.max()).nonzero()[0]  # argmax may return any of equals
        alpha, beta = self.grid[int(best)]
        self.pair.copy_(torch.tensor([alpha, beta]))
        return {"alpha": alpha, "beta": beta}

    def _encoder(self) -> nn.Module:
        return Centred(self.network.encoder, None, normalise=True)

    def adapt(self, support: Support) -> Generator[Adapted, None, None]:
        """Yields after every step; only once, the names alone, where there are no labels."""
        encoder, (alpha, beta) = self._encoder(), self.pair.clone()
        labels = one_hot(support.targets, support.objective.n_outputs)
        with torch.no_grad():
            names = None if support.names is None else encoder(support.names)
            keys = encoder(support.inputs) if len(support) else self.network.head.weight[:0]
        scored = partial(memory_logits, labels=labels.to(keys.dtype), alpha=alpha, beta=beta)
        named = 0.0 if names is None else keys @ names.T / self.temperature

        def loss(moving: Weights) -> Tensor:
            return support.objective.loss(scored(keys, moving["keys"]) + named, support.targets)

        for changed in descended(loss, {"keys": keys}, adam(self.lr, beta1=0.9), support):
            build = partial(
                TipAdapterPredictor, encoder, changed["keys"], labels.to(keys.dtype), names,
                alpha=alpha, beta=beta, temperature=self.temperature,
            )  # fmt: skip
            yield Adapted(build, changed)

    def ablations(self, support: Support, other: Support) -> dict[str, Iterator[Adapted]]:
        return ablations_of_names(self.adapt, support, {"name_weight": 1.0})


class TipAdapterPredictor(nn.Module):
    """alpha exp(-beta (1 - f K^T)) L + f W^T / temperature of inputs (n, ...), without W the first term."""

    keys: Tensor
    labels: Tensor
    names: Tensor | None
    alpha: Tensor
    beta: Tensor

    def __init__(
        self,
        encoder: nn.Module,
        keys: Tensor,
        labels: Tensor,
        names: Tensor | None,
        *,
        alpha: Tensor,
        beta: Tensor,
        temperature: float,
    ) -> None:
        super().__init__()
        self.encoder, self.temperature = encoder, temperature
        held = ("keys", keys), ("labels", labels), ("names", names), ("alpha", alpha), ("beta", beta)
        for name, tensor in held:
            self.register_buffer(name, tensor)

    def forward(self, inputs: Inputs) -> Tensor:
        features = self.encoder(inputs)
        logits = memory_logits(features, self.keys, labels=self.labels, alpha=self.alpha, beta=self.beta)
        return logits if self.names is None else logits + features @ self.names.T / self.temperature


def memory_logits(
    features: Tensor, keys: Tensor, *, labels: Tensor, alpha: float | Tensor, beta: float | Tensor
) -> Tensor:
    """alpha exp(-beta (1 - f K^T)) L, (m, n_way).

    Args:
        features: (m, feature_dim).
        keys: (n, feature_dim).
        labels: (n, n_way), zeros and ones.
    """
    return alpha * torch.exp(-beta * (1 - features @ keys.T)) @ labels
