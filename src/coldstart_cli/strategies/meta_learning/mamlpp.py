"""MAML++: MAML with a learned rate for each layer and step, taught after every inner step.

Antoniou, Edwards and Storkey 2019, arXiv:1810.09502, section 4:

- rates per layer and step (LSLR): theta_i = theta_(i-1) - alpha_(i, layer) gradient, all alphas learned;
- multi-step loss (MSL, equation 4): sum_i v_i L_query(theta_i) over the inner steps i = 1..N. The v begin
  equal and move to the last step; afterwards the last step's loss alone is left;
- derivative-order annealing (DA): first-order gradients at first, second-order ones from then on;
- cosine annealing of the outer rate (CA): the run's optimizer, `schedule: cosine`.
"""

from __future__ import annotations

from collections.abc import Generator, Iterator, Mapping
from functools import partial
from typing import Annotated, Unpack

import torch
from annotated_types import Ge, Le
from torch import Tensor, nn

from coldstart_cli.core.strategy import Adapted, Strategy
from coldstart_cli.core.tasks import Examples, Objective, Support, TaskSource
from coldstart_cli.models.network import Encoder, Network, Predictor, linear_head
from coldstart_cli.models.norm import refuse_running_statistics
from coldstart_cli.strategies.building_blocks.inner_steps import (
    InnerSteps,
    parameter_key,
    scores_after,
    warn_of_standstill,
)
from coldstart_cli.strategies.building_blocks.scores import other_width
from coldstart_cli.training.inner_loop import Weights, descend, sgd_by_step
from coldstart_cli.training.meta_batch import Each
from coldstart_cli.training.optimizers import OptimizerFactory
from coldstart_cli.training.outer_loops import episodic


class MAMLPlusPlus(Strategy):
    """Learns the initial weights of a network with a head of fixed width, and how to move them.

    A layer's weight and its bias have rates of their own, as in the authors' code. On new tasks, steps beyond
    those of training take the last one's rates.

    Departures: without batch norm's statistics and biases for each step (BNRS, BNWB). The package's norms
    keep no running statistics where inner steps are taken (group, batch_transductive), so there are none to
    keep apart, and their weights are those of all steps. Phases are shares of the run's steps, in place of
    epochs.

    Args:
        encoder, optimizer, n_outputs, n_steps, vectorize: from the run.
        multi_step_share: of the outer steps, the first ones, that learn from the loss after every inner step.
        first_order_share: of the outer steps, the first ones, that take inner gradients as constants.
        inner: see `InnerSteps`; all rates start at `inner_lr`.
    """

    differentiates_twice = True

    def __init__(
        self,
        encoder: Encoder,
        optimizer: OptimizerFactory,
        n_outputs: int,
        n_steps: int,
        vectorize: bool,
        *,
        multi_step_share: Annotated[float, Ge(0), Le(1)],
        first_order_share: Annotated[float, Ge(0), Le(1)],
        **inner: Unpack[InnerSteps],
    ) -> None:
        super().__init__()
        refuse_running_statistics(encoder)
        self.network = Network(encoder, linear_head(encoder.feature_dim, n_outputs))
        self.n_outputs, self.vectorize, self.inner = n_outputs, vectorize, inner
        self.multi_step_share, self.first_order_share = multi_step_share, first_order_share
        self.multi_steps, self.first_order_steps = multi_step_share * n_steps, first_order_share * n_steps
        names = [name for name, _ in self.network.named_parameters()]
        start = torch.full((inner["inner_steps"],), inner["inner_lr"])
        self.rates = nn.ParameterDict({parameter_key(name): start.clone() for name in names})
        # A tensor that is filled anew, not a number: recorded steps read it where it lies.
        self.register_buffer("step_weights", torch.zeros(inner["inner_steps"]), persistent=False)
        self.step_weights: Tensor
        self.second_order = self.multi_step = True
        self.optimizer = optimizer(self.parameters())

    def refusal(self, tasks: TaskSource) -> str | None:
        return other_width(self.n_outputs, tasks) or super().refusal(tasks)

    def fit(self, source: TaskSource, start: int = 0) -> Iterator[dict[str, float]]:
        if start == 0:
            warn_of_standstill(self, self.network.encoder, source, self.inner)
        return self._fit(source, start)

    def _fit(self, source: TaskSource, start: int) -> Iterator[dict[str, float]]:
        steps = episodic(
            self._task_loss,
            {**dict(self.network.named_parameters()), "step_weights": self.step_weights},
            source,
            self.optimizer,
            meta_batch_size=self.inner["meta_batch_size"],
            vectorize=self.vectorize,
            start=start,
        )
        self._enter(start)
        for step, metrics in enumerate(steps, start + 1):
            yield metrics
            self._enter(step)

    def _enter(self, step: int) -> None:
        """Sets what depends on the outer step."""
        self.second_order, self.multi_step = step >= self.first_order_steps, step < self.multi_steps
        self.step_weights.copy_(multi_step_weights(len(self.step_weights), step, self.multi_steps))

    def adapt(self, support: Support) -> Generator[Adapted, None, None]:
        def loss(weights: Weights) -> Tensor:
            return support.objective.loss(self.network.outputs(weights, support.inputs), support.targets)

        start = {n: w.detach().requires_grad_() for n, w in self.network.named_parameters()}
        rates = {name: self.rates[parameter_key(name)].detach() for name in start}
        for adapted in descend(loss, start, sgd_by_step(rates), second_order=False):
            changed = {name: w.detach() for name, w in adapted.items()}
            yield Adapted(partial(Predictor, self.network, changed), changed)

    def _task_loss(
        self,
        each: Each,
        weights: Mapping[str, Tensor],
        objective: Objective,
        support: Examples,
        query: Examples,
    ) -> dict[str, Tensor]:
        """The loss on the query set after the inner steps, or after each of them: a term of equation 4."""
        moving = {name: w for name, w in weights.items() if name != "step_weights"}
        rates = {name: self.rates[parameter_key(name)] for name in moving}
        return scores_after(
            each,
            self.network.outputs,
            objective,
            {},
            moving,
            support,
            query,
            rule=sgd_by_step(rates),
            inner_steps=self.inner["inner_steps"],
            second_order=self.second_order,
            step_weights=weights["step_weights"] if self.multi_step else None,
        )


def multi_step_weights(n: int, step: int, n_annealed: float) -> Tensor:
    """v (n,) of the inner steps at an outer step, as in the authors' code: the sum is 1.

    Equal at first; by step `n_annealed` those before the last would be 0, and they never fall below .03 / n.
    """
    share = max(1 - step / n_annealed, 0.03) if n_annealed > 0 else 0.0
    others = torch.full((n,), share / n)
    others[-1] = 1 - (n - 1) * share / n
    return others
