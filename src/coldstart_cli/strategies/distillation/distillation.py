"""Distillation: a small student learns what a larger teacher learned, and adapts to the new task instead.

- Soft outputs: Hinton, Vinyals and Dean 2015, arXiv:1503.02531, section 2.
- Relations between examples: Park, Kim, Lu and Cho 2019, arXiv:1904.05068, sections 3.2.1 and 3.2.2.
- Soft labels for the new task's unlabelled examples: Chen, Kornblith, Swersky, Norouzi and Hinton 2020,
  arXiv:2006.10029, equations 2 and 3 (SimCLRv2's self-training).
"""

from __future__ import annotations

import warnings
from collections.abc import Generator, Iterator
from dataclasses import replace
from functools import cache, partial
from typing import Annotated, Literal, Unpack

import torch
from annotated_types import Ge, Gt, Le, Lt
from torch import Tensor
from torch.nn import functional as F

from coldstart_cli.core.tasks import Adapted, Examples, Objective, Strategy, Support, TaskSource
from coldstart_cli.models.network import Encoder, Network, TrainedFactory, linear_head
from coldstart_cli.strategies.building_blocks.source_classifier import FineTuning, fit_classifier, rule_of
from coldstart_cli.strategies.distillation.soft_labels import Follower, SoftLabels, fine_tuned
from coldstart_cli.training.optimizers import OptimizerFactory
from coldstart_cli.training.outer_loops import in_turn, supervised


class Distillation(Strategy):
    """Trains a teacher on the source, then a student on the same examples and on the teacher; adapts both.

    The student's loss on the source is (1 - alpha) loss(student, labels) + alpha divergence(student, teacher)
    + distance_weight L_D + angle_weight L_A, where the divergence is T^2 KL(teacher || student) of the
    outputs, or their mean squared difference in a regression, and L_D, L_A are those of `relations`. On the
    new task, teacher and student take the same gradient steps on the labels, each from its own source
    weights; the teacher is scored beside the student. With `unlabelled_weight`, the student's loss there is

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
        unlabelled_weight: of the teacher's soft labels on the new task; 0 is without.
        teacher_steps: gradient steps of the teacher before it gives those labels.
        trainable: what adaptation changes: all weights, or the head on frozen features.
        tuning: see `FineTuning`; each step of adaptation is on the whole support set.
    """

    needs_labels = False

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
        unlabelled_weight: Annotated[float, Ge(0)],
        teacher_steps: Annotated[int, Ge(1)],
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
        self.unlabelled_weight, self.teacher_steps = unlabelled_weight, teacher_steps
        # What a strategy needs may depend on its values: without their weight, unlabelled examples are not
        # read.
        self.needs_unlabelled, self.replayable = unlabelled_weight > 0, unlabelled_weight == 0
        self.lowers_distance_by = "unlabelled_weight" if self.needs_unlabelled else None
        self.trainable, self.tuning = trainable, tuning
        if teacher_run is None:
            # Whatever the share rounds to, both of them get at least one step.
            self.preparing_steps = min(max(1, round(teacher_share * n_steps)), n_steps - 1)
        share = self.preparing_steps / n_steps
        self.teacher_optimizer = optimizer(self.teacher.parameters(), share=share)
        self.optimizer = optimizer(self.network.parameters(), share=1 - share)

    def fit(self, source: TaskSource, start: int = 0) -> Iterator[dict[str, float]]:
        """The teacher's steps (`teacher_loss`, ...), then the student's (`loss`, ...)."""
        return in_turn(
            [(self.preparing_steps, partial(self._fit_teacher, source)), (0, partial(self._fit, source))],
            start,
        )

    def adapt(self, support: Support) -> Generator[Adapted, None, None]:
        """Yields after every step; once, the student as it is, where there is nothing to learn from.

        Beside it, `teacher`: after the same number of steps on the labels; where it gives soft labels, the
        one that gave them, from the student's first step on. It is adapted on demand.
        """
        tuned = partial(fine_tuned, support=support, rule=rule_of(self.tuning), trainable=self.trainable)
        teacher = Follower(partial(tuned, self.teacher, soft=None))
        soft = None
        if self.unlabelled_weight > 0:
            assert support.unlabelled is not None, "needs_unlabelled"
            outputs = cache(partial(teacher.outputs, self.teacher_steps, support.unlabelled))
            soft = SoftLabels(support.unlabelled, outputs, self.unlabelled_weight, self.temperature)
        # The teacher's outputs are computed at the first use, after the item of 0 steps has been timed.
        for step, adapted in enumerate(tuned(self.network, soft=soft)):
            taken = step if soft is None else min(step, 1) * self.teacher_steps
            yield replace(adapted, beside={"teacher": partial(teacher.after, taken)})

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

    def _fit(self, source: TaskSource, start: int) -> Iterator[dict[str, float]]:
        return supervised(
            self._batch_loss,
            source.pool("train"),
            self.optimizer,
            batch_size=self.tuning["batch_size"],
            seed=self.seed,
            device=self.network.head.weight.device,
            start=self.preparing_steps + start,
            divisible=self.distance_weight == 0
            and self.angle_weight == 0,  # a loss on relations is not a mean over parts of a batch
        )

    def _batch_loss(self, objective: Objective, batch: Examples) -> dict[str, Tensor]:
        self.teacher.eval()  # it uses its running statistics and updates none
        with torch.no_grad():
            taught_features = self.teacher.encoder(batch.inputs)
            taught = self.teacher.head(taught_features)
        features = self.network.encoder(batch.inputs)
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
        return scores


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


def relations(student: Tensor, teacher: Tensor) -> tuple[Tensor, Tensor]:
    """How far relations among a student's features are from those among a teacher's: (L_D, L_A), scalars.

    With l the Huber loss (d^2 / 2 where |d| <= 1, |d| - 1/2 elsewhere) and e_ij = (x_i - x_j) / |x_i - x_j|,
    L_D is the mean over pairs of l(|t_i - t_j| / mu_t - |s_i - s_j| / mu_s), mu the mean distance of its
    network's pairs; L_A, over triplets, of l(<e_ij, e_kj> of t - <e_ij, e_kj> of s), cosines of the angle
    at j. Means over distinct i, j, k, where the paper sums, so that weights do not depend on the batch size.

    Args:
        student, teacher: features (n, d) of the same n examples; the two d may differ.
    """
    n = len(student)
    with torch.autocast(student.device.type, enabled=False):
        (distances, cosines), (taught_distances, taught_cosines) = map(_relations, (student, teacher))
        # Where two of i, j, k are the same, both networks have the same relation and the term is 0.
        distance = F.smooth_l1_loss(distances, taught_distances.to(distances), reduction="sum")
        angle = F.smooth_l1_loss(cosines, taught_cosines.to(cosines), reduction="sum")
    return distance / max(1, n * (n - 1)), angle / max(1, n * (n - 1) * (n - 2))


def _relations(features: Tensor) -> tuple[Tensor, Tensor]:
    """Distances relative to their mean, (n, n), and cosines at j of each i and k, (n, n, n) as [j, i, k]."""
    exact = features if features.dtype == torch.float64 else features.float()
    n = len(exact)
    # In full precision: differences of near features lose most of their digits in bf16.
    differences = exact.unsqueeze(0) - exact.unsqueeze(1)  # [j, i] = x_i - x_j
    distances = torch.linalg.vector_norm(differences, dim=-1)  # its gradient at 0 is 0, not nan
    mean = distances.sum() / max(1, n * (n - 1))
    directions = F.normalize(differences, dim=-1)
    return distances / mean.clamp(min=1e-12), directions @ directions.mT


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
