"""Trained tokens before every prompt of a frozen language model: its input, or keys and values of each layer.

- Soft prompts: Lester, Al-Rfou and Constant 2021, arXiv:2104.08691, section 2.
- Prefixes: Li and Liang 2021, arXiv:2101.00190, section 4.2.
"""

from __future__ import annotations

from collections.abc import Generator, Iterator, Sequence
from functools import partial
from typing import Annotated, Literal, Unpack

import torch
from annotated_types import Ge
from torch import Tensor

from coldstart_cli.core.strategy import Adapted, Strategy
from coldstart_cli.core.tasks import Support, TaskSource
from coldstart_cli.models.language.causal_lm import CausalLM, Past, past_length
from coldstart_cli.models.language.label_likelihood import check_labels
from coldstart_cli.models.network import Encoder
from coldstart_cli.strategies.building_blocks.answers import (
    AnswerTuning,
    Way,
    ablations_of_words,
    answers,
    lack_of_length,
    nothing_placed,
    refusal_of_length,
    soft_prompt,
)
from coldstart_cli.strategies.building_blocks.in_context import language_model
from coldstart_cli.training.inner_loop import Weights


class PromptTuning(Strategy):
    """Fits what stands before every prompt to the support set; no source is read.

    P trained tokens stand in the place of the prompt's header, after those that the tokenizer begins a text
    with. Either kind starts from the same words, so that before the first step the model's own answer after
    these words is the predictor.

    Departures: the papers train on thousands of examples, by Adafactor or AdamW where this is Adam; prefixes
    are trained directly, not through a network that is then thrown away (Li and Liang, section 4.3).

    Args:
        encoder: from the run.
        kind: `soft_prompt`, vectors (P, width) in the place of embedded tokens, or `prefix`, keys and values
            (1, n_heads, P, head_dim) of each layer.
        start: the words: the header and then each class as a demonstration without a text (`names`), or the
            header alone (`header`).
        length: P, to which the words are repeated or cut; None: as many tokens as they have.
        tuning: see `AnswerTuning`.

    Raises:
        RequestError: where the model does not answer in words.
        ValueError: where the prompt has no header to start from.
    """

    learns_from_source = False
    needs_classes = True
    reads_names = True
    needs_model = "language"
    starts_from_support = True  # from the names of its classes
    replayable = False  # texts differ in their number of tokens

    def __init__(
        self,
        encoder: Encoder,
        *,
        kind: Literal["soft_prompt", "prefix"],
        start: Literal["names", "header"],
        length: Annotated[int, Ge(1)] | None,
        **tuning: Unpack[AnswerTuning],
    ) -> None:
        super().__init__()
        self.lm = language_model(encoder)
        self.lm.freeze()
        self.kind, self.start, self.length, self.tuning = kind, start, length, tuning
        if start == "header" and not len(self.lm.piece("header")):
            raise ValueError(
                "start: header, and the prompt has none; write one (model.prompt.header), or start from names"
            )

    def refusal(self, tasks: TaskSource) -> str | None:
        return super().refusal(tasks) or refusal_of_length(self.lm, tasks, self._n_words)

    def refusal_of(self, support: Support) -> str | None:
        return lack_of_length(self.lm, support, self._n_words)

    def fit(self, source: TaskSource, start: int = 0) -> Iterator[dict[str, float]]:
        return iter(())

    def adapt(self, support: Support) -> Generator[Adapted, None, None]:
        """Yields after every step, `changed` being what is trained."""
        lm = self.lm
        with torch.no_grad():
            before = lm.keys_and_values(lm.embedded(lm.get_buffer("begins")))
            vectors = lm.embedded(self._words(check_labels(support.names)))
            start: Weights = {"prompt": vectors}
            if self.kind == "prefix":
                start = _named(lm.keys_and_values(vectors, before), past_length(before))
        past = soft_prompt if self.kind == "soft_prompt" else prefix
        # Also of a model in bf16, in which small steps would be lost.
        start = {name: t.to(torch.promote_types(t.dtype, torch.float32)) for name, t in start.items()}
        way = Way(lm, partial(past, before), nothing_placed, in_layers=False)
        yield from answers(way, support, start, self.tuning)

    def ablations(self, support: Support, other: Support) -> dict[str, Iterator[Adapted]]:
        """`names of another class` and, of another task's words for the classes, `names off`."""
        return ablations_of_words(self.adapt, support, other)

    def _n_words(self, labels: Sequence[Tensor]) -> int:
        return len(self._words(labels))

    def _words(self, labels: Sequence[Tensor]) -> Tensor:
        """(P,) the tokens that training starts from."""
        between, after = self.lm.piece("between"), self.lm.piece("after")
        shown = [] if self.start == "header" else [t for words in labels for t in (between, words, after)]
        tokens = torch.cat([self.lm.piece("header"), *shown])
        if self.length is None:
            return tokens
        return tokens.repeat(-(-self.length // len(tokens)))[: self.length]


def prefix(before: Past, lm: CausalLM, trained: Weights) -> Past:
    """Of layer I, `keys.I` and `values.I` (1, n_heads, P, head_dim), after what is before."""
    pairs = ((trained[f"keys.{i}"], trained[f"values.{i}"]) for i in range(len(trained) // 2))
    own = tuple((keys.to(lm.dtype), values.to(lm.dtype)) for keys, values in pairs)
    if not before:
        return own
    return tuple(
        (torch.cat([k, keys], dim=2), torch.cat([v, values], dim=2))
        for (k, v), (keys, values) in zip(before, own, strict=True)
    )


def _named(past: Past, n_before: int) -> Weights:
    """Keys and values by name, without those of the tokens before."""
    return {
        f"{name}.{i}": tensor[:, :, n_before:]
        for i, pair in enumerate(past)
        for name, tensor in zip(("keys", "values"), pair, strict=True)
    }
