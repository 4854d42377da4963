"""Texts that are longer than a model reads are counted by any tokenizer."""

from __future__ import annotations

from coldstart_cli.models.pretrained.cutting import cut_of


def test_long_texts_are_counted_and_short_ones_never_read() -> None:
    read: list[str] = []

    def lengths(texts: list[str]) -> list[int]:
        read.extend(texts)
        return [len(text.split()) for text in texts]

    texts = ["a b", "a " * 9, "aaaaaaaaaa", "b " * 20]
    assert cut_of(texts, lengths, 8, lambda: 100) == (2, 32)
    assert read == texts[1:]
    assert cut_of(texts, lengths, 8, lambda: 16) == (2, 16)
    assert cut_of(texts[:1], lengths, 8, lambda: 16) == (0, 0)
