"""A frozen language model that answers with the names of a task's classes, and what is fitted around it.

The loss on the support set is that of a classifier whose outputs are label scores s: -log softmax(s)[y],
which with means over tokens is the length-normalised loss of T-Few (Liu et al. 2022, arXiv:2205.05638,
equation 2).
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Annotated, Any, TypedDict, final

import torch
from annotated_types import Ge, Gt
from torch import Tensor, nn
from torch.nn import functional as F

from coldstart_cli.core.strategy import Adapted
from coldstart_cli.core.tasks import Inputs, Support, TaskSource, map_inputs, n_examples
from coldstart_cli.errors import RequestError
from coldstart_cli.models.language.causal_lm import CausalLM, Past, past_length
from coldstart_cli.models.language.label_likelihood import (
    Score,
    check_labels,
    label_scores,
    longest_query,
    prefix,
    rows,
)
from coldstart_cli.strategies.building_blocks.in_context import refusal_of_prompts
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


Placing = Callable[[nn.Module, Weights], contextlib.AbstractContextManager[None]]
"""(language model, tensors) -> a block in which the model computes with those of its layers."""


def nothing_placed(lm: nn.Module, tensors: Weights) -> contextlib.AbstractContextManager[None]:
    """The `Placing` of what changes no layer."""
    return contextlib.nullcontext()


def of_the_header(lm: CausalLM, tensors: Weights) -> Past:
    """What stands before every prompt where nothing is trained there."""
    return lm.keys_and_values(lm.embedded(prefix(lm, [], [], "sum")))


@final
@dataclass(frozen=True, slots=True)
class Way:
    """How tensors enter a language model: before its prompts, or in its layers.

    Attributes:
        past: what stands before every prompt with these tensors.
        placing: see `Placing`.
        in_layers: whether it places any.
        varied: what a step makes of the tensors at random, as dropout; prediction does not.
    """

    lm: CausalLM
    past: Callable[[CausalLM, Weights], Past]
    placing: Placing
    in_layers: bool
    varied: Callable[[Weights], Weights] = dict


def answers(
    way: Way, support: Support, start: Weights, tuning: AnswerTuning
) -> Generator[Adapted, None, None]:
    """Answers in words before the first step of Adam and after each; once where there are no labels.

    Raises:
        RequestError: where the classes have no names, or a prompt does not fit the model's context.
    """
    lm, labels, score = way.lm, check_labels(support.names), tuning["score"]
    assert support.names is not None
    names = support.names

    def outputs(tensors: Weights, inputs: Inputs) -> Tensor:
        tensors = way.varied(tensors)
        with way.placing(lm, tensors):
            return label_scores(lm, way.past(lm, tensors), rows(inputs), labels, score)

    @torch.no_grad()
    def predictor(tensors: Weights) -> nn.Module:
        with way.placing(lm, tensors):  # keys and values of what stands before prompts are computed once
            past = way.past(lm, tensors)
        return Answers(lm, names, score, past, way.placing, tensors if way.in_layers else {}).eval()

    with torch.no_grad():
        lack = lack_of_room(lm, past_length(way.past(lm, start)), labels)
    if lack is not None:
        raise RequestError(f"strategy: {lack}")
    return _steps(outputs, predictor, support, start, tuning)


def head_answers(
    way: Way, support: Support, start: Weights, tuning: AnswerTuning
) -> Generator[Adapted, None, None]:
    """The same by a linear head on the model's features, which starts at zero."""
    lm, n = way.lm, support.objective.n_outputs
    like = next(iter(start.values()))
    head = {"head.weight": like.new_zeros(n, lm.feature_dim), "head.bias": like.new_zeros(n)}

    def outputs(tensors: Weights, inputs: Inputs) -> Tensor:
        with way.placing(lm, _of_layers(way.varied(tensors))):
            return F.linear(lm(inputs), tensors["head.weight"], tensors["head.bias"])

    def predictor(tensors: Weights) -> nn.Module:
        return HeadAnswers(lm, way.placing, tensors).eval()

    return _steps(outputs, predictor, support, start | head, tuning)


def _steps(
    outputs: Callable[[Weights, Inputs], Tensor],
    predictor: Callable[[Weights], nn.Module],
    support: Support,
    start: Weights,
    tuning: AnswerTuning,
) -> Generator[Adapted, None, None]:
    loss = support_loss(outputs, support, tuning["support_batch_size"])
    for changed in descended(loss, start, adam(tuning["lr"], beta1=0.9), support):
        yield Adapted(partial(predictor, changed), changed)


def _of_layers(tensors: Weights) -> Weights:
    return {name: tensor for name, tensor in tensors.items() if not name.startswith("head.")}


