"""A language model that learns to name a task's classes by small changes inside its frozen layers.

- Low-rank updates: Hu et al. 2021, arXiv:2106.09685; rank-stabilised: Kalajdzievski 2023, arXiv:2312.03732.
- Scales, (IA)^3: Liu et al. 2022, arXiv:2205.05638, section 3.3.
"""

from __future__ import annotations

from collections.abc import Generator, Iterator
from dataclasses import replace
from functools import partial
from typing import Annotated, Literal, Unpack

import torch
from annotated_types import Ge, Gt, Len, Lt

from coldstart_cli.core.strategy import Adapted, Strategy
from coldstart_cli.core.tasks import Support, TaskSource
from coldstart_cli.models.network import Encoder
from coldstart_cli.models.updates.low_rank import check_rank, chosen, dropped, low_rank, scale_of
from coldstart_cli.models.updates.low_rank_layers import placed, with_low_rank_layers
from coldstart_cli.models.updates.scaled_layers import scaled, with_scaled_layers
from coldstart_cli.strategies.building_blocks.answers import (
    AnswerTuning,
    Way,
    ablations_of_words,
    answers,
    head_answers,
    of_the_header,
)
from coldstart_cli.strategies.building_blocks.in_context import (
    lack_of_prompt,
    language_model,
    refusal_of_prompts,
)
from coldstart_cli.training.randomness import step_seed

AnsweredBy = Literal["words", "head"]
"""By the names of the classes, or by a linear head on the model's features, which starts at zero."""


class LabelLoRA(Strategy):
    """Fits low-rank updates of a frozen language model to the support set; nothing is learned from a source.

    x W^T + scale (x A^T) B^T in each layer that `targets` names. B starts at zero, so that before the first
    step the model as it is answers, by the names of the classes.

    Args:
        encoder: from the run, a causal language model.
        rank: of the updates, at most the smaller side of every matrix.
        alpha: updates are scaled by alpha / rank.
        rank_stabilised: by alpha / sqrt(rank) instead (rsLoRA).
        targets: which linear layers are updated, by a part of their names; None for all but the last layer.
        dropout: share of an update's inputs that a step leaves out; see `models.low_rank.dropped`.
        answer_by: see `AnsweredBy`.
        tuning: see `AnswerTuning`; score is of words.

    Raises:
        ValueError: where the model has no language head, the rank is above the smaller side of a matrix, or a
            target names none.
    """

    learns_from_source = False
    needs_classes = True
    needs_model = "language"
    starts_from_support = True  # from the names of its classes
    replayable = False  # texts differ in their number of tokens

    def __init__(
        self,
        encoder: Encoder,
        *,
        rank: Annotated[int, Ge(1)],
        alpha: Annotated[float, Gt(0)],
        rank_stabilised: bool,
        targets: list[str] | None,
        dropout: Annotated[float, Ge(0), Lt(1)],
        answer_by: AnsweredBy,
        **tuning: Unpack[AnswerTuning],
    ) -> None:
        super().__init__()
        self.lm, self.tuning = language_model(encoder), tuning
        self.lm.freeze()
        weights = chosen(with_low_rank_layers(self.lm, self.lm.decoder_name), targets)
        check_rank(rank, weights)
        self.names, self.rank, self.alpha, self.rank_stabilised = tuple(weights), rank, alpha, rank_stabilised
        self.targets, self.dropout, self.answer_by = targets, dropout, answer_by
        self.reads_names = answer_by == "words"

    def refusal(self, tasks: TaskSource) -> str | None:
        reason = super().refusal(tasks)
        return refusal_of_prompts(self.lm, tasks, 0) if reason is None and self.reads_names else reason

    def refusal_of(self, support: Support) -> str | None:
        return lack_of_prompt(self.lm, support, 0) if self.reads_names else None

    def fit(self, source: TaskSource, start: int = 0) -> Iterator[dict[str, float]]:
        return iter(())

    def adapt(self, support: Support) -> Generator[Adapted, None, None]:
        """Yields after every step, `changed` being the factors, and the head where there is one."""
        layers = {name: self.lm.get_buffer(_inner(name)) for name in self.names}
        # Also of a model in bf16, in which small steps would be lost.
        full = {n: w.to(torch.promote_types(w.dtype, torch.float32)) for n, w in layers.items()}
        scale = scale_of(self.alpha, self.rank, rank_stabilised=self.rank_stabilised)
        way = Way(self.lm, of_the_header, partial(placed, scale=scale), in_layers=True)
        if self.dropout:
            chance = torch.Generator().manual_seed(step_seed(support.seed, 0))
            way = replace(way, varied=partial(dropped, share=self.dropout, generator=chance))
        # By the support's seed: a task starts from the same factors whenever it is adapted to.
        start = low_rank(full, self.rank, support.seed)
        yield from _by[self.answer_by](way, support, start, self.tuning)

    def ablations(self, support: Support, other: Support) -> dict[str, Iterator[Adapted]]:
        """`names of another class` and, of another task's words for the classes, `names off`."""
        return ablations_of_words(self.adapt, support, other) if self.reads_names else {}


