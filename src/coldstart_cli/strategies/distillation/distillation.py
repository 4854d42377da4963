"""Distillation: a small student learns what a larger teacher learned, and adapts to the new task instead.

- Soft outputs: Hinton, Vinyals and Dean 2015, arXiv:1503.02531, section 2.
- Relations between examples: Park, Kim, Lu and Cho 2019, arXiv:1904.05068, sections 3.2.1 and 3.2.2.
- Feature maps, as hints (FitNets) or as attention: `features`.
- Soft labels for the new task's unlabelled examples: Chen, Kornblith, Swersky, Norouzi and Hinton 2020,
  arXiv:2006.10029, equations 2 and 3 (SimCLRv2's self-training).
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Generator, Iterator
from dataclasses import replace
from functools import cache, partial
from itertools import islice
from typing import Annotated, Literal, Unpack

import torch
from annotated_types import Ge, Gt, Le, Lt
from torch import Tensor

from coldstart_cli.core.strategy import Adapted, Strategy
from coldstart_cli.core.tasks import Examples, Inputs, Objective, Support, TaskSource
from coldstart_cli.models.network import Encoder, Network, TrainedFactory, linear_head
from coldstart_cli.strategies.building_blocks.source_classifier import FineTuning, fit_classifier, rule_of
from coldstart_cli.strategies.distillation.features import (
    attention_distance,
    hint_block,
    hint_distance,
    hint_regressor,
    maps_refusal,
    relations,
)
from coldstart_cli.strategies.distillation.soft_labels import Follower, SoftLabels, fine_tuned
from coldstart_cli.training.optimizers import OptimizerFactory
from coldstart_cli.training.outer_loops import in_turn, supervised


class Distillation(Strategy):
    """Trains a teacher on the source, then a student on the same examples and on the teacher; adapts both.

    The student's loss on the source is (1 - alpha) loss(student, labels) + alpha divergence(student, teacher)
    + distance_weight L_D + angle_weight L_A + attention_weight A, where the divergence is T^2 KL(teacher ||
    student) of the outputs, or their mean squared difference in a regression, L_D, L_A are those of
    `relations` and A is `attention_distance`. With `hint_share` the student first learns its middle map from
    the teacher's (FitNets). On the new task, teacher and student take as many gradient steps on the labels,
    each from its own source weights; the teacher is scored beside the student. With `unlabelled_weight`, the
    student's loss there is

        loss(student, labels) + unlabelled_weight T^2 KL(teacher || student) on the unlabelled examples

    with the outputs of a teacher that has taken `teacher_steps` on the labels. (SimCLRv2 weighs the two
    1 - alpha and alpha, takes the cross-entropy, which differs from KL by a constant, and has no T^2.)

    Args:
        encoder, optimizer, n_source_outputs, n_steps, seed, trained: from the run, whose encoder is the
            student's.
        teacher: the teacher's encoder; its head is made here.
        teacher_run: a finished run on the same source classes whose encoder and head are the teacher, or
            None to train it. With a run, all steps are the student's and `teacher` is not used.
        teacher_share: share of the run's steps that train the teacher, at least one step.
        alpha: weight of the teacher's outputs against the labels.
        temperature: T, of both softmaxes.
        distance_weight, angle_weight: of relations between the features of a batch; 0 is without.
        attention_weight: of attention transfer between feature maps; 0 is without.
        hint_share: share of the student's steps that train its first half on the teacher's middle map, before
            all of it learns; 0 is without.
        unlabelled_weight: of the teacher's soft labels on the new task; 0 is without.
        teacher_steps: gradient steps of the teacher before it gives those labels.
        teacher_lr: the teacher's rate on a new task, for head and encoder alike; None: the student's. A
            table of tokens asks for another one than a head on frozen features.
        teacher_rule: its update rule; None: the student's.
        trainable: what adaptation changes: all weights, or the head on frozen features.
        tuning: see `FineTuning`; each step of adaptation is on the whole support set.
    """

    needs_labels = False
    shardable = True

    def __init__(
        self,
        encoder: Encoder,
        optimizer: OptimizerFactory,
        n_source_outputs: int,
        n_steps: int,
        seed: int,
        trained: TrainedFactory,
        *,
        teacher: Encoder,
        teacher_run: str | None,
        teacher_share: Annotated[float, Gt(0), Lt(1)],
        alpha: Annotated[float, Ge(0), Le(1)],
        temperature: Annotated[float, Gt(0)],
        distance_weight: Annotated[float, Ge(0)],
        angle_weight: Annotated[float, Ge(0)],
        attention_weight: Annotated[float, Ge(0)],
        hint_share: Annotated[float, Ge(0), Lt(1)],
        unlabelled_weight: Annotated[float, Ge(0)],
        teacher_steps: Annotated[int, Ge(1)],
        teacher_lr: Annotated[float, Gt(0)] | None,
        teacher_rule: Literal["sgd", "adam"] | None,
        trainable: Literal["all", "head"],
        **tuning: Unpack[FineTuning],
    ) -> None:
        super().__init__()
        self.network = Network(encoder, linear_head(encoder.feature_dim, n_source_outputs))
        self.teacher = Network(teacher, linear_head(teacher.feature_dim, n_source_outputs))
        if teacher_run is not None:
            self.teacher = teacher_of_run(trained, teacher_run, n_source_outputs)
        warn_of_smaller_teacher(self.teacher, self.network)
        self.seed, self.teacher_run, self.teacher_share = seed, teacher_run, teacher_share
        self.alpha, self.temperature = alpha, temperature
        self.distance_weight, self.angle_weight = distance_weight, angle_weight
        self.attention_weight, self.hint_share = attention_weight, hint_share
        if attention_weight > 0 or hint_share > 0:
            self.shardable = False  # maps are read apart from a call
        self.unlabelled_weight, self.teacher_steps = unlabelled_weight, teacher_steps
        # What a strategy needs may depend on its values: without their weight, unlabelled examples are not
        # read.
        self.needs_unlabelled, self.replayable = unlabelled_weight > 0, unlabelled_weight == 0
        self.lowers_distance_by = "unlabelled_weight" if self.needs_unlabelled else None
        self.teacher_lr, self.teacher_rule = teacher_lr, teacher_rule
        self.trainable, self.tuning = trainable, tuning
        # Whatever the share rounds to, both of them get at least one step.
        own = 0 if teacher_run is not None else min(max(1, round(teacher_share * n_steps)), n_steps - 1)
        self.taught_from, self.preparing_steps = own, own + round(hint_share * (n_steps - own))
        self.teacher_optimizer = optimizer(self.teacher.parameters(), share=own / n_steps)
        self.optimizer = optimizer(self.network.parameters(), share=1 - self.preparing_steps / n_steps)
        if hint_share > 0 and self._maps_refusal() is None:
            self.regressor = hint_regressor(encoder, self.teacher.encoder)
            guided = [*encoder.parameters(), *self.regressor.parameters()]
            self.hint_optimizer = optimizer(guided, share=(self.preparing_steps - own) / n_steps)

    def refusal(self, tasks: TaskSource) -> str | None:
        return super().refusal(tasks) or self._maps_refusal()

    def fit(self, source: TaskSource, start: int = 0) -> Iterator[dict[str, float]]:
        """The teacher's steps (`teacher_loss`), those on hints (`hint_loss`), then the student's (`loss`)."""
        hints = (self.preparing_steps - self.taught_from, partial(self._fit_hints, source))
        phases = [(self.taught_from, partial(self._fit_teacher, source)), hints]
        return in_turn([*phases, (0, partial(self._fit, source))], start)

    def adapt(self, support: Support) -> Generator[Adapted, None, None]:
        """Yields after every step; once, the student as it is, where there is nothing to learn from.

        Beside it, `teacher`: after the same number of steps on the labels; where it gives soft labels, the
        one that gave them, from the student's first step on. It is adapted on demand.
        """
        tuned = partial(fine_tuned, support=support, trainable=self.trainable)
        teacher = Follower(partial(tuned, self.teacher, rule=rule_of(self._teacher_tuning), soft=None))
        soft = None
        if self.unlabelled_weight > 0:
            assert support.unlabelled is not None, "needs_unlabelled"
            outputs = cache(partial(teacher.outputs, self.teacher_steps, support.unlabelled))
            soft = SoftLabels(support.unlabelled, outputs, self.unlabelled_weight, self.temperature)
        # The teacher's outputs are computed at the first use, after the item of 0 steps has been timed.
        for step, adapted in enumerate(tuned(self.network, rule=rule_of(self.tuning), soft=soft)):
            taken = step if soft is None else min(step, 1) * self.teacher_steps
            yield replace(adapted, beside={"teacher": partial(teacher.after, taken)})

    @property
    def _teacher_tuning(self) -> FineTuning:
        tuning = self.tuning
        if self.teacher_lr is not None:
            tuning = {**tuning, "lr": self.teacher_lr, "head_lr": None}
        return tuning if self.teacher_rule is None else {**tuning, "rule": self.teacher_rule}

    def _fit_teacher(self, source: TaskSource, start: int) -> Iterator[dict[str, float]]:
        steps = fit_classifier(
            self.teacher,
            source,
            self.teacher_optimizer,
            batch_size=self.tuning["batch_size"],
            seed=self.seed,
            start=start,
        )
        return prefixed("teacher_", steps)

    def _fit_hints(self, source: TaskSource, start: int) -> Iterator[dict[str, float]]:
        return prefixed(
            "hint_", self._taught(source, self._hint_loss, self.hint_optimizer, self.taught_from + start)
        )

    def _fit(self, source: TaskSource, start: int) -> Iterator[dict[str, float]]:
        return self._taught(source, self._batch_loss, self.optimizer, self.preparing_steps + start)

    def _taught(
        self,
        source: TaskSource,
        batch_loss: Callable[[Objective, Examples], dict[str, Tensor]],
        optimizer: torch.optim.Optimizer,
        start: int,
    ) -> Iterator[dict[str, float]]:
        return supervised(
            batch_loss,
            source.pool("train"),
            optimizer,
            batch_size=self.tuning["batch_size"],
            seed=self.seed,
            device=self.network.head.weight.device,
            start=start,
            divisible=self.distance_weight == 0
            and self.angle_weight == 0,  # a loss on relations is not a mean over parts of a batch
        )

    def _batch_loss(self, objective: Objective, batch: Examples) -> dict[str, Tensor]:
        self.teacher.eval()  # it uses its running statistics and updates none
        inside = self.attention_weight > 0
        with torch.no_grad():
            taught_maps, taught_features = _read(self.teacher.encoder, batch.inputs, maps=inside)
            taught = self.teacher.head(taught_features)
        maps, features = _read(self.network.encoder, batch.inputs, maps=inside)
        scores = taught_scores(
            objective,
            self.network.head(features),
            taught,
            batch.targets,
            alpha=self.alpha,
            temperature=self.temperature,
        )
        if self.distance_weight > 0 or self.angle_weight > 0:
            distance, angle = relations(features, taught_features)
            # Only with a weight: triplets take memory of the cube of the batch size.
            total = scores["loss"] + self.distance_weight * distance + self.angle_weight * angle
            scores |= {"loss": total, "distance": distance, "angle": angle}
        if inside:
            attention = attention_distance(maps, taught_maps)
            scores |= {"loss": scores["loss"] + self.attention_weight * attention, "attention": attention}
        return scores

    def _hint_loss(self, objective: Objective, batch: Examples) -> dict[str, Tensor]:
        self.teacher.eval()
        student, teacher = self.network.encoder, self.teacher.encoder
        with torch.no_grad():
            hint = _map_of(teacher, batch.inputs)
        return {"loss": hint_distance(_map_of(student, batch.inputs), hint, self.regressor)}

    def _maps_refusal(self) -> str | None:
        reads = self.attention_weight > 0 or self.hint_share > 0
        return maps_refusal(self.network.encoder, self.teacher.encoder) if reads else None


def _map_of(encoder: Encoder, inputs: Inputs) -> Tensor:
    """The map of its middle block, and no block behind it."""
    return next(islice(encoder.maps(inputs), hint_block(encoder), None))


def _read(encoder: Encoder, inputs: Inputs, *, maps: bool) -> tuple[list[Tensor], Tensor]:
    """The maps after each block, where they are asked for, and the features."""
    if not maps:
        return [], encoder(inputs)
    found = list(encoder.maps(inputs))
    return found, encoder.from_last_map(found[-1])


def taught_scores(
    objective: Objective,
    outputs: Tensor,
    taught: Tensor,
    targets: Tensor,
    *,
    alpha: float,
    temperature: float,
) -> dict[str, Tensor]:
    """`loss` = (1 - alpha) loss(outputs, targets) + alpha divergence(outputs, taught), and metrics.

    Args:
        outputs, taught: of student and teacher, (n, n_outputs) each.
    """
    divergence = objective.divergence(outputs, taught, temperature)
    return {
        "loss": (1 - alpha) * objective.loss(outputs, targets) + alpha * divergence,
        "divergence": divergence,
        **objective.metrics(outputs.detach(), targets),
    }


def teacher_of_run(trained: TrainedFactory, path: str, n_source_outputs: int) -> Network:
    """The encoder and the head of a finished run.

    Raises:
        ValueError: where its head is not one over `n_source_outputs` outputs.
    """
    learned = trained("teacher_run", path)
    n_outputs = len(learned.head["weight"]) if "weight" in learned.head else 0
    if n_outputs != n_source_outputs:
        raise ValueError(
            f"teacher_run: {path} has {f'a head of {n_outputs} outputs' if n_outputs else 'no head'} and the "
            f"source has {n_source_outputs}; name a run of strategy=finetune on the same data set"
        )
    encoder = learned.encoder
    assert isinstance(encoder, Encoder)
    head = linear_head(encoder.feature_dim, n_source_outputs)
    head.load_state_dict(dict(learned.head))
    return Network(encoder, head)


def warn_of_smaller_teacher(teacher: Network, student: Network) -> None:
    """Distillation is for students that are smaller: a warning that names both sizes where one is not."""
    ours, theirs = (
        sum(t.numel() for t in (*network.parameters(), *network.buffers())) for network in (student, teacher)
    )
    if theirs < ours:
        warnings.warn(
            f"strategy.teacher: has {theirs:,} parameters, fewer than its student's {ours:,}; "
            "choose a larger one or a smaller model (model@strategy.teacher=NAME, model=NAME)",
            RuntimeWarning,
            stacklevel=3,
        )


def prefixed(prefix: str, steps: Iterator[dict[str, float]]) -> Iterator[dict[str, float]]:
    """The same metrics, with names that say which phase of a training they belong to."""
    return ({f"{prefix}{name}": value for name, value in metrics.items()} for metrics in steps)