def soft_prompt(before: Past, lm: CausalLM, trained: Weights) -> Past:
    """What the vectors `prompt` (P, width) leave in each layer, after what is before."""
    return lm.keys_and_values(trained["prompt"].to(lm.dtype), before)


def ablations_of_words(
    adapt: Callable[[Support], Iterator[Adapted]], support: Support, other: Support
) -> dict[str, Iterator[Adapted]]:
    """Adapts with the `names of another class` and, of another task's words, `names off`."""
    if support.names is None or other.names is None:
        return {}
    rolled = map_inputs(lambda tensor: tensor.roll(1, 0), support.names)
    found = {"names of another class": adapt(replace(support, names=rolled))}
    if n_examples(other.names) == n_examples(support.names):
        found["names off"] = adapt(replace(support, names=other.names))
    return found


def lack_of_room(lm: CausalLM, n_before: int, labels: Sequence[Tensor]) -> str | None:
    """Why a prompt does not fit into what the model reads at once, or None where it does.

    Args:
        n_before: tokens before a text.
    """
    # A query has as many tokens as the tokenizer lets through.
    n = n_before + longest_query(lm, [labels[0].new_zeros(lm.max_length)], labels)
    if n <= lm.context:
        return None
    return (
        f"what stands before a text takes {n_before:,} tokens, a prompt up to {n:,}, and the model reads "
        f"{lm.context:,} at once; train fewer tokens (strategy.length or n_vectors), or shorten texts "
        "(model.preprocess.max_length)"
    )


def refusal_of_length(
    lm: CausalLM, tasks: TaskSource, n_trained: Callable[[Sequence[Tensor]], int]
) -> str | None:
    """Why tasks cannot be asked in words, or leave no room for what is trained before a text.

    Args:
        n_trained: of the tokens of a task's labels, how many tokens that are; the first tasks are asked.
    """
    reason = refusal_of_prompts(lm, tasks, 0)
    if reason is not None:
        return reason
    lacks = (lack_of_length(lm, task.support, n_trained) for task in tasks.tasks("new", range(3)))
    return next(filter(None, lacks), None)


def lack_of_length(
    lm: CausalLM, support: Support, n_trained: Callable[[Sequence[Tensor]], int]
) -> str | None:
    """Why what is trained leaves a task's prompts no room, or None where it does; see `refusal_of_length`."""
    labels = check_labels(support.names)
    return lack_of_room(lm, len(lm.get_buffer("begins")) + n_trained(labels), labels)


@final
class Answers(nn.Module):
    """Token ids with their mask -> (n, n_way) scores of the classes' names.

    Args:
        lm: as it was before adaptation; shared, not copied.
        names: of the classes, as `Support.names`.
        past: keys and values before every prompt.
        placing, tensors: as in `Way`; tensors of layers by name.
    """

    def __init__(
        self,
        lm: CausalLM,
        names: Inputs,
        score: Score,
        past: Past,
        placing: Placing,
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

    def in_layers(self) -> Weights:
        """The tensors of layers, by name."""
        return {name: self.get_buffer(f"tensor_{i}") for i, name in enumerate(self.places)}

    def forward(self, inputs: Inputs) -> Tensor:
        past = tuple((self.get_buffer(f"k_{i}"), self.get_buffer(f"v_{i}")) for i in range(self.n_layers))
        names = {key: self.get_buffer(key) for key in ("input_ids", "attention_mask")}
        with self.placing(self.lm, self.in_layers()):
            return label_scores(self.lm, past, rows(inputs), rows(names), self.score)

    def _load_from_state_dict(self, state: Mapping[str, Tensor], prefix: str, *arguments: Any) -> None:
        # What is stored may be of names, and so of a prompt, of another length.
        for name in self._buffers.keys() & {n.removeprefix(prefix) for n in state}:
            self._buffers[name] = torch.empty_like(state[f"{prefix}{name}"])
        super()._load_from_state_dict(state, prefix, *arguments)


@final
class HeadAnswers(nn.Module):
    """Token ids with their mask -> (n, n_outputs) by a head on a language model's features.

    Args:
        placing, tensors: as in `Way`, and `head.weight` and `head.bias`.
    """

    def __init__(self, lm: CausalLM, placing: Placing, tensors: Mapping[str, Tensor]) -> None:
        super().__init__()
        self.lm, self.placing, self.places = lm, placing, tuple(tensors)
        for i, tensor in enumerate(tensors.values()):
            self.register_buffer(f"tensor_{i}", tensor.detach())

    def forward(self, inputs: Inputs) -> Tensor:
        tensors = {name: self.get_buffer(f"tensor_{i}") for i, name in enumerate(self.places)}
        with self.placing(self.lm, _of_layers(tensors)):
            return F.linear(self.lm(inputs), tensors["head.weight"], tensors["head.bias"])
