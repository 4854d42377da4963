"""Reptile: initial weights amid those that training on each task leads to.

Nichol, Achiam and Schulman 2018, arXiv:1803.02999, algorithm 2 (batched): theta moves towards the mean of
the weights theta' that k inner steps on each task lead to, theta + epsilon mean(theta' - theta).
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Generator, Iterator, Mapping
from dataclasses import replace
from functools import partial
from itertools import islice
from typing import Annotated, Unpack

import torch
from annotated_types import Ge
from torch import Tensor

from coldstart_cli.core.tasks import (
    Adapted,
    Examples,
    Inputs,
    Objective,
    Strategy,
    Support,
    Task,
    TaskSource,
    joined,
    map_inputs,
)
from coldstart_cli.models.network import Encoder, Network, Predictor, linear_head
from coldstart_cli.models.norm import refuse_running_statistics
from coldstart_cli.strategies.building_blocks.inner_steps import InnerSteps
from coldstart_cli.strategies.building_blocks.scores import other_width, scores
from coldstart_cli.training.inner_loop import Weights, adam, batches, canonical, descend
from coldstart_cli.training.meta_batch import Each
from coldstart_cli.training.optimizers import OptimizerFactory
from coldstart_cli.training.outer_loops import episodic


class Reptile(Strategy):
    """Learns the initial weights of a network with a head of fixed width, without a second derivative.

    In training a task's support and query sets are one: the paper's "train shots" are k_shot + n_query.
    epsilon is the run's optimizer: the paper's is SGD with a rate that falls linearly from 1 to 0. The
    inner steps are Adam's without momentum (beta1 = 0), as the paper's. Departure: every task starts with
    fresh mean squares, while the authors' code hands them on from task to task.

    Args:
        encoder, optimizer, n_outputs, vectorize: from the run.
        inner_batch_size: examples of one of these steps, drawn without replacement.
        adapt_batch_size: examples of one step on a new task.
        inner: see `InnerSteps`.
    """

    replayable = False  # it draws mini-batches

    def __init__(
        self,
        encoder: Encoder,
        optimizer: OptimizerFactory,
        n_outputs: int,
        vectorize: bool,
        *,
        inner_batch_size: Annotated[int, Ge(1)],
        adapt_batch_size: Annotated[int, Ge(1)],
        **inner: Unpack[InnerSteps],
    ) -> None:
        super().__init__()
        refuse_running_statistics(encoder)
        self.network = Network(encoder, linear_head(encoder.feature_dim, n_outputs))
        self.n_outputs, self.vectorize = n_outputs, vectorize
        self.inner_batch_size, self.adapt_batch_size = inner_batch_size, adapt_batch_size
        self.inner = inner
        self.optimizer = optimizer(self.parameters())

    def refusal(self, tasks: TaskSource) -> str | None:
        return other_width(self.n_outputs, tasks) or super().refusal(tasks)

    def fit(self, source: TaskSource, start: int = 0) -> Iterator[dict[str, float]]:
        return episodic(
            self._task_loss,
            dict(self.network.named_parameters()),
            source,
            self.optimizer,
            meta_batch_size=self.inner["meta_batch_size"],
            vectorize=self.vectorize,
            start=start,
            prepare=self._in_batches,
        )

    def adapt(self, support: Support) -> Generator[Adapted, None, None]:
        """The same steps, on mini-batches of `adapt_batch_size`."""
        examples = canonical(support)
        drawn = batches(len(examples), self.adapt_batch_size, support.seed)

        def loss(weights: Weights) -> Tensor:
            batch = examples.take(next(drawn))
            return support.objective.loss(self.network.outputs(weights, batch.inputs), batch.targets)

        for adapted in self._descend(loss, dict(self.network.named_parameters())):
            changed = {name: w.detach() for name, w in adapted.items()}
            yield Adapted(partial(Predictor, self.network, changed), changed)

    def _in_batches(self, task: Task) -> Task:
        """The mini-batches of the inner steps, one after another, as support, and the next one as query."""
        support, query = task.support, task.query
        examples = Examples(joined(support.inputs, query.inputs), torch.cat([support.targets, query.targets]))
        drawn = batches(len(examples), self.inner_batch_size, support.seed)
        # In one tensor, so that tasks can be stacked; `_batch_loss` takes the batches apart again.
        learned = examples.take(torch.cat(list(islice(drawn, self.inner["inner_steps"]))))
        return replace(
            task,
            support=replace(support, inputs=learned.inputs, targets=learned.targets),
            query=examples.take(next(drawn)),
        )

    def _task_loss(
        self,
        each: Each,
        weights: Mapping[str, Tensor],
        objective: Objective,
        support: Examples,
        query: Examples,
    ) -> dict[str, Tensor]:
        """A loss whose gradient is Reptile's direction and whose value is informative.

        Its gradient by theta is that of |theta - theta'|^2 / 2 with theta' constant, that is theta - theta'
        (section 5.2); its value is the loss of theta' on the mini-batch that would come next.
        """
        step = itertools.count()

        def inner_loss(adapted: Weights) -> Tensor:
            batch_loss = each(partial(self._batch_loss, objective, next(step)))
            loss: Tensor = batch_loss(adapted, support.inputs, support.targets)
            return loss

        steps = self._descend(inner_loss, weights)
        adapted = {n: w.detach() for n, w in next(islice(steps, self.inner["inner_steps"], None)).items()}
        with torch.no_grad():
            # Only for the value of the loss; its gradient is that of `pull`.
            found = each(partial(self._scores, objective))(adapted, query.inputs, query.targets)
        pull = each(half_squared_distance)(weights, adapted)
        # pull - pull.detach() is 0 in value and has the gradient of pull.
        return {**found, "loss": found["loss"] + pull - pull.detach()}

    def _descend(self, loss: Callable[[Weights], Tensor], weights: Mapping[str, Tensor]) -> Iterator[Weights]:
        # New leaves: no gradient flows back through the inner steps.
        start = {name: w.detach().requires_grad_() for name, w in weights.items()}
        return descend(loss, start, adam(self.inner["inner_lr"], beta1=0.0), second_order=False)

    def _batch_loss(
        self,
        objective: Objective,
        step: int,
        weights: Mapping[str, Tensor],
        inputs: Inputs,
        targets: Tensor,
    ) -> Tensor:
        """The loss of mini-batch number `step` among the `inner_steps` that follow one another."""
        size = len(targets) // self.inner["inner_steps"]
        batch = slice(step * size, (step + 1) * size)
        outputs = self.network.outputs(weights, map_inputs(lambda tensor: tensor[batch], inputs))
        return objective.loss(outputs, targets[batch])

    def _scores(
        self, objective: Objective, weights: Mapping[str, Tensor], inputs: Inputs, targets: Tensor
    ) -> dict[str, Tensor]:
        return scores(objective, self.network.outputs(weights, inputs), targets)


def half_squared_distance(weights: Mapping[str, Tensor], others: Mapping[str, Tensor]) -> Tensor:
    """|w - o|^2 / 2 over all tensors together: its gradient by w is w - o."""
    squares = [(w - others[name]).square().sum() for name, w in weights.items()]
    return torch.stack(squares).sum() / 2
