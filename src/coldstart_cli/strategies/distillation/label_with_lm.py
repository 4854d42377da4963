"""A large model labels a task's unlabelled examples by what classes are called; a small one learns from them.

Names as labels: Yin, Hay and Roth 2019, arXiv:1909.00161. In context: Wang, Liu, Xu, Zhu and Zeng 2021,
arXiv:2108.13487. Soft labels for unlabelled examples: Chen, Kornblith, Swersky, Norouzi and Hinton 2020,
arXiv:2006.10029, equation 2, as in `soft_labels`. A cascade of a small and a large model: Viola and Jones
2001 (CVPR), for language models Chen, Zaharia and Zou 2023, arXiv:2305.05176, section 3.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterator
from dataclasses import replace
from functools import cache, partial
from typing import Annotated, Literal, Unpack

import torch
from annotated_types import Ge, Gt, Le
from torch import Tensor, nn

from coldstart_cli.core.strategy import Adapted, Strategy
from coldstart_cli.core.tasks import Inputs, Support, TaskSource, map_inputs
from coldstart_cli.models.language.causal_lm import CausalLM
from coldstart_cli.models.network import Encoder, Network, linear_head
from coldstart_cli.strategies.building_blocks.centred import Centred
from coldstart_cli.strategies.building_blocks.in_context import (
    Asked,
    InContextPredictor,
    in_order,
    lack_of_prompt,
    language_model,
    refusal_of_prompts,
)
from coldstart_cli.strategies.building_blocks.names import Named, ablations_of_names, known
from coldstart_cli.strategies.building_blocks.prototypes import NearestCentroidPredictor, prototypes
from coldstart_cli.strategies.building_blocks.source_classifier import FineTuning, fit_classifier, rule_of
from coldstart_cli.strategies.distillation.soft_labels import SoftLabels, fine_tuned
from coldstart_cli.training.optimizers import OptimizerFactory


class Labelling(FineTuning, Named, Asked):
    """Hyper-parameters of the student's steps, of names among examples, and of answers in words."""