class IA3(Strategy):
    """Fits scales of a frozen language model's activations to the support set: keys, values, inner ones.

    Departures from T-Few: the scales are not trained on other tasks first, the loss is the length-normalised
    one alone (score=mean), and the rate is constant.

    Args:
        encoder: from the run, a causal language model.
        targets: linear layers whose outputs are scaled, by a part of their names.
        feedforward: linear layers whose inputs are scaled.
        answer_by: see `AnsweredBy`.
        tuning: see `AnswerTuning`; score is of words.

    Raises:
        ValueError: where the model has no language head, or a target names no linear layer.
    """

    learns_from_source = False
    needs_classes = True
    needs_model = "language"
    starts_from_support = True  # from the names of its classes
    replayable = False  # texts differ in their number of tokens

    def __init__(
        self,
        encoder: Encoder,
        *,
        targets: Annotated[list[str], Len(1)],
        feedforward: list[str],
        answer_by: AnsweredBy,
        **tuning: Unpack[AnswerTuning],
    ) -> None:
        super().__init__()
        self.lm, self.tuning = language_model(encoder), tuning
        self.lm.freeze()
        self.targets, self.feedforward, self.answer_by = targets, feedforward, answer_by
        self.reads_names = answer_by == "words"
        self.sizes = with_scaled_layers(self.lm, self.lm.decoder_name, targets, feedforward)

    def refusal(self, tasks: TaskSource) -> str | None:
        reason = super().refusal(tasks)
        return refusal_of_prompts(self.lm, tasks, 0) if reason is None and self.reads_names else reason

    def refusal_of(self, support: Support) -> str | None:
        return lack_of_prompt(self.lm, support, 0) if self.reads_names else None

    def fit(self, source: TaskSource, start: int = 0) -> Iterator[dict[str, float]]:
        return iter(())

    def adapt(self, support: Support) -> Generator[Adapted, None, None]:
        """Yields after every step, `changed` being the scales, and the head where there is one."""
        device = support.targets.device
        ones = {name: torch.ones(size, device=device) for name, size in self.sizes.items()}
        way = Way(self.lm, of_the_header, scaled, in_layers=True)
        yield from _by[self.answer_by](way, support, ones, self.tuning)

    def ablations(self, support: Support, other: Support) -> dict[str, Iterator[Adapted]]:
        """`names of another class` and, of another task's words for the classes, `names off`."""
        return ablations_of_words(self.adapt, support, other) if self.reads_names else {}


def _inner(name: str) -> str:
    """Of `NAME.weight`, what the weight is called within the `LowRankLinear` NAME."""
    return f"{name.removesuffix('.weight')}.layer.weight"


_by = {"words": answers, "head": head_answers}
