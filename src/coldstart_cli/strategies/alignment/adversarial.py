"""Alignment by an adversary: features from which no discriminator tells the domains apart.

- DANN: Ganin, Ustinova, Ajakan, Germain, Larochelle, Laviolette, Marchand and Lempitsky 2016,
  arXiv:1505.07818.
- CDAN (`conditional: true`) and CDAN+E (`entropy: true`): Long, Cao, Wang and Jordan 2018,
  arXiv:1705.10667.
"""

from __future__ import annotations

import math
from collections.abc import Generator, Iterator
from typing import Annotated, Unpack

import torch
from annotated_types import Ge
from torch import Tensor, nn
from torch.func import functional_call

from coldstart_cli.core.strategy import Adapted, Strategy
from coldstart_cli.core.tasks import Support, TaskSource
from coldstart_cli.models.network import Encoder, Network, below, linear_head
from coldstart_cli.strategies.building_blocks import discrepancy
from coldstart_cli.strategies.building_blocks.source_memory import Memory
from coldstart_cli.strategies.building_blocks.two_domains import (
    BetweenDomains,
    Domains,
    adapt_between,
    fit_and_remember,
    source_outputs,
)
from coldstart_cli.training.inner_loop import Weights
from coldstart_cli.training.optimizers import OptimizerFactory

WIDEST_PRODUCT = 4096
"""Width above which products are replaced by random projections, as in CDAN's paper, section 3.2."""

RULER = (0.25, 0.5, 1.0, 2.0, 4.0)
"""Bandwidths of the MMD that is noted; a discriminator's own loss says little, because it learns too."""