class LabelWithLM(Strategy):
    """Fine-tunes a student on what a frozen teacher says of the unlabelled examples, and on the labels.

    The student's loss is loss(student, labels) + unlabelled_weight T^2 KL(teacher || student), the second on
    the unlabelled examples, with T = `temperature` and the teacher's logits divided by `label_temperature`.
    Teacher and student read the same inputs: a student of text shares its teacher's tokenizer
    (`model=embedding_bag`). The teacher is scored beside the student. Without labels its names suffice.

    With a `threshold` the two answer together, as a cascade: the student where its largest probability
    reaches the threshold, the teacher elsewhere. Accuracy against cost: for each threshold of `curve` a
    cascade is scored beside, and the note `share passed on below X` says how many of the unlabelled examples
    the teacher would have to answer.

    Args:
        encoder, optimizer, n_source_outputs, seed: from the run, whose encoder is the student's.
        teacher: the teacher's encoder, which no step changes.
        answers: how it labels: by the `names` and examples nearest in its features, as `name_centroid` does,
            or `in_context`, by the words that a causal language model says.
        label_temperature: that its similarities, or log likelihoods, are divided by.
        source_training: train the student on the source first.
        unlabelled_weight: of its labels beside the true ones.
        temperature: T, of both softmaxes.
        trainable: what adaptation changes: all of the student's weights, or the head on frozen features.
        threshold: below which probability the student passes an input on to the teacher; None: it never does.
        curve: further thresholds, of cascades that are scored beside.
        labelling: see `FineTuning`, `Named`, `Asked`; each step is on all examples.

    Raises:
        ValueError: where a teacher that is to answer in words has no language head.
    """

    needs_classes = True
    needs_labels = False
    needs_unlabelled = True
    reads_names = True
    replayable = False  # the teacher's labels are computed at their first use
    lowers_distance_by = "unlabelled_weight"
    shardable = True

    def __init__(
        self,
        encoder: Encoder,
        optimizer: OptimizerFactory,
        n_source_outputs: int,
        seed: int,
        *,
        teacher: Encoder,
        answers: Literal["names", "in_context"],
        label_temperature: Annotated[float, Gt(0)],
        source_training: bool,
        unlabelled_weight: Annotated[float, Gt(0)],
        temperature: Annotated[float, Gt(0)],
        trainable: Literal["all", "head"],
        threshold: Annotated[float, Ge(0), Le(1)] | None,
        curve: list[Annotated[float, Ge(0), Le(1)]],
        **labelling: Unpack[Labelling],
    ) -> None:
        super().__init__()
        self.network = Network(encoder, linear_head(encoder.feature_dim, n_source_outputs))
        if answers == "in_context" and not isinstance(teacher, CausalLM):
            raise ValueError(
                "teacher: it has no language head, and answers are words here; choose "
                "model@strategy.teacher=causal_lm, or strategy.answers=names"
            )
        self.teacher = teacher.requires_grad_(False)
        self.answers, self.label_temperature = answers, label_temperature
        self.source_training, self.learns_from_source = source_training, source_training
        self.unlabelled_weight, self.temperature = unlabelled_weight, temperature
        self.seed, self.trainable, self.labelling = seed, trainable, labelling
        self.threshold, self.curve = threshold, curve
        self.starts_from_support = threshold is not None  # by the teacher's part in its answers
        self.optimizer = optimizer(self.network.parameters())

    def refusal(self, tasks: TaskSource) -> str | None:
        reason = super().refusal(tasks)
        if reason is None and self.answers == "in_context":
            return refusal_of_prompts(language_model(self.teacher), tasks, None)
        return reason

    def refusal_of(self, support: Support) -> str | None:
        in_words = self.answers == "in_context"
        return lack_of_prompt(language_model(self.teacher), support, None) if in_words else None

    def fit(self, source: TaskSource, start: int = 0) -> Iterator[dict[str, float]]:
        if not self.source_training:
            return iter(())
        return fit_classifier(
            self.network,
            source,
            self.optimizer,
            batch_size=self.labelling["batch_size"],
            seed=self.seed,
            start=start,
        )

    def adapt(self, support: Support) -> Generator[Adapted, None, None]:
        """Yields after every step of the student; `teacher` beside it, made and asked at its first use."""
        assert support.unlabelled is not None, "needs_unlabelled"
        teacher = cache(partial(self._teacher, support))
        pool = support.unlabelled

        @cache
        def labels() -> Tensor:
            with torch.no_grad():
                said: Tensor = teacher()(pool)
            return said

        soft = SoftLabels(pool, labels, self.unlabelled_weight, self.temperature)
        rule = rule_of(self.labelling)
        for adapted in fine_tuned(self.network, support, rule, self.trainable, soft):
            student = adapted.build
            cascade = partial(_cascade, student, teacher)
            beside: dict[str, Callable[[], nn.Module]] = {"teacher": teacher}
            beside |= {f"cascade at {t:g}": partial(cascade, t) for t in self.curve}
            if self.threshold is not None:
                beside["student"] = student
                adapted = replace(adapted, build=partial(cascade, self.threshold))
            yield replace(adapted, beside=beside, notes=self._notes(adapted, student, pool))

    def ablations(self, support: Support, other: Support) -> dict[str, Iterator[Adapted]]:
        found = ablations_of_names(self.adapt, support, self.labelling)
        if self.answers == "in_context":  # which has no words to say without names
            found.pop("names off", None)
        return found

    def _notes(self, adapted: Adapted, student: Callable[[], nn.Module], pool: Inputs) -> dict[str, float]:
        """Those of the student's steps, and the shares of the pool that cascades pass on."""
        thresholds = {*self.curve, *(() if self.threshold is None else (self.threshold,))}
        if not thresholds:
            return dict(adapted.notes)
        with torch.no_grad():
            surest = student()(pool).softmax(1).amax(1)
        shares = {
            f"share passed on below {t:g}": float((surest < t).float().mean()) for t in sorted(thresholds)
        }
        return {**adapted.notes, **shares}

    def _teacher(self, support: Support) -> nn.Module:
        """(n, ...) -> logits (n, n_way)."""
        n_way, named = support.objective.n_outputs, self.labelling
        if self.answers == "in_context":
            assert support.names is not None, "refusal_of_prompts"
            shown = in_order(support, named["order_seed"])
            lm = language_model(self.teacher)
            said = InContextPredictor(lm, shown, support.names, named, None).prepare(support.unlabelled)
            return Tempered(said, self.label_temperature)
        encoder = Centred(self.teacher, None, normalise=True)
        with torch.no_grad():
            own = known(encoder, support, named)
            centroids = prototypes(own.features, own.targets, n_way, own.weights)
        return NearestCentroidPredictor(encoder, centroids, "cosine", self.label_temperature)


class Cascade(nn.Module):
    """Log probabilities (n, n_way) of the first model, or of the second where the first is not sure.

    Args:
        threshold: largest probability of an input from which on the first model answers.
    """

    def __init__(self, first: nn.Module, second: nn.Module, threshold: float) -> None:
        super().__init__()
        self.first, self.second, self.threshold = first, second, threshold

    def forward(self, inputs: Inputs) -> Tensor:
        said: Tensor = self.first(inputs).log_softmax(1)
        unsure = said.exp().amax(1) < self.threshold
        if torch.compiler.is_exporting():  # an exported graph has no rows whose number is not known
            return torch.where(unsure.unsqueeze(1), self.second(inputs).log_softmax(1), said)
        rows = unsure.nonzero().squeeze(1)
        if not len(rows):
            return said
        more: Tensor = self.second(map_inputs(lambda t: t[rows], inputs)).log_softmax(1)
        return said.index_copy(0, rows, more.to(said.dtype))


def _cascade(first: Callable[[], nn.Module], second: Callable[[], nn.Module], threshold: float) -> Cascade:
    return Cascade(first(), second(), threshold)


class Tempered(nn.Module):
    """Logits (n, n_way) divided by a temperature."""

    def __init__(self, module: nn.Module, temperature: float) -> None:
        super().__init__()
        self.module, self.temperature = module, temperature

    def forward(self, inputs: object) -> Tensor:
        logits: Tensor = self.module(inputs)
        return logits / self.temperature
