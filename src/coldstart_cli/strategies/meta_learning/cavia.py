"""CAVIA: a few context parameters are all that adapts."""

from __future__ import annotations

from collections.abc import Generator, Iterator, Mapping
from functools import partial
from itertools import islice
from typing import Annotated, Unpack

import torch
from annotated_types import Ge
from torch import Tensor, nn

from coldstart_cli.core.strategy import Adapted, Strategy
from coldstart_cli.core.tasks import Examples, Inputs, Objective, Support, TaskSource
from coldstart_cli.models.modulation import modulate, modulated_layers
from coldstart_cli.models.network import Encoder, Network, Predictor, below, linear_head
from coldstart_cli.models.norm import learn_affine_alone, refuse_running_statistics
from coldstart_cli.strategies.building_blocks.inner_steps import InnerSteps
from coldstart_cli.strategies.building_blocks.scores import other_width, scores
from coldstart_cli.training.inner_loop import Weights, descend, sgd
from coldstart_cli.training.meta_batch import Each
from coldstart_cli.training.optimizers import OptimizerFactory
from coldstart_cli.training.outer_loops import episodic


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
        inner: see `InnerSteps`.
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
        **inner: Unpack[InnerSteps],
    ) -> None:
        super().__init__()
        refuse_running_statistics(encoder)
        # Inner steps need gradients of the norms alone, which torch's kernel does not survive otherwise.
        learn_affine_alone(encoder)
        self.n_outputs, self.vectorize, self.n_context, self.inner = n_outputs, vectorize, n_context, inner
        self.network = Network(encoder, linear_head(encoder.feature_dim, n_outputs))
        self.layers = {f"encoder.{name}": width for name, width in modulated_layers(encoder).items()}
        # One linear map makes them all: scales and shifts of the layers, then changes of head weight and
        # bias.
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
            meta_batch_size=self.inner["meta_batch_size"],
            vectorize=self.vectorize,
            start=start,
        )

    def adapt(self, support: Support) -> Generator[Adapted, None, None]:
        weights = {name: w.detach() for name, w in self.named_parameters()}

        def loss(moving: Weights) -> Tensor:
            return support.objective.loss(self._outputs(weights, moving, support.inputs), support.targets)

        start = {"context": self._start(weights).requires_grad_()}
        for moved in descend(loss, start, sgd(self.inner["inner_lr"], momentum=0.0), second_order=False):
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
        """The loss on the query set at the context found on the support set: the term of equation 5."""

        def loss(weights: Weights, moving: Weights, inputs: Inputs, targets: Tensor) -> Tensor:
            return objective.loss(self._outputs(weights, moving, inputs), targets)

        def scores_of(weights: Weights, moving: Weights, inputs: Inputs, targets: Tensor) -> Weights:
            return scores(objective, self._outputs(weights, moving, inputs), targets)

        support_loss = each(loss)
        steps = descend(
            lambda moving: support_loss(weights, moving, support.inputs, support.targets),
            # A context for each task of the batch: `each` makes it (n_tasks, n_context).
            {"context": each(self._start)(weights).requires_grad_()},
            sgd(self.inner["inner_lr"], momentum=0.0),
            second_order=True,
        )
        moved = next(islice(steps, self.inner["inner_steps"], None))
        found: dict[str, Tensor] = each(scores_of)(weights, moved, query.inputs, query.targets)
        return found

    def _start(self, weights: Mapping[str, Tensor]) -> Tensor:
        # The context starts at 0 in every task, where the modulation changes nothing.
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