class DomainAdversarial(Strategy):
    """Learns the task while a discriminator learns to tell the domains apart and the encoder to prevent that.

    Loss of a step: classification of both domains + `discrepancy.domain_loss` of a discriminator that reads
    the features through `discrepancy.reversed_gradient`, whose strength rises with p = step / ramp_steps
    as weight * (2 / (1 + exp(-10 p)) - 1) (Ganin 2016, section 5.2.2). With `conditional`, the
    discriminator reads all products of the features and the source head's class probabilities, in random
    projection where they are more than 4,096 (Long 2018, equation 7).

    Departures: where the task's classes are new, the source head's probabilities serve both domains, for
    these are what the domains share; no gradient passes through probabilities (as in the authors' code)
    or entropies. Each adaptation starts the discriminator from the same initial weights, which are state.

    The note `distance` is the squared MMD of the features.

    Args:
        encoder, optimizer, n_source_outputs, seed: from the run.
        conditional: condition the discriminator on class probabilities (CDAN).
        entropy: weigh confident examples more in the discriminator's loss (CDAN+E with `conditional`).
        discriminator_width: units of its two hidden layers, and of a random projection.
        weight: strength of the reversed gradient once it has risen.
        ramp_steps: steps of adaptation over which it rises.
        between: see `BetweenDomains`.
    """

    needs_labels = False
    needs_unlabelled = True
    adversarial, replayable = True, False
    shardable = True

    def __init__(
        self,
        encoder: Encoder,
        optimizer: OptimizerFactory,
        n_source_outputs: int,
        seed: int,
        *,
        conditional: bool,
        entropy: bool,
        discriminator_width: Annotated[int, Ge(1)],
        weight: Annotated[float, Ge(0)],
        ramp_steps: Annotated[int, Ge(1)],
        **between: Unpack[BetweenDomains],
    ) -> None:
        super().__init__()
        self.needs_classes = conditional or entropy
        self.network = Network(encoder, linear_head(encoder.feature_dim, n_source_outputs))
        self.memory = Memory(between["memory_size"])
        self.seed, self.between = seed, between
        self.conditional, self.entropy = conditional, entropy
        self.discriminator_width, self.weight, self.ramp_steps = discriminator_width, weight, ramp_steps
        self.of_features: Tensor | None
        self.of_probabilities: Tensor | None
        width = self._conditioned_width(encoder.feature_dim, n_source_outputs)
        self.discriminator = _discriminator(width, discriminator_width)
        # Without the discriminator: training on the source has nothing to tell apart yet.
        self.optimizer = optimizer(self.network.parameters())

    def fit(self, source: TaskSource, start: int = 0) -> Iterator[dict[str, float]]:
        return fit_and_remember(
            self.network, self.memory, source, self.optimizer, self.between, seed=self.seed, start=start
        )

    def adapt(self, support: Support) -> Generator[Adapted, None, None]:
        return adapt_between(
            self.network,
            self.memory,
            support,
            self._step_loss,
            lambda domains: discrepancy.mmd(domains.source, domains.target, RULER, unbiased=True),
            {f"discriminator.{name}": w for name, w in self.discriminator.named_parameters()},
            self.between,
        )

    def short_of(self, n_steps: int) -> str | None:
        reached = rising(n_steps / self.ramp_steps)
        if reached > 0.5:
            return None
        n = self.ramp_steps
        return (
            f"after {n_steps:,} steps, the most that are tried, its adversarial term weighs {reached:.0%} of "
            f"what it rises to over {n:,}, and it is little more than fine-tuning; try more "
            f"('evaluation.steps=[0,{n // 3},{n}]'), or strategy.ramp_steps={max(1, n_steps)}"
        )

    def _step_loss(self, classification: Tensor, weights: Weights, domains: Domains, step: int) -> Tensor:
        strength = self.weight * rising(step / self.ramp_steps)
        # Source first: `domain_loss` tells the domains apart by position.
        features = torch.cat([domains.source, domains.target])
        read = discrepancy.reversed_gradient(features, strength)
        # Detached: the encoder must not fool the discriminator by changing its own class probabilities.
        outputs = source_outputs(weights, features).detach()
        if self.conditional:
            read = self._conditioned(read, outputs.softmax(-1))
        confidence = discrepancy.entropy_weights(outputs) if self.entropy else None
        logits = functional_call(self.discriminator, below("discriminator.", weights), (read,)).squeeze(-1)
        return classification + discrepancy.domain_loss(logits, len(domains.source), confidence)

    def _conditioned_width(self, feature_dim: int, n_classes: int) -> int:
        """The width of what the discriminator reads; draws the random projections, if they are needed."""
        product = feature_dim * n_classes
        random = self.conditional and product > WIDEST_PRODUCT
        # From the run's seed: every rank makes the same projections.
        generator = torch.Generator().manual_seed(self.seed)
        shapes = {"of_features": feature_dim, "of_probabilities": n_classes}
        for name, width in shapes.items():
            # Both buffers exist in any case, so that every state dict has the same names.
            drawn = torch.randn(self.discriminator_width, width, generator=generator) if random else None
            self.register_buffer(name, drawn)
        if not self.conditional:
            return feature_dim
        return self.discriminator_width if random else product

    def _conditioned(self, features: Tensor, probabilities: Tensor) -> Tensor:
        if self.of_features is None or self.of_probabilities is None:
            return discrepancy.multilinear(features, probabilities)
        maps = (self.of_features, self.of_probabilities)
        return discrepancy.randomised_multilinear(features, probabilities, maps)


def rising(progress: float) -> float:
    """2 / (1 + exp(-10 p)) - 1, from 0 at p = 0 to nearly 1 at p = 1 and beyond."""
    return 2 / (1 + math.exp(-10 * min(1.0, progress))) - 1


def _discriminator(width: int, hidden: int) -> nn.Sequential:
    """(n, width) -> the logit (n, 1) that an example is of the source."""
    layers: list[nn.Module] = [nn.Linear(width, hidden), nn.ReLU(), nn.Linear(hidden, hidden), nn.ReLU()]
    return nn.Sequential(*layers, nn.Linear(hidden, 1))
