"""Demonstrations before a question, and how the answers of a language model are corrected.

- In-context learning: Brown et al. 2020, arXiv:2005.14165, section 2.
- Contextual calibration: Zhao, Wallace, Feng, Klein and Singh 2021, arXiv:2102.09690, section 5: what the
  model says of texts without content ("N/A", "[MASK]" and nothing) is its prejudice, by which probabilities
  are divided.
- Batch calibration: Zhou et al. 2023, arXiv:2309.17249, equation 5: by the mean over the queries of a call;
  or, as an estimate that no query enters, over the task's unlabelled examples.
- Nearest demonstrations, the nearest last: Liu et al. 2021, arXiv:2101.06804, section 3.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Annotated, Any, Literal, TypedDict, final

import torch
from annotated_types import Ge
from torch import Tensor, nn
from torch.nn import functional as F

from coldstart_cli.core.strategy import Adapted
from coldstart_cli.core.tasks import Examples, Inputs, Support, Task, TaskSource, map_inputs, n_examples
from coldstart_cli.models.language.causal_lm import CausalLM, Past
from coldstart_cli.models.language.label_likelihood import Score, check_labels, label_scores, prefix, rows
from coldstart_cli.models.network import Encoder
from coldstart_cli.training.inner_loop import canonical
from coldstart_cli.training.randomness import step_seed

Calibration = Literal["none", "contextual", "batch", "unlabelled"]


class Asked(TypedDict):
    """Hyper-parameters of strategies that ask a language model for labels in words.

    Attributes:
        score: what a label is judged by; see `label_likelihood.Score`.
        calibration: all but `none` correct for labels that the model prefers anyway, by what it says of texts
            without content (`contextual`), of the other queries of a call (`batch`, which is transductive) or
            of the task's unlabelled examples (`unlabelled`).
        order_seed: of the order of the demonstrations, with the task's seed.
    """

    score: Score
    calibration: Calibration
    order_seed: Annotated[int, Ge(0)]


def language_model(encoder: Encoder) -> CausalLM:
    """
    Raises:
        ValueError: where the model says no words.
    """
    if not isinstance(encoder, CausalLM):
        raise ValueError(
            "model: it has no language head, and answers are words here; choose model=causal_lm or smollm2"
        )
    return encoder


def in_order(support: Support, order_seed: int) -> Examples:
    """The demonstrations, in an order that depends on seeds and on none that they came in."""
    ordered = canonical(support)
    seed = step_seed(support.seed, order_seed)
    chance = torch.Generator().manual_seed(seed % 2**32)
    return ordered.take(torch.randperm(len(ordered), generator=chance).to(ordered.targets.device))


def check_fits(lm: CausalLM, support: Support, labels: Sequence[Tensor], n_shown: int | None) -> None:
    """Refuses a prompt that is longer than what the model reads at once.

    Args:
        labels: tokens of each.
        n_shown: demonstrations of a prompt; None: all.

    Raises:
        ValueError: naming the largest number that does fit.
    """
    pieces = sum(len(lm.piece(name)) for name in ("before", "between", "after"))
    # A query has as many tokens as the tokenizer lets through.
    query = pieces + lm.max_length + max(map(len, labels))
    room = lm.context - query - len(lm.get_buffer("begins")) - len(lm.piece("header"))
    texts, targets = rows(support.inputs), support.targets.tolist()
    sizes = [pieces + len(t) + len(labels[c]) for t, c in zip(texts, targets, strict=True)]
    longest = sorted(sizes, reverse=True)
    taken = sum(longest[:n_shown] if n_shown is not None else sizes)
    if taken <= room:
        return
    if n_shown is not None:
        n = sum(sum(longest[: i + 1]) <= room for i in range(len(longest)))
        raise ValueError(
            f"nearest: {n_shown} demonstrations take up to {taken:,} tokens beside a query of up to "
            f"{query:,}, and the model reads {lm.context:,} at once; give at most {n}"
        )
    by_class = [
        sorted((s for s, t in zip(sizes, targets, strict=True) if t == c), reverse=True) for c in {*targets}
    ]
    k = max(map(len, by_class))
    most = sum(sum(sum(of[: i + 1]) for of in by_class) <= room for i in range(k))
    raise ValueError(
        f"its {len(sizes)} demonstrations take {taken:,} tokens beside a query of up to {query:,}, and the "
        f"model reads {lm.context:,} at once; give at most {most} a class (evaluation.k_shots=[{most}]), or "
        "fewer by strategy.nearest, or shorter texts (model.preprocess.max_length)"
    )


def refusal_of_prompts(lm: CausalLM, tasks: TaskSource, n_shown: int | None) -> str | None:
    """Why tasks cannot be asked in words, by their names and by the prompts of the first of them."""
    if not tasks.named:
        return (
            "it answers in words and the classes have no names; give texts with labelled names, or choose "
            "strategy=logistic model=hf_text_frozen"
        )
    lacks = (lack_of_prompt(lm, task.support, n_shown) for task in tasks.tasks("new", range(3)))
    return next(filter(None, lacks), None)


def lack_of_prompt(lm: CausalLM, support: Support, n_shown: int | None) -> str | None:
    """Why a task's prompt does not fit, as `check_fits` says it, or None where it does."""
    try:
        check_fits(lm, support, check_labels(support.names), n_shown)
    except ValueError as error:
        return str(error)
    return None


