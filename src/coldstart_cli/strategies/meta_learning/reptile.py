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
from annotated_types import Ge, Gt, Le
from torch import Tensor, nn

from coldstart_cli.core.strategy import Adapted, Strategy
from coldstart_cli.core.tasks import (
    Examples,
    Inputs,
    Objective,
    Support,
    Task,
    TaskSource,
    joined,
    map_inputs,
)
from coldstart_cli.models.network import Encoder, Network, Predictor, below, linear_head
from coldstart_cli.models.norm import refuse_running_statistics
from coldstart_cli.strategies.building_blocks.inner_steps import InnerSteps, parameter_key
from coldstart_cli.strategies.building_blocks.scores import other_width, scores
from coldstart_cli.training.inner_loop import (
    State,
    Weights,
    adam,
    batches,
    canonical,
    carried_adam,
    descend_from,
)
from coldstart_cli.training.meta_batch import Each
from coldstart_cli.training.optimizers import OptimizerFactory, interpolation
from coldstart_cli.training.outer_loops import episodic


class Reptile(Strategy):
    """Learns the initial weights of a network with a head of fixed width, without a second derivative.

    In training a task's support and query sets are one: the paper's "train shots" are k_shot + n_query.
    The inner steps are Adam's without momentum (beta1 = 0), as the paper's. In the authors' code its mean
    squares are handed on from task to task, and new tasks start with those of training (`carry_state`).
    Departure: the tasks of a batch start with the same ones, and the outer step moves them, by epsilon, to
    the mean of those that the tasks end with, as it moves the weights.

    Args:
        encoder, optimizer, n_outputs, n_steps, vectorize: from the run.
        outer_lr: epsilon at the first step, from where it falls linearly to 0 as the paper's; the run's
            optimizer is not used then. None: epsilon is the run's optimizer.
        carry_state: hand mean squares on; without, every task starts with fresh ones.
        inner_batch_size: examples of one of these steps, drawn without replacement.
        adapt_batch_size: examples of one step on a new task; None: all of them. The paper's 5 are
            the whole of a 5-way 1-shot task; of larger ones few steps of so few do not see every label.
        inner: see `InnerSteps`.
    """

    replayable = False  # it draws mini-batches

    def __init__(
        self,
        encoder: Encoder,
        optimizer: OptimizerFactory,
        n_outputs: int,
        n_steps: int,
        vectorize: bool,
        *,
        outer_lr: Annotated[float, Gt(0), Le(1)] | None,
        carry_state: bool,
        inner_batch_size: Annotated[int, Ge(1)],
        adapt_batch_size: Annotated[int, Ge(1)] | None,
        **inner: Unpack[InnerSteps],
    ) -> None:
        super().__init__()
        refuse_running_statistics(encoder)
        self.network = Network(encoder, linear_head(encoder.feature_dim, n_outputs))
        self.n_outputs, self.vectorize = n_outputs, vectorize
        self.inner_batch_size, self.adapt_batch_size = inner_batch_size, adapt_batch_size
        self.inner, self.outer_lr, self.carry_state = inner, outer_lr, carry_state
        # Parameters, because the outer step moves them; a total is a number for each tensor of weights.
        self.squares, self.totals = nn.ParameterDict(), nn.ParameterDict()
        if carry_state:
            if outer_lr is None:
                raise ValueError(
                    "carry_state: mean squares move with outer_lr, which is null; "
                    "give outer_lr=1.0 or carry_state=false"
                )
            for name, w in self.network.named_parameters():
                self.squares[parameter_key(name)] = torch.zeros_like(w)
                self.totals[parameter_key(name)] = torch.zeros([1] * w.ndim)
        if outer_lr is not None:
            optimizer = interpolation(n_steps, outer_lr)
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
            prepare=self._in_batches,
        )

    def adapt(self, support: Support) -> Generator[Adapted, None, None]:
        """The same steps, on batches of `adapt_batch_size`."""
        examples = canonical(support)
        drawn = batches(len(examples), self.adapt_batch_size or len(examples), support.seed)

        def loss(weights: Weights) -> Tensor:
            batch = examples.take(next(drawn))
            return support.objective.loss(self.network.outputs(weights, batch.inputs), batch.targets)

        for adapted, _ in self._descend(loss, dict(self.named_parameters())):
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
        (section 5.2); its value is the loss of theta' on the mini-batch that would come next. Carried mean
        squares and totals are pulled in the same way.
        """
        step = itertools.count()

        def inner_loss(adapted: Weights) -> Tensor:
            batch_loss = each(partial(self._batch_loss, objective, next(step)))
            loss: Tensor = batch_loss(adapted, support.inputs, support.targets)
            return loss

        adapted, state = next(islice(self._descend(inner_loss, weights), self.inner["inner_steps"], None))
        with torch.no_grad():
            # Only for the value of the loss; its gradient is that of `pull`.
            found = each(partial(self._scores, objective))(adapted, query.inputs, query.targets)
        ends = {f"network.{n}": w for n, w in adapted.items()}
        if self.carry_state:
            for kind in ("squares", "totals"):
                ends |= {f"{kind}.{parameter_key(n)}": value for n, value in state[kind].items()}
        pull = each(half_squared_distance)(weights, {n: end.detach() for n, end in ends.items()})
        # pull - pull.detach() is 0 in value and has the gradient of pull.
        return {**found, "loss": found["loss"] + pull - pull.detach()}

    def _descend(
        self, loss: Callable[[Weights], Tensor], weights: Mapping[str, Tensor]
    ) -> Iterator[tuple[Weights, State]]:
        """The inner steps from `weights`, those of the network and the state that is carried."""
        # New leaves: no gradient flows back through the inner steps.
        start = {name: w.detach().requires_grad_() for name, w in below("network.", weights).items()}
        lr = self.inner["inner_lr"]
        if not self.carry_state:
            return descend_from({}, loss, start, adam(lr, beta1=0.0), second_order=False)
        state = {
            kind: {n: weights[f"{kind}.{parameter_key(n)}"].detach() for n in start}
            for kind in ("squares", "totals")
        }
        return descend_from(state, loss, start, carried_adam(lr), second_order=False)

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
