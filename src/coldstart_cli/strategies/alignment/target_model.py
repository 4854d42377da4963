"""The phase that trains a target model on a new task: its labels, names and unlabelled examples."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import final

import torch
from torch import Tensor
from torch.func import functional_call
from torch.nn import functional as F

from coldstart_cli.core.objectives import one_hot
from coldstart_cli.core.tasks import Inputs, Support
from coldstart_cli.models.alignment import Steered
from coldstart_cli.models.network import Encoder, Network, below, blank_head
from coldstart_cli.strategies.alignment.source_knowledge import SourceKnowledge
from coldstart_cli.strategies.building_blocks.centred import Centred
from coldstart_cli.training.inner_loop import Rule, Weights, descend


@final
@dataclass(frozen=True, slots=True)
class TargetModel:
    """A network that starts at the points of the alignment model, and the losses that train it.

    Attributes:
        network: a linear head on centred features of length 1; its own weights are the source model's.
        memory: the source's.
        support: of the task.
        said: where the classes should be, and to whom the unlabelled examples belong.
        names: of the classes where they are learned from, or None.
        unlabelled_weight: of the loss on unlabelled examples.
        weight: of the distance.
    """

    network: Network
    memory: SourceKnowledge
    support: Support
    said: Steered
    names: Inputs | None
    unlabelled_weight: float
    weight: float

    def start(self) -> Weights:
        """All weights that learn, with w_c = scale * u_c and no bias: logits scale * cos(f, u_c)."""
        head = {"head.weight": self.said.scale * self.said.points, "head.bias": self.network.head.bias}
        learning = {n: w for n, w in self.network.named_parameters() if w.requires_grad and n not in head}
        return {name: w.detach() for name, w in (learning | head).items()}

    def trained(self, rule: Rule) -> Iterator[tuple[Weights, float]]:
        """Weights and distance before the first step and after each; once where nothing can be learned."""

        def loss(weights: Weights) -> Tensor:
            own, distance = self._losses(weights)
            return own + self.weight * distance

        moving = {name: w.clone().requires_grad_() for name, w in self.start().items()}
        for weights in descend(loss, moving, rule, second_order=False):
            with torch.no_grad():
                distance = float(self._losses(weights)[1])
            yield {name: w.detach() for name, w in weights.items()}, distance
            if not len(self.support) and self.names is None and self.said.soft is None:
                return

    def _losses(self, weights: Weights) -> tuple[Tensor, Tensor]:
        """The loss on labels, names and unlabelled examples, and the distance."""
        support, network, n_way = self.support, self.network, self.support.objective.n_outputs
        features = network.features(weights, support.inputs)
        sums = one_hot(support.targets, n_way).to(features.dtype).T @ features
        known, targets = features, support.targets
        if self.names is not None:  # each is one more example of its class
            known = torch.cat([known, self._read(weights, self.names)])
            targets = torch.cat([targets, torch.arange(n_way, device=targets.device)])
        loss = features.new_zeros(())
        if len(targets):
            loss = support.objective.loss(network.from_features(weights, known), targets)
        if self.said.soft is not None:
            assert support.unlabelled is not None
            free = network.features(weights, support.unlabelled)
            sums = sums + self.said.soft.T @ free
            of_free = F.cross_entropy(network.from_features(weights, free), self.said.soft)
            loss = loss + self.unlabelled_weight * of_free
        return loss, 1 - (F.normalize(sums, dim=-1) * self.said.points).sum(-1).mean()

    def _read(self, weights: Weights, names: Inputs) -> Tensor:
        assert isinstance(self.network.encoder, Centred)
        encoder = self.network.encoder.encoder
        features: Tensor = functional_call(encoder, below("encoder.encoder.", weights), (names,))
        return self.memory.centred_names(features)


def blank_network(encoder: Encoder, memory: SourceKnowledge, n_way: int) -> Network:
    """The encoder with centred features under a head whose weights will be replaced."""
    centred = Centred(encoder, memory.centre, normalise=True)
    return Network(centred, blank_head(centred.feature_dim, n_way).to(memory.centre))