@final
class InContextPredictor(nn.Module):
    """Scores (n, n_way) of labels, after demonstrations that it holds.

    Their keys and values are computed once; they are no state, since the demonstrations tell them.

    Args:
        shown: the demonstrations, in order.
        names: of the classes.
        nearest: demonstrations of a query, the most similar ones; None: all.

    Attributes:
        holds_examples: how many demonstrations it cannot answer without.
    """

    labels: Tensor
    prior: Tensor

    def __init__(
        self, lm: CausalLM, shown: Examples, names: Inputs, asked: Asked, nearest: int | None
    ) -> None:
        super().__init__()
        self.lm, self.asked, self.nearest = lm, asked, nearest
        self.holds_examples = len(shown)
        for prefix_of, inputs in (("shown", shown.inputs), ("name", names)):
            assert isinstance(inputs, Mapping)
            for name, tensor in inputs.items():
                self.register_buffer(f"{prefix_of}_{name}", tensor)
        self.register_buffer("labels", shown.targets)
        if asked["calibration"] == "unlabelled":
            self.register_buffer("prior", torch.zeros(n_examples(names), device=shown.targets.device))
        self._known: tuple[Past, Tensor | None] | None = None

    @property
    def tokens(self) -> Tensor:
        """(P,) the prompt of all demonstrations."""
        texts, names = rows(self._inputs("shown")), self._names()
        return prefix(self.lm, texts, [names[label] for label in self.labels.tolist()], self.asked["score"])

    @torch.no_grad()
    def prepare(self, unlabelled: Inputs | None) -> InContextPredictor:
        """Computes keys and values of the demonstrations, where all queries have the same ones.

        Args:
            unlabelled: examples of the task, by which `calibration=unlabelled` corrects.
        """
        if self.nearest is None:
            self._known = self._read(range(self.holds_examples))
        if self.asked["calibration"] == "unlabelled":
            assert unlabelled is not None, "needs_unlabelled"
            self.prior = _log_mean(self._scores(unlabelled).log_softmax(1))
        return self

    def forward(self, inputs: Inputs) -> Tensor:
        scores = self._scores(inputs)
        if self.asked["calibration"] not in ("batch", "unlabelled"):
            return scores
        said = scores.log_softmax(1)
        return said - (_log_mean(said) if self.asked["calibration"] == "batch" else self.prior)

    def _scores(self, inputs: Inputs) -> Tensor:
        """(n, n_way), corrected by what is said of texts without content alone."""
        texts = rows(inputs)
        names = self._names()
        scores = torch.zeros(len(texts), len(names), device=self.labels.device)
        for chosen, queries in self._chosen(inputs).items():
            past, prior = self._read(chosen) if self.nearest is not None else self._all()
            found = label_scores(self.lm, past, [texts[i] for i in queries], names, self.asked["score"])
            scores = scores.to(found.dtype)
            scores[list(queries)] = found if prior is None else found.log_softmax(1) - prior
        return scores

    def _all(self) -> tuple[Past, Tensor | None]:
        known = self._known
        if known is None or any(k.device != self.labels.device for k, _ in known[0][:1]):
            known = self._known = self._read(range(self.holds_examples))
        return known

    @torch.no_grad()
    def _read(self, chosen: Sequence[int]) -> tuple[Past, Tensor | None]:
        """Keys and values of some demonstrations, and what is said after them of texts without content."""
        texts, names = rows(self._inputs("shown")), self._names()
        labels = self.labels.tolist()
        tokens = prefix(
            self.lm, [texts[i] for i in chosen], [names[labels[i]] for i in chosen], self.asked["score"]
        )
        past = self.lm.keys_and_values(self.lm.embedded(tokens))
        if self.asked["calibration"] != "contextual":
            return past, None
        said = label_scores(self.lm, past, self.lm.without_content(), names, self.asked["score"]).log_softmax(
            1
        )
        return past, _log_mean(said)

    def _chosen(self, inputs: Inputs) -> dict[tuple[int, ...], list[int]]:
        """Demonstrations, the last one nearest -> the queries that they are shown to."""
        n = n_examples(inputs)
        if self.nearest is None or not self.holds_examples:
            return {tuple(range(self.holds_examples)): list(range(n))} if n else {}
        own, theirs = self.lm(self._inputs("shown")), self.lm(inputs)
        similar = F.normalize(theirs, dim=-1) @ F.normalize(own, dim=-1).T
        order = similar.argsort(dim=1, stable=True)[:, -self.nearest :].tolist()
        found: dict[tuple[int, ...], list[int]] = {}
        for query, chosen in enumerate(order):
            found.setdefault(tuple(chosen), []).append(query)
        return found

    def _names(self) -> list[Tensor]:
        return rows(self._inputs("name"))

    def _inputs(self, prefix_of: str) -> dict[str, Tensor]:
        names = ("input_ids", "attention_mask")
        return {name: self.get_buffer(f"{prefix_of}_{name}") for name in names}

    def _load_from_state_dict(self, *arguments: Any) -> None:
        super()._load_from_state_dict(*arguments)
        self._known = None  # of other demonstrations


