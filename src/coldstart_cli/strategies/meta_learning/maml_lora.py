"""MAML on low-rank updates of frozen weights: a few numbers that a few gradient steps can move.

- The outer and the inner steps: Finn, Abbeel and Levine 2017, arXiv:1703.03400, algorithm 1.
- The updates W' = W + (alpha / rank) B A: Hu et al. 2021, arXiv:2106.09685, section 4.1.
"""

from __future__ import annotations

from collections.abc import Generator, Iterator, Mapping
from functools import partial
from typing import Annotated, Unpack

from annotated_types import Ge, Gt
from torch import Tensor, nn

from coldstart_cli.core.strategy import Adapted, Strategy
from coldstart_cli.core.tasks import Examples, Inputs, Objective, Support, TaskSource
from coldstart_cli.models.network import Encoder, Network, Predictor, linear_head
from coldstart_cli.models.norm import refuse_running_statistics
from coldstart_cli.models.pretrained.features import Pretrained
from coldstart_cli.models.updates.low_rank import check_rank, constants, low_rank, matrices, merged
from coldstart_cli.strategies.building_blocks.inner_steps import DifferentiableSteps, scores_after
from coldstart_cli.strategies.building_blocks.scores import other_width
from coldstart_cli.training.inner_loop import Weights, descend, sgd
from coldstart_cli.training.meta_batch import Each
from coldstart_cli.training.optimizers import OptimizerFactory
from coldstart_cli.training.outer_loops import episodic


class LowRankMAML(Strategy):
    """Learns the initial factors and the head; the encoder stays unchanged, pretrained or random.

    Inner steps move factors and head; the outer step moves where they start, through the inner steps. A
    pretrained encoder is not part of the state: a checkpoint holds factors and head alone.

    Args:
        encoder, optimizer, n_outputs, vectorize, seed: from the run.
        rank: of the updates, at most the smaller side of every matrix.
        alpha: the updates are scaled by alpha / rank.
        inner: see `DifferentiableSteps`.

    Raises:
        ValueError: where the encoder has no matrix, or one that the rank does not restrict.
    """

    def __init__(
        self,
        encoder: Encoder,
        optimizer: OptimizerFactory,
        n_outputs: int,
        vectorize: bool,
        seed: int,
        *,
        rank: Annotated[int, Ge(1)],
        alpha: Annotated[float, Gt(0)],
        **inner: Unpack[DifferentiableSteps],
    ) -> None:
        super().__init__()
        refuse_running_statistics(encoder)
        self.names = list(matrices(encoder))
        if not self.names:
            raise ValueError(
                "model.path: its encoder is frozen and has no weights to update; choose model=hf_text"
            )
        check_rank(rank, matrices(encoder))
        self.network = Network(encoder, linear_head(encoder.feature_dim, n_outputs))
        self.n_outputs, self.vectorize, self.rank, self.alpha = n_outputs, vectorize, rank, alpha
        self.inner, self.differentiates_twice = inner, inner["second_order"]
        factors = low_rank(self._frozen(), rank, seed)
        self.factors = nn.ParameterDict({name.replace(".", "/"): f for name, f in factors.items()})
        if isinstance(encoder, Pretrained):
            encoder.freeze()
        # Before the optimizer is made, which then has factors and head alone.
        encoder.requires_grad_(False)
        self.optimizer = optimizer(self.parameters())

    def refusal(self, tasks: TaskSource) -> str | None:
        return other_width(self.n_outputs, tasks) or super().refusal(tasks)

    def fit(self, source: TaskSource, start: int = 0) -> Iterator[dict[str, float]]:
        return episodic(
            self._task_loss,
            self._start(),
            source,
            self.optimizer,
            meta_batch_size=self.inner["meta_batch_size"],
            vectorize=self.vectorize,
            start=start,
        )

    def adapt(self, support: Support) -> Generator[Adapted, None, None]:
        """Yields after every step, `changed` being factors and head."""

        def loss(moving: Weights) -> Tensor:
            return support.objective.loss(self._outputs(moving, support.inputs), support.targets)

        start = {name: w.detach().requires_grad_() for name, w in self._start().items()}
        for moved in descend(loss, start, sgd(self.inner["inner_lr"], momentum=0.0), second_order=False):
            changed = {name: w.detach() for name, w in moved.items()}
            yield Adapted(partial(self._predictor, changed), changed)

    def _task_loss(
        self,
        each: Each,
        weights: Mapping[str, Tensor],
        objective: Objective,
        support: Examples,
        query: Examples,
    ) -> dict[str, Tensor]:
        return scores_after(
            each,
            self._outputs,
            objective,
            {},
            dict(weights),
            support,
            query,
            rule=sgd(self.inner["inner_lr"], momentum=0.0),
            inner_steps=self.inner["inner_steps"],
            second_order=self.inner["second_order"],
        )

    def _start(self) -> Weights:
        """Factors by their names in a network, `encoder.NAME.lora_A`, and the head's weights."""
        factors: Weights = {name.replace("/", "."): f for name, f in self.factors.items()}
        return factors | {f"head.{name}": w for name, w in self.network.head.named_parameters()}

    def _frozen(self) -> Weights:
        """The encoder's matrices, parameters or constants, by their names in a network."""
        return constants(self.network.encoder, self.names, "encoder.")

    def _full(self, moving: Mapping[str, Tensor]) -> Weights:
        head = {name: w for name, w in moving.items() if name.startswith("head.")}
        return merged(self._frozen(), moving, self.alpha / self.rank) | head

    def _outputs(self, moving: Mapping[str, Tensor], inputs: Inputs) -> Tensor:
        return self.network.outputs(self._full(moving), inputs)

    def _predictor(self, moving: Weights) -> Predictor:
        return Predictor(self.network, self._full(moving))
