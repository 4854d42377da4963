"""Born-again networks: a network taught by one of its own kind, generation after generation.

Furlanello, Lipton, Tschannen, Itti and Anandkumar 2018, arXiv:1805.04770, section 3.
"""

from __future__ import annotations

import copy
from collections.abc import Generator, Iterator
from dataclasses import replace
from functools import partial
from typing import Annotated, Literal, Unpack

import torch
from annotated_types import Ge, Gt, Le
from torch import Tensor

from coldstart_cli.core.strategy import Adapted, Strategy
from coldstart_cli.core.tasks import Examples, Objective, Support, TaskSource
from coldstart_cli.models.network import Encoder, Network, linear_head
from coldstart_cli.strategies.building_blocks.scores import scores
from coldstart_cli.strategies.building_blocks.source_classifier import FineTuning, rule_of
from coldstart_cli.strategies.distillation.distillation import prefixed, taught_scores
from coldstart_cli.strategies.distillation.soft_labels import Follower, fine_tuned
from coldstart_cli.training.optimizers import OptimizerFactory
from coldstart_cli.training.outer_loops import in_turn, supervised


class BornAgain(Strategy):
    """Trains generation 0 on the source's labels, and each later one on them and on its predecessor.

    A student's loss is (1 - alpha) loss(student, labels) + alpha divergence(student, teacher), with the
    divergence of `Objective`. The last generation is what adapts; the one before is scored beside it.

    All generations start from the same initial weights and see different batches; in the paper, initial
    weights differ as well. (Pretrained weights of an encoder could not be drawn again.)

    Args:
        encoder, optimizer, n_source_outputs, n_steps, seed: from the run.
        generations: networks trained one after another, each for an equal share of the run's steps; 2 make
            a teacher and a student.
        alpha: weight of the teacher's outputs against the labels; 1/2 is the paper's sum, halved.
        temperature: of both softmaxes.
        trainable: what adaptation changes: all weights, or the head on frozen features.
        tuning: see `FineTuning`; each step of adaptation is on the whole support set.

    Raises:
        ValueError: where the run has fewer steps than generations.
    """

    needs_labels = False

    def __init__(
        self,
        encoder: Encoder,
        optimizer: OptimizerFactory,
        n_source_outputs: int,
        n_steps: int,
        seed: int,
        *,
        generations: Annotated[int, Ge(2)],
        alpha: Annotated[float, Ge(0), Le(1)],
        temperature: Annotated[float, Gt(0)],
        trainable: Literal["all", "head"],
        **tuning: Unpack[FineTuning],
    ) -> None:
        super().__init__()
        if generations > n_steps:
            raise ValueError(
                f"generations: {generations} are more than the run's {n_steps} steps; "
                "choose fewer, or more training.steps"
            )
        self.network = Network(encoder, linear_head(encoder.feature_dim, n_source_outputs))
        self.teacher = copy.deepcopy(self.network)  # the generation before
        # Not part of the state: a resumed run draws the same initial weights again.
        self.initial = {name: tensor.clone() for name, tensor in self.network.state_dict().items()}
        self.seed, self.generations, self.alpha, self.temperature = seed, generations, alpha, temperature
        self.trainable, self.tuning = trainable, tuning
        self.steps_each = n_steps // generations
        self.preparing_steps = (generations - 1) * self.steps_each
        # A schedule for each generation, over its share of the steps.
        self.new_optimizer = partial(optimizer, share=1 / generations)
        self.optimizer = self.new_optimizer(self.network.parameters())

    def fit(self, source: TaskSource, start: int = 0) -> Iterator[dict[str, float]]:
        """Generation after generation: `generation_0_loss`, ..., then `generation_1_loss`, ..."""
        phases = [
            (self.steps_each, partial(self._fit_generation, source, generation))
            for generation in range(self.generations)
        ]
        return in_turn(phases, start)

    def adapt(self, support: Support) -> Generator[Adapted, None, None]:
        """Yields after every step; only once, the unchanged last generation, where there are no labels.

        Beside it, `teacher`: the generation before, after the same number of steps, adapted on demand.
        """
        rule = rule_of(self.tuning)
        tuned = partial(fine_tuned, support=support, rule=rule, trainable=self.trainable, soft=None)
        teacher = Follower(partial(tuned, self.teacher))
        for step, adapted in enumerate(tuned(self.network)):
            yield replace(adapted, beside={"teacher": partial(teacher.after, step)})

    def _fit_generation(self, source: TaskSource, generation: int, start: int) -> Iterator[dict[str, float]]:
        if generation > 0 and start == 0:
            # Only at the first step of a generation: a resumed run has all three from its checkpoint.
            self.teacher.load_state_dict(self.network.state_dict())
            self.network.load_state_dict(self.initial)
            # A new one, for moments and schedule of the old belong to weights that are gone.
            self.optimizer = self.new_optimizer(self.network.parameters())
        steps = supervised(
            self._batch_loss if generation == 0 else self._taught_loss,
            source.pool("train"),
            self.optimizer,
            batch_size=self.tuning["batch_size"],
            seed=self.seed,
            device=self.network.head.weight.device,
            start=generation * self.steps_each + start,
        )
        return prefixed(f"generation_{generation}_", steps)

    def _batch_loss(self, objective: Objective, batch: Examples) -> dict[str, Tensor]:
        return scores(objective, self.network(batch.inputs), batch.targets)

    def _taught_loss(self, objective: Objective, batch: Examples) -> dict[str, Tensor]:
        self.teacher.eval()  # it uses its running statistics and updates none
        with torch.no_grad():
            taught = self.teacher(batch.inputs)
        return taught_scores(
            objective,
            self.network(batch.inputs),
            taught,
            batch.targets,
            alpha=self.alpha,
            temperature=self.temperature,
        )
