"""Classes by a language model: log p(label | prompt) of each label, or log p(text | label) for the channel.

- Brown et al. 2020, arXiv:2005.14165, section 2.4: labels are ranked by the likelihood of their words, also
  by its mean over tokens.
- Channel: Min et al. 2022, arXiv:2108.04106, section 3.2: log p(text | label), all labels being as probable.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Literal

import torch
from torch import Tensor

from coldstart_cli.core.tasks import Inputs
from coldstart_cli.errors import RequestError
from coldstart_cli.models.language.causal_lm import CausalLM, Past
from coldstart_cli.models.language.token_tree import token_tree
from coldstart_cli.models.pretrained.text import trimmed

Score = Literal["sum", "mean", "channel"]
"""Log likelihood of a label's tokens, its mean over them, or that of the text after the label."""

_TOKENS = 512
"""Tokens of a call: more would mostly not see one another."""


def rows(inputs: Inputs) -> list[Tensor]:
    """The ids (l,) of each text, without padding."""
    ids, mask = trimmed(inputs)
    return [row[:n] for row, n in zip(ids, mask.sum(1).tolist(), strict=True)]


def prefix(lm: CausalLM, texts: Sequence[Tensor], labels: Sequence[Tensor], score: Score) -> Tensor:
    """(P,) tokens of the header and of the demonstrations, texts (l,) with their labels' words (m,)."""
    before, between, after = lm.piece("before"), lm.piece("between"), lm.piece("after")
    tokens = [lm.get_buffer("begins"), lm.piece("header")]
    for text, label in zip(texts, labels, strict=True):
        if score == "channel":
            tokens += [between, label, after, before, text]
        else:
            tokens += [before, text, between, label, after]
    return torch.cat(tokens)


def label_scores(
    lm: CausalLM, past: Past, texts: Sequence[Tensor], labels: Sequence[Tensor], score: Score
) -> Tensor:
    """(n, C) how well each of C labels fits each of n texts, after the past; with gradients.

    Args:
        texts, labels: tokens (l,) of each; labels have one at least.
    """
    before, between, after = lm.piece("before"), lm.piece("between"), lm.piece("after")
    if score == "channel":
        roots = [torch.cat([between, label, after, before]) for label in labels]
        parts = (list(part) for part in _parts(texts, len(labels), 0))
        return torch.cat([lm.log_likelihoods(token_tree(roots, part), past).T for part in parts])
    beginnings = [torch.cat([before, text, between]) for text in texts]
    of_labels = sum(map(len, labels))
    found = [lm.log_likelihoods(token_tree(part, labels), past) for part in _parts(beginnings, 1, of_labels)]
    sums = torch.cat(found)
    return sums / sums.new_tensor([len(label) for label in labels]) if score == "mean" else sums


def longest_query(lm: CausalLM, texts: Sequence[Tensor], labels: Sequence[Tensor]) -> int:
    """Most tokens that follow the past: the longest text and label with what stands around them."""
    pieces = sum(len(lm.piece(name)) for name in ("before", "between", "after"))
    return pieces + max(map(len, texts), default=0) + max(map(len, labels))


def check_labels(names: Inputs | None) -> list[Tensor]:
    """The tokens (l,) of the labels' words.

    Raises:
        RequestError: where there are none, or a label has no tokens.
    """
    if names is None:
        raise RequestError(
            "dataset: its classes have no names, and a language model answers in words; choose a data set of "
            "labelled texts, or strategy=logistic model=hf_text_frozen"
        )
    labels = rows(names)
    empty = sum(not len(label) for label in labels)
    if empty:
        raise RequestError(f"dataset: the names of {empty} classes have no token; rename them")
    return labels


def _parts(pieces: Sequence[Tensor], times: int, more: int) -> Iterator[Sequence[Tensor]]:
    """The pieces in parts of some `_TOKENS` tokens, each piece counted `times` and with `more` beside it."""
    part, n_tokens = list[Tensor](), 0
    for piece in pieces:
        n = times * len(piece) + more
        if part and n_tokens + n > _TOKENS:
            yield part
            part, n_tokens = [], 0
        part.append(piece)
        n_tokens += n
    if part:
        yield part
