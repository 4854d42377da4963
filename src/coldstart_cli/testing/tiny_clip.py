"""A random CLIP of two layers with a tokenizer of words, and pictures, for laws and tests."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np

from coldstart_cli.models.pretrained.hf import imported

N_WORDS = 60
"""It knows the words w0 to w59."""
SIDE = 16
"""Pixels."""


def tiny_tokenizer(folder: Path) -> int:
    """Writes a tokenizer of whole words between [CLS] and [SEP]; how many tokens it knows.

    Raises:
        RequestError: where transformers is not installed.
    """
    transformers = imported()
    from tokenizers import Tokenizer, models, pre_tokenizers, processors

    special = ["[PAD]", "[UNK]", "[CLS]", "[SEP]"]
    words = {word: i for i, word in enumerate([*special, *(f"w{i}" for i in range(N_WORDS))])}
    tokenizer = Tokenizer(models.WordLevel(words, "[UNK]"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    tokenizer.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]", special_tokens=[("[CLS]", 2), ("[SEP]", 3)]
    )
    names = {"pad_token": "[PAD]", "unk_token": "[UNK]", "cls_token": "[CLS]", "sep_token": "[SEP]"}
    transformers.PreTrainedTokenizerFast(tokenizer_object=tokenizer, **names).save_pretrained(folder)
    return len(words)


def tiny_clip(folder: Path) -> Path:
    """Writes a CLIP of width 16 for images of 16x16 pixels into a folder that is there.

    Raises:
        RequestError: where transformers is not installed.
    """
    transformers = imported()
    import torch

    layers = {"hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 32}
    # 2 marks a text's end in old configurations: the largest number of all tokens is pooled
    text = {**layers, "vocab_size": tiny_tokenizer(folder), "max_position_embeddings": 24, "eos_token_id": 2}
    config = transformers.CLIPConfig(
        text_config=text,
        vision_config={**layers, "image_size": SIDE, "patch_size": 8},
        projection_dim=12,
        initializer_factor=20.0,
    )
    with torch.random.fork_rng():
        torch.manual_seed(0)
        transformers.CLIPModel(config).save_pretrained(folder)
    sizes = {"height": SIDE, "width": SIDE}
    processor = {"crop_size": sizes, "image_mean": [0.5] * 3, "image_std": [0.25] * 3}
    (folder / "preprocessor_config.json").write_text(json.dumps(processor))
    return folder


def tiny_pictures(folder: Path) -> Path:
    """Writes 15 classes of 12 noisy squares of a colour each, in folders that are called by its words."""
    from PIL import Image

    chance = np.random.default_rng(0)
    for label in range(15):
        place = folder / f"w{3 * label} w{3 * label + 1}"
        place.mkdir(parents=True)
        colour = chance.integers(0, 200, 3)
        for i in range(12):
            pixels = (colour + chance.integers(0, 56, (SIDE, SIDE, 3))).astype(np.uint8)
            Image.fromarray(pixels).save(place / f"{i}.png")
    return folder