def _log_mean(said: Tensor) -> Tensor:
    """(C,) the logarithm of the mean of n rows of probabilities, given by their logarithms (n, C)."""
    return said.logsumexp(0) - math.log(max(len(said), 1))


def with_names(task: Task, *, n_query: int, order_seed: int | None) -> Task:
    """`training.episodic`'s prepare: names beside the texts, and some of the questions of each class.

    Args:
        n_query: questions of each class; those that are more are left out.
        order_seed: of the order of the demonstrations; None: as they are.
    """
    support, names = task.support, task.support.names
    shown = support if order_seed is None else in_order(support, order_seed)
    assert isinstance(shown.inputs, Mapping)
    assert isinstance(names, Mapping)
    beside = {f"name_{key}": tensor for key, tensor in names.items()}
    asked = [
        (task.query.targets == c).nonzero().flatten()[:n_query] for c in range(support.objective.n_outputs)
    ]
    return replace(
        task,
        support=replace(support, inputs={**shown.inputs, **beside}, targets=shown.targets),
        query=task.query.take(torch.cat(asked)),
    )


def apart(inputs: Inputs) -> tuple[Inputs, Inputs]:
    """Texts and names of `with_names`."""
    assert isinstance(inputs, Mapping)
    names = {key.removeprefix("name_"): t for key, t in inputs.items() if key.startswith("name_")}
    return {key: inputs[key] for key in names}, names


def ablations_of_demonstrations(
    adapt: Callable[[Support], Iterator[Adapted]], support: Support, other: Support
) -> dict[str, Iterator[Adapted]]:
    """Adapts with a part exchanged or left out.

    `names of another class`; `demonstrations off`, by the names alone; `names off`: labels are another task's
    words, so that only demonstrations tell which class is called what.
    """
    if support.names is None:
        return {}
    others = map_inputs(lambda tensor: tensor.roll(1, 0), support.names)
    found = {"names of another class": adapt(replace(support, names=others))}
    if len(support):
        if other.names is not None and n_examples(other.names) == n_examples(support.names):
            found["names off"] = adapt(replace(support, names=other.names))
        none = map_inputs(lambda tensor: tensor[:0], support.inputs)
        found["demonstrations off"] = adapt(replace(support, inputs=none, targets=support.targets[:0]))
    return found
