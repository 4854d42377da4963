"""Encoders of text over a folder of weights, with the values that most tests give them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from coldstart_cli.models.pretrained.text import FrozenText, HFText, Tokens

SHAPE = {"input_ids": (6,), "attention_mask": (6,)}
TEXTS = ["w1 w2 w3", "w7", "w4 w5 w6 w8 w9 w10 w11"]


def encoder_at(path: Path | str, **changed: Any) -> HFText:
    settings: dict[str, Any] = {
        "pooling": "mean",
        "layer": None,
        "dtype": "fp32",
        "normalise": True,
        "frozen": False,
        "adapter": None,
        **changed,
    }
    return HFText(
        SHAPE, path=str(path), preprocess=Tokens(path=str(path), max_length=16, in_prompt=False), **settings
    )


def frozen_at(path: Path | str, cached: Any) -> FrozenText:
    return FrozenText(
        cached,
        path=str(path),
        adapter=None,
        max_length=16,
        pooling="mean",
        layer=None,
        dtype="fp32",
        batch_size=2,
    )
