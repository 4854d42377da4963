"""Modulation of every layer by the task: of an encoder's making, or found by gradient steps.

- `FiLM`: a task vector makes the scales and shifts, as in CNAPs (Requeima, Gordon, Bronskill, Nowozin
  and Turner 2019, arXiv:1906.07697, section 2.2; Perez et al. 2018, arXiv:1709.07871).
- `CAVIA`: gradient steps find the few numbers that make them (Zintgraf, Shiarlis, Kurin, Hofmann and
  Whiteson 2019, arXiv:1810.03642).
"""

from __future__ import annotations

import math
from collections.abc import Generator, Iterator, Mapping
from functools import partial
from typing import Annotated

import torch
from annotated_types import Ge, Len
from torch import Tensor, nn
from torch.func import functional_call

from coldstart_cli.core.strategy import Adapted, Strategy
from coldstart_cli.core.tasks import Examples, Inputs, Objective, Support, TaskSource
from coldstart_cli.models.mlp import perceptron, zeroed
from coldstart_cli.models.modulation import modulate, modulated_layers
from coldstart_cli.models.network import Encoder, Network, Predictor, below, blank_head, linear_head
from coldstart_cli.models.norm import refuse_running_statistics
from coldstart_cli.strategies.building_blocks.scores import scores
from coldstart_cli.strategies.building_blocks.set_statistics import (
    SHARPNESS,
    SetStatistics,
    covariance_head,
    logs,
    prepared,
    set_statistics,
    unknown_within,
    with_unlabelled,
)
from coldstart_cli.training.meta_batch import Each
from coldstart_cli.training.optimizers import OptimizerFactory
from coldstart_cli.training.outer_loops import episodic


class FiLM(Strategy):
    """The task vector modulates every layer of the encoder; adaptation is two forward passes.

    With classes the vector is rho([log W, log B]) of the variances of the plain encoder's features within and
    between them (`set_statistics`), and the head linear discriminant analysis of modulated features with
    the task's own covariance. In regression it is the mean over the support set of rho([phi(x), y]), and
    the head a learned one that is modulated too.

    Departures from CNAPs: encoder and modulation are learned together on tasks rather than the encoder
    first on a large classification; the set is read with its labels, for a mean of embeddings cannot tell
    by which rule a set is labelled; the covariance is pooled over classes.

    Args:
        encoder, optimizer, n_outputs, n_way, vectorize: from the run; where n_way is None, tasks are
            regressions.
        task_dim: width of the task vector.
        hidden: units of the hidden layers of rho and of the modulation's generator.
        fewest_shots: a training task of classes has this number to k_shot labels of each, drawn for it; None:
            all have k_shot.
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
        fewest_shots: Annotated[int, Ge(1)] | None,
        meta_batch_size: Annotated[int, Ge(1)],
    ) -> None:
        super().__init__()
        self.fewest_shots = fewest_shots
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
        else:
            # A vector of the size of one, whatever the scale of the features that it comes from.
            self.set_encoder = perceptron([2 * read, *hidden, task_dim]).append(nn.LayerNorm(task_dim))
            self.log_ridge = nn.Parameter(torch.zeros(()))
            self.log_scale = nn.Parameter(torch.tensor(math.log(SHARPNESS / read)))
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
            prepare=partial(prepared, fewest_shots=self.fewest_shots),
        )

    def adapt(self, support: Support) -> Generator[Adapted, None, None]:
        """Yields once: there is no step to take."""
        with torch.no_grad():
            adapted = self._with(support, self._weights(with_unlabelled(support), with_unlabelled(support)))
        yield adapted

    def ablations(self, support: Support, other: Support) -> dict[str, Iterator[Adapted]]:
        """`swap`, `off` (no modulation) and, of classes, the covariance of the plain features alone."""
        own, theirs = with_unlabelled(support), with_unlabelled(other)
        with torch.no_grad():
            found = {"swap": self._weights(own, theirs), "off": self._weights(own, None)}
        return {name: iter([self._with(support, changed)]) for name, changed in found.items()}

    def _weights(self, own: Support, told: Support | None) -> dict[str, Tensor]:
        return self._adapted(own.objective, dict(self.named_parameters()), own, told)

    def _with(self, support: Support, changed: Mapping[str, Tensor]) -> Adapted:
        network = Network(self.encoder, blank_head(self.encoder.feature_dim, support.objective.n_outputs))
        return Adapted(partial(Predictor, network, changed), changed)

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
            own = Examples(support, support_targets)
            changed = self._adapted(objective, weights, own, own)
            features = self._features({**weights, **changed}, query)
            outputs = nn.functional.linear(features, changed["head.weight"], changed["head.bias"])
            return scores(objective, outputs, query_targets)

        found: dict[str, Tensor] = each(scores_of)(
            weights, support.inputs, support.targets, query.inputs, query.targets
        )
        return found

    def _adapted(
        self, objective: Objective, weights: Mapping[str, Tensor], own: Examples, told: Examples | None
    ) -> dict[str, Tensor]:
        """The modulated tensors of the encoder and the task's head, by their names in a `Network`.

        Args:
            own: the task's examples, labelled and unlabelled.
            told: examples that the task vector and the covariance are read from, `own` or another task's;
            None: nothing
                is modulated, and the covariance is `own`'s.
        """
        changed: dict[str, Tensor] = {}
        if told is not None:
            # The task is read by the plain encoder; modulated features are only for the classifier.
            features = self._features(weights, told.inputs)
            task = self._task(weights, features, told.targets, objective.n_outputs)
            modulation = _called(self.generator, "generator.", weights, task)
            changed = modulate(weights, self.layers, modulation)
        elif self.n_way is None:
            changed = {name: weights[name] for name in ("head.weight", "head.bias")}
        if self.n_way is not None:
            modulated = {**weights, **changed}
            found = self._found(modulated, own, objective.n_outputs)
            by = found if told is own or told is None else self._found(modulated, told, objective.n_outputs)
            ridge = weights["log_ridge"].exp() + unknown_within(by)
            weight, bias = covariance_head(found.means, by, ridge)
            scale = weights["log_scale"].exp()
            changed["head.weight"], changed["head.bias"] = scale * weight, scale * bias
        return changed

    def _found(self, weights: Mapping[str, Tensor], examples: Examples, n_way: int) -> SetStatistics:
        return set_statistics(self._features(weights, examples.inputs), examples.targets, n_way)

    def _task(
        self, weights: Mapping[str, Tensor], features: Tensor, targets: Tensor, n_outputs: int
    ) -> Tensor:
        """The task vector (task_dim,) of features (n, feature_dim)."""
        if self.n_way is None:
            pairs = torch.cat([features, targets.to(features.dtype)], dim=1)
            return _called(self.set_encoder, "set_encoder.", weights, pairs).mean(0)
        read = logs(set_statistics(features, targets, n_outputs))[:2].flatten()
        return _called(self.set_encoder, "set_encoder.", weights, read)

    def _features(self, weights: Mapping[str, Tensor], inputs: Inputs) -> Tensor:
        return _called(self.encoder, "encoder.", weights, inputs)


def _called(module: nn.Module, prefix: str, weights: Mapping[str, Tensor], inputs: Inputs) -> Tensor:
    outputs: Tensor = functional_call(module, below(prefix, weights), (inputs,))
    return outputs
