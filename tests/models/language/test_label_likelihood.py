"""Labels by likelihood: every score against transformers' plain forward over the whole prompt."""

from __future__ import annotations

import functools
from pathlib import Path
from typing import Any

import pytest
import torch

from coldstart_cli.errors import RequestError
from coldstart_cli.models.language import label_likelihood
from coldstart_cli.models.language.causal_lm import CausalLM
from coldstart_cli.models.language.label_likelihood import (
    Score,
    check_labels,
    label_scores,
    longest_query,
    prefix,
    rows,
)
from coldstart_cli.models.pretrained.text import Tokens
from tests.models.language.test_causal_lm import by_hand, lm_at, of_transformers

TEXTS = ["w1 w2 w3", "w7", "", "w4 w5 w6 w8"]
LABELS = ["w20 w21", "w22", "w23 w24 w25"]


@functools.lru_cache(1)
def models_at(path: str, folder: Path) -> tuple[CausalLM, Any]:
    """A model and transformers' own; the tests of one path stand together."""
    return lm_at(path, frozen=True), of_transformers(folder)


def check(path: str, texts: list[str], labels: list[str], score: Score, folder: Path) -> None:
    """Scores after two demonstrations, and after none, are those of prompts in one piece."""
    tokens = Tokens(path=path, max_length=32, in_prompt=True)
    lm, theirs = models_at(path, folder)
    read, words = rows(tokens.texts(texts)), rows(tokens.texts(labels))
    pieces = (("Text:", " a"), ("\nLabel:", " a"), ("\n\n", "Text:"))
    before, between, after = (torch.tensor(tokens.part(*p), dtype=torch.int64) for p in pieces)
    pairs = [(read[1], words[2]), (read[0], words[1])]
    with torch.no_grad():
        for shown in (pairs, []):
            demonstrations = prefix(lm, [t for t, _ in shown], [w for _, w in shown], score)
            found = label_scores(lm, lm.keys_and_values(lm.embedded(demonstrations)), read, words, score)
            for i, text in enumerate(read):
                for j, label in enumerate(words):
                    if score == "channel":
                        whole = [p for t, w in shown for p in (between, w, after, before, t)]
                        whole += [between, label, after, before]
                        expected = by_hand(theirs, torch.cat(whole), text)
                    else:
                        whole = [p for t, w in shown for p in (before, t, between, w, after)]
                        expected = by_hand(theirs, torch.cat([*whole, before, text, between]), label)
                    expected /= len(label) if score == "mean" else 1
                    assert float(found[i, j]) == pytest.approx(expected, abs=2e-4)


@pytest.mark.parametrize("score", ["sum", "mean", "channel"])
@pytest.mark.parametrize("at_once", [1, 40, 512])
def test_scores_are_those_of_whole_prompts(
    tiny_lm: Path, monkeypatch: pytest.MonkeyPatch, score: Score, at_once: int
) -> None:
    monkeypatch.setattr(label_likelihood, "_TOKENS", at_once)
    check(str(tiny_lm), TEXTS, LABELS, score, tiny_lm)


@pytest.mark.parametrize("score", ["sum", "channel"])
def test_scores_of_a_real_model_are_those_of_whole_prompts(smollm2: str, score: Score) -> None:
    texts = ["I lost my card", "What's the exchange rate?"]
    labels = ["lost or stolen card", "exchange rate", "topping up by cash or cheque"]
    check(smollm2, texts, labels, score, Tokens(path=smollm2, max_length=32, in_prompt=True).folder)


def test_parts_of_a_prompt_are_the_tokens_of_the_whole(smollm2: str) -> None:
    """Cut at the spaces, a prompt has the tokens that its text would have."""
    tokens = Tokens(path=smollm2, max_length=32, in_prompt=True)
    lm, _ = models_at(smollm2, tokens.folder)
    models_at.cache_clear()  # a gigabyte
    texts, labels = (
        rows(tokens.texts(words)) for words in (["I lost my card", "How?"], ["lost card", "how"])
    )
    whole = "Text: I lost my card\nLabel: lost card\n\nText: How?\nLabel: how\n\nText:"
    found = [*prefix(lm, texts, labels, "sum").tolist(), *lm.piece("before").tolist()]
    assert found == list(tokens.part(whole))


def test_longest_query_counts_all_that_follows_the_past(tiny_lm: Path) -> None:
    lm = lm_at(tiny_lm)
    texts, labels = [torch.arange(3), torch.arange(5)], [torch.arange(2)]
    assert longest_query(lm, texts, labels) == 2 + 5 + 2 + 0 + 2  # "Text:", text, "Label:", nothing, label


def test_classes_without_words_are_refused() -> None:
    with pytest.raises(RequestError, match=r"^dataset: its classes have no names, and .*; choose a data set"):
        check_labels(None)
    names = {
        "input_ids": torch.tensor([[3, 4], [5, 0]]),
        "attention_mask": torch.tensor([[True, True], [False, False]]),
    }
    with pytest.raises(RequestError, match=r"^dataset: the names of 1 classes have no token; rename them$"):
        check_labels(names)
