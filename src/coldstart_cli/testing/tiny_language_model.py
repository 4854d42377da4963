"""A random causal language model of two layers with a tokenizer of words, for laws and tests."""

from __future__ import annotations

import random
from pathlib import Path

from coldstart_cli.models.pretrained.hf import imported

N_WORDS = 60
"""It knows the words w0 to w59; after them its prompt's words."""


def tiny_language_model(folder: Path) -> Path:
    """Writes a Llama of width 16 into a folder that is there, with a tokenizer of whole words.

    Raises:
        RequestError: where transformers is not installed.
    """
    transformers = imported()
    import torch
    from tokenizers import Tokenizer, models, pre_tokenizers

    special = ["<unk>", "<end>"]
    own = ["Text", "Label", ":", "N", "A", "/", *(f"w{i}" for i in range(N_WORDS))]
    words = {word: i for i, word in enumerate([*special, *own])}
    tokenizer = Tokenizer(models.WordLevel(words, "<unk>"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    # Without a padding token, as most causal language models are.
    names = {"unk_token": "<unk>", "eos_token": "<end>"}
    transformers.PreTrainedTokenizerFast(tokenizer_object=tokenizer, **names).save_pretrained(folder)
    config = transformers.LlamaConfig(
        vocab_size=len(words),
        hidden_size=16,
        num_hidden_layers=2,
        num_attention_heads=2,
        num_key_value_heads=1,
        intermediate_size=32,
        max_position_embeddings=512,
        initializer_range=0.3,  # random features of .02 are too alike to tell classes apart
        tie_word_embeddings=True,
        bos_token_id=None,
        eos_token_id=1,
    )
    with torch.random.fork_rng():
        torch.manual_seed(0)
        transformers.LlamaForCausalLM(config).save_pretrained(folder)
    return folder


def tiny_texts(file: Path) -> Path:
    """Writes a CSV of 15 labels, themselves words, with 12 texts each, two words of which tell the label."""
    chance = random.Random(0)
    lines = ["text,label"]
    for label in range(15):
        for _ in range(12):
            own = chance.sample(range(3 * label, 3 * label + 3), 2)
            more = chance.choices(range(45, N_WORDS), k=chance.randint(1, 4))
            lines.append(" ".join(f"w{i}" for i in (*own, *more)) + f",w{3 * label} w{3 * label + 1}")
    file.write_text("\n".join(lines) + "\n")
    return file
