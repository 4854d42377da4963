"""A frozen language model that answers with the names of a task's classes, and what is fitted around it.

The loss on the support set is that of a classifier whose outputs are label scores s: -log softmax(s)[y],
which with means over tokens is the length-normalised loss of T-Few (Liu et al. 2022, arXiv:2205.05638,
equation 2).
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Generator, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Annotated, TypedDict, final

import torch
from annotated_types import Ge, Gt
from torch import Tensor, nn

from coldstart_cli.core.tasks import Adapted, Inputs, Support
from coldstart_cli.errors import RequestError
from coldstart_cli.models.causal_lm import CausalLM, Past, past_length
from coldstart_cli.models.label_likelihood import Score, check_labels, label_scores, longest_query, rows
from coldstart_cli.strategies.building_blocks.source_classifier import descended, support_loss
from coldstart_cli.training.inner_loop import Weights, adam


class AnswerTuning(TypedDict):
    """Hyper-parameters of strategies that fit a few tensors to the support set by the likelihood of answers.

    Attributes:
        score: how well a name fits a text; see `models.label_likelihood.Score`.
        support_batch_size: support examples in a step, drawn epoch after epoch; None for all.
        lr: learning rate of Adam.
    """

    score: Score
    support_batch_size: Annotated[int, Ge(1)] | None
    lr: Annotated[float, Gt(0)]


def in_layers_nothing(lm: nn.Module, tensors: Weights) -> contextlib.AbstractContextManager[None]:
    """`Fitted.placing` of what changes no layer."""
    return contextlib.nullcontext()


@final
@dataclass(frozen=True, slots=True)
class Fitted:
    """How tensors enter a language model: before its prompts, or in its layers.

    Attributes:
        past: what stands before every prompt with these tensors.
        placing: a block in which the model computes with those of its layers.
        in_layers: whether there are such.
    """

    lm: CausalLM
    past: Callable[[Weights], Past]
    placing: Callable[[nn.Module, Weights], contextlib.AbstractContextManager[None]] = in_layers_nothing
    in_layers: bool = False

    def scores(self, tensors: Weights, inputs: Inputs, labels: list[Tensor], score: Score) -> Tensor:
        """(n, n_way) of the labels, with gradients."""
        with self.placing(self.lm, tensors):
            return label_scores(self.lm, self.past(tensors), rows(inputs), labels, score)

    @torch.no_grad()
    def predictor(self, tensors: Weights, names: Inputs, score: Score) -> nn.Module:
        """With keys and values of what stands before prompts, computed once."""
        with self.placing(self.lm, tensors):
            past = self.past(tensors)
        return Answers(self.lm, names, score, past, self.placing, tensors if self.in_layers else {}).eval()


def fitted(
    way: Fitted, support: Support, start: Weights, tuning: AnswerTuning
) -> Generator[Adapted, None, None]:
    """Yields before the first step of Adam and after each; once where there are no labels.

    Raises:
        RequestError: where the classes have no names, or a prompt does not fit the model's context.
    """
    labels = check_labels(support.names)
    assert support.names is not None
    with torch.no_grad(), way.placing(way.lm, start):
        check_room(way.lm, past_length(way.past(start)), labels)

    def outputs(tensors: Weights, inputs: Inputs) -> Tensor:
        return way.scores(tensors, inputs, labels, tuning["score"])

    loss = support_loss(outputs, support, tuning["support_batch_size"])
    for changed in descended(loss, start, adam(tuning["lr"], beta1=0.9), support):
        yield Adapted(partial(way.predictor, changed, support.names, tuning["score"]), changed)


def check_room(lm: CausalLM, n_before: int, labels: list[Tensor]) -> None:
    """Refuses prompts that are longer than what the model reads at once.

    Args:
        n_before: tokens before a text.

    Raises:
        RequestError: naming the numbers of tokens.
    """
    # A query has as many tokens as the tokenizer lets through.
    n = n_before + longest_query(lm, [labels[0].new_zeros(lm.max_length)], labels)
    if n > lm.context:
        raise RequestError(
            f"strategy: what stands before a text takes {n_before:,} tokens, a prompt up to {n:,}, and the "
            f"model reads {lm.context:,} at once; train fewer tokens (strategy.length), or shorten texts "
            "(model.preprocess.max_length)"
        )


@final
class Answers(nn.Module):
    """Token ids with their mask -> (n, n_way) scores of the classes' names.

    Args:
        lm: as it was before adaptation; shared, not copied.
        names: of the classes, as `Support.names`.
        past: keys and values before every prompt.
        placing, tensors: as in `Fitted`; tensors of layers by name.
    """

    def __init__(
        self,
        lm: CausalLM,
        names: Inputs,
        score: Score,
        past: Past,
        placing: Callable[[nn.Module, Weights], contextlib.AbstractContextManager[None]],
        tensors: Mapping[str, Tensor],
    ) -> None:
        super().__init__()
        assert isinstance(names, Mapping)
        self.lm, self.score, self.placing, self.n_layers = lm, score, placing, len(past)
        self.places = tuple(tensors)
        of_past = {
            f"{kind}_{i}": t for i, pair in enumerate(past) for kind, t in zip("kv", pair, strict=True)
        }
        of_layers = {f"tensor_{i}": tensor for i, tensor in enumerate(tensors.values())}
        for name, tensor in {**names, **of_past, **of_layers}.items():
            self.register_buffer(name, tensor.detach())

    def forward(self, inputs: Inputs) -> Tensor:
        past = tuple((self.get_buffer(f"k_{i}"), self.get_buffer(f"v_{i}")) for i in range(self.n_layers))
        tensors = {name: self.get_buffer(f"tensor_{i}") for i, name in enumerate(self.places)}
        names = {key: self.get_buffer(key) for key in ("input_ids", "attention_mask")}
        with self.placing(self.lm, tensors):
            return label_scores(self.lm, past, rows(inputs), rows(names), self.score)
