"""The language model of the laws: the same at every writing, and not one that finds all words alike."""

from __future__ import annotations

from pathlib import Path

import torch

from coldstart_cli.models.pretrained.hf import content_digest, imported, tokenizer_of
from coldstart_cli.testing.tiny_language_model import tiny_language_model


def test_tiny_language_model_is_the_same_at_every_writing(tiny_lm: Path, tmp_path: Path) -> None:
    again = tiny_language_model(tmp_path)
    assert content_digest(again, ("*",)) == content_digest(tiny_lm, ("*",))


def test_tiny_language_model_prefers_some_words(tiny_lm: Path) -> None:
    tokenizer = tokenizer_of(tiny_lm)
    ids = torch.tensor([tokenizer("Text : w1 w2 Label : w3")["input_ids"]])
    with torch.no_grad():
        network = imported().AutoModelForCausalLM.from_pretrained(tiny_lm)
        assert network(ids).logits[0, -1].std() > 0.3
