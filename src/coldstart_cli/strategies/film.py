"""Modulation of every layer by the task: of an encoder's making, or found by gradient steps.

- `FiLM`: a task vector makes the scales and shifts, as in CNAPs (Requeima, Gordon, Bronskill, Nowozin
  and Turner 2019, arXiv:1906.07697, section 2.2; Perez et al. 2018, arXiv:1709.07871).
- `CAVIA`: gradient steps find the few numbers that make them (Zintgraf, Shiarlis, Kurin, Hofmann and
  Whiteson 2019, arXiv:1810.03642).
"""

from __future__ import annotations

from collections.abc import Generator, Iterator, Mapping
from functools import partial
from itertools import islice
from typing import Annotated

import torch
from annotated_types import Ge, Gt, Len
from torch import Tensor, nn
from torch.func import functional_call

from coldstart_cli.adaptation import Weights, descend, sgd
from coldstart_cli.core import Adapted, Examples, Inputs, Objective, Strategy, Support, TaskSource
from coldstart_cli.models.mlp import perceptron, zeroed
from coldstart_cli.models.modulation import modulate, modulated_layers, prototype_head
from coldstart_cli.models.network import Encoder, Network, Predictor, below, blank_head, linear_head
from coldstart_cli.models.norm import learn_affine_alone, refuse_running_statistics
from coldstart_cli.strategies.maml import other_width
from coldstart_cli.strategies.protonet import prototypes
from coldstart_cli.strategies.source_classifier import scores
from coldstart_cli.training import Each, OptimizerFactory, episodic


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
            self.layers["head"] = n_outputs
            read += n_outputs
        self.set_encoder = perceptron([read, *hidden, task_dim])
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


class CAVIA(Strategy):
    """Gradient steps change a context, from which a linear map makes what changes in the network.

    That is scale and shift of every layer of the encoder, as in the paper's section 3.4, and a shift of
    the head's weights. The context starts at 0, where the map, which has no bias, leaves the network as it
    is. Equations 4 and 5: the inner steps move the context alone, the outer step everything else, through
    the inner steps.

    Departures from the paper: it modulates one convolution; where layers are linear it shifts the first one
    (a context beside the inputs), which this contains; its head does not move. With a head whose rows were
    scaled and shifted alone, 5-way 1-shot glyphs stopped at 47 % of new tasks' queries: a task numbers its
    classes as it likes, and the head has to follow.

    Args:
        encoder, optimizer, n_outputs, vectorize: from the run.
        n_context: numbers that the inner steps change.
        inner_lr: rate of the inner steps.
        inner_steps: steps taken on the support set in training.
        meta_batch_size: tasks in one outer step.
    """

    differentiates_twice = True

    def __init__(
        self,
        encoder: Encoder,
        optimizer: OptimizerFactory,
        n_outputs: int,
        vectorize: bool,
        *,
        n_context: Annotated[int, Ge(1)],
        inner_lr: Annotated[float, Gt(0)],
        inner_steps: Annotated[int, Ge(1)],
        meta_batch_size: Annotated[int, Ge(1)],
    ) -> None:
        super().__init__()
        refuse_running_statistics(encoder)
        learn_affine_alone(encoder)
        self.n_outputs, self.vectorize, self.meta_batch_size = n_outputs, vectorize, meta_batch_size
        self.n_context, self.inner_lr, self.inner_steps = n_context, inner_lr, inner_steps
        self.network = Network(encoder, linear_head(encoder.feature_dim, n_outputs))
        self.layers = {f"encoder.{name}": width for name, width in modulated_layers(encoder).items()}
        self.sizes = [2 * sum(self.layers.values()), n_outputs * encoder.feature_dim, n_outputs]
        self.generator = nn.Linear(n_context, sum(self.sizes), bias=False)
        self.optimizer = optimizer(self.parameters())

    def refusal(self, tasks: TaskSource) -> str | None:
        return other_width(self.n_outputs, tasks) or super().refusal(tasks)

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
        weights = {name: w.detach() for name, w in self.named_parameters()}

        def loss(moving: Weights) -> Tensor:
            return support.objective.loss(self._outputs(weights, moving, support.inputs), support.targets)

        start = {"context": self._start(weights).requires_grad_()}
        for moved in descend(loss, start, sgd(self.inner_lr, momentum=0.0), second_order=False):
            with torch.no_grad():
                changed = self._modulated(weights, moved)
            yield Adapted(partial(Predictor, self.network, changed), changed)

    def _task_loss(
        self,
        each: Each,
        weights: Mapping[str, Tensor],
        objective: Objective,
        support: Examples,
        query: Examples,
    ) -> dict[str, Tensor]:
        """The loss on the query set at the context that steps on the support set found: equation 5's term."""

        def loss(weights: Weights, moving: Weights, inputs: Inputs, targets: Tensor) -> Tensor:
            return objective.loss(self._outputs(weights, moving, inputs), targets)

        def scores_of(weights: Weights, moving: Weights, inputs: Inputs, targets: Tensor) -> Weights:
            return scores(objective, self._outputs(weights, moving, inputs), targets)

        support_loss = each(loss)
        steps = descend(
            lambda moving: support_loss(weights, moving, support.inputs, support.targets),
            {"context": each(self._start)(weights).requires_grad_()},
            sgd(self.inner_lr, momentum=0.0),
            second_order=True,
        )
        moved = next(islice(steps, self.inner_steps, None))
        found: dict[str, Tensor] = each(scores_of)(weights, moved, query.inputs, query.targets)
        return found

    def _start(self, weights: Mapping[str, Tensor]) -> Tensor:
        return weights["generator.weight"].new_zeros(self.n_context)

    def _modulated(self, weights: Mapping[str, Tensor], moving: Weights) -> dict[str, Tensor]:
        """The tensors that a context (n_context,) changes, by their names in the network."""
        made = nn.functional.linear(moving["context"], weights["generator.weight"])
        modulation, weight, bias = torch.split(made, self.sizes)
        own = below("network.", weights)
        changed = modulate(own, self.layers, modulation)
        changed["head.weight"] = own["head.weight"] + weight.view(self.n_outputs, -1)
        changed["head.bias"] = own["head.bias"] + bias
        return changed

    def _outputs(self, weights: Mapping[str, Tensor], moving: Weights, inputs: Inputs) -> Tensor:
        changed = self._modulated(weights, moving)
        return self.network.outputs({**below("network.", weights), **changed}, inputs)


def _called(module: nn.Module, prefix: str, weights: Mapping[str, Tensor], inputs: Inputs) -> Tensor:
    outputs: Tensor = functional_call(module, below(prefix, weights), (inputs,))
    return outputs
