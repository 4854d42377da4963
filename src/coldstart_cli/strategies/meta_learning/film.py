"""Modulation of every layer by the task: of an encoder's making, or found by gradient steps.

- `FiLM`: a task vector makes the scales and shifts, as in CNAPs (Requeima, Gordon, Bronskill, Nowozin
  and Turner 2019, arXiv:1906.07697, section 2.2; Perez et al. 2018, arXiv:1709.07871).
- `CAVIA`: gradient steps find the few numbers that make them (Zintgraf, Shiarlis, Kurin, Hofmann and
  Whiteson 2019, arXiv:1810.03642).
"""

from __future__ import annotations

from collections.abc import Generator, Iterator, Mapping
from functools import partial
from typing import Annotated

import torch
from annotated_types import Ge, Len
from torch import Tensor, nn
from torch.func import functional_call

from coldstart_cli.core.tasks import Adapted, Examples, Inputs, Objective, Strategy, Support, TaskSource
from coldstart_cli.models.mlp import perceptron, zeroed
from coldstart_cli.models.modulation import modulate, modulated_layers, prototype_head
from coldstart_cli.models.network import Encoder, Network, Predictor, below, blank_head, linear_head
from coldstart_cli.models.norm import refuse_running_statistics
from coldstart_cli.strategies.building_blocks.prototypes import prototypes
from coldstart_cli.strategies.building_blocks.scores import scores
from coldstart_cli.training.meta_batch import Each
from coldstart_cli.training.optimizers import OptimizerFactory
from coldstart_cli.training.outer_loops import episodic


class FiLM(Strategy):
    """The task vector modulates every layer of the encoder; adaptation is two forward passes.

    The vector is the mean over the support set of rho(phi(x)), in regression of rho([phi(x), y]), with the
    encoder phi as it is. The head is a learned one that is modulated too (regression), or is made of the
    class means of modulated features.

    Departures from CNAPs: encoder and modulation are learned together on tasks rather than the encoder
    first on a large classification; the head by class means is ProtoNet's.

    Args:
        encoder, optimizer, n_outputs, n_way, vectorize: from the run; where n_way is None, tasks are
            regressions.
        task_dim: width of the task vector.
        hidden: units of the hidden layers of rho and of the modulation's generator.
        meta_batch_size: tasks in one outer step.
    """

    def __init__(
        self,
        encoder: Encoder,
        optimizer: OptimizerFactory,
        n_outputs: int,
        n_way: int | None,
        vectorize: bool,
        *,
        task_dim: Annotated[int, Ge(1)],
        hidden: Annotated[list[Annotated[int, Ge(1)]], Len(1)],
        meta_batch_size: Annotated[int, Ge(1)],
    ) -> None:
        super().__init__()
        refuse_running_statistics(encoder)
        self.n_way, self.vectorize, self.meta_batch_size = n_way, vectorize, meta_batch_size
        self.task_dim, self.hidden = task_dim, hidden
        self.encoder = encoder
        self.layers = {f"encoder.{name}": width for name, width in modulated_layers(encoder).items()}
        read = encoder.feature_dim
        if n_way is None:
            self.head = linear_head(read, n_outputs)
            # In a regression there are no class means to make a head of, so a learned one is modulated.
            self.layers["head"] = n_outputs
            read += n_outputs
        self.set_encoder = perceptron([read, *hidden, task_dim])
        # At zero it modulates nothing: training begins with the plain network.
        self.generator = zeroed(perceptron([task_dim, *hidden, 2 * sum(self.layers.values())]))
        self.optimizer = optimizer(self.parameters())

    def fit(self, source: TaskSource, start: int = 0) -> Iterator[dict[str, float]]:
        return episodic(
            self._task_loss,
            dict(self.named_parameters()),
            source,
            self.optimizer,
            meta_batch_size=self.meta_batch_size,
            vectorize=self.vectorize,
            start=start,
        )

    def adapt(self, support: Support) -> Generator[Adapted, None, None]:
        """Yields once: there is no step to take."""
        with torch.no_grad():
            weights = dict(self.named_parameters())
            changed = self._adapted(support.objective, weights, support.inputs, support.targets)
        network = Network(self.encoder, blank_head(self.encoder.feature_dim, support.objective.n_outputs))
        yield Adapted(partial(Predictor, network, changed), changed)

    def _task_loss(
        self,
        each: Each,
        weights: Mapping[str, Tensor],
        objective: Objective,
        support: Examples,
        query: Examples,
    ) -> dict[str, Tensor]:
        def scores_of(
            weights: Mapping[str, Tensor],
            support: Inputs,
            support_targets: Tensor,
            query: Inputs,
            query_targets: Tensor,
        ) -> dict[str, Tensor]:
            changed = self._adapted(objective, weights, support, support_targets)
            features = self._features({**weights, **changed}, query)
            outputs = nn.functional.linear(features, changed["head.weight"], changed["head.bias"])
            return scores(objective, outputs, query_targets)

        found: dict[str, Tensor] = each(scores_of)(
            weights, support.inputs, support.targets, query.inputs, query.targets
        )
        return found

    def _adapted(
        self, objective: Objective, weights: Mapping[str, Tensor], inputs: Inputs, targets: Tensor
    ) -> dict[str, Tensor]:
        """The modulated tensors of the encoder and the task's head, by their names in a `Network`."""
        # The task is read by the plain encoder; modulated features are only for the classifier.
        examples = self._features(weights, inputs)
        if self.n_way is None:
            examples = torch.cat([examples, targets.to(examples.dtype)], dim=1)
        task = _called(self.set_encoder, "set_encoder.", weights, examples).mean(0)
        changed = modulate(weights, self.layers, _called(self.generator, "generator.", weights, task))
        if self.n_way is not None:
            features = self._features({**weights, **changed}, inputs)
            means = prototypes(features, targets, objective.n_outputs)
            changed["head.weight"], changed["head.bias"] = prototype_head(means)
        return changed

    def _features(self, weights: Mapping[str, Tensor], inputs: Inputs) -> Tensor:
        return _called(self.encoder, "encoder.", weights, inputs)


def _called(module: nn.Module, prefix: str, weights: Mapping[str, Tensor], inputs: Inputs) -> Tensor:
    outputs: Tensor = functional_call(module, below(prefix, weights), (inputs,))
    return outputs
