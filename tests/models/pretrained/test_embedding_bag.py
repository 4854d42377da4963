"""The student of text against a sum written out."""

from __future__ import annotations

from pathlib import Path

import torch

from coldstart_cli.models.pretrained.embedding_bag import EmbeddingBag
from coldstart_cli.models.pretrained.text import Tokens
from tests.kit.text_encoders import SHAPE


def test_features_are_a_layer_over_the_mean_of_the_tokens_that_are_there(tiny_bert: Path) -> None:
    tokens = Tokens(path=str(tiny_bert), max_length=16, in_prompt=False)
    encoder = EmbeddingBag(SHAPE, path=str(tiny_bert), preprocess=tokens, embedding_dim=4, hidden=5)
    inputs = tokens.texts(["a cat", "a dog sat on a mat"])
    assert isinstance(inputs, dict)
    found = encoder(inputs)
    for row, ids, mask in zip(found, inputs["input_ids"], inputs["attention_mask"], strict=True):
        there = [
            encoder.tokens.weight[i] for i, shown in zip(ids.tolist(), mask.tolist(), strict=True) if shown
        ]
        mean = torch.stack(there).sum(0) / len(there)
        expected = (encoder.layer.weight @ mean + encoder.layer.bias).clamp(min=0)
        torch.testing.assert_close(row, expected)
