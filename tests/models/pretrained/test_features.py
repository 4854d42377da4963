"""Frozen encoders: constants that no state holds, and features that are computed once."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from coldstart_cli.core.tasks import Inputs, map_inputs, n_examples
from coldstart_cli.errors import RequestError
from coldstart_cli.evaluation.costs import parameter_count
from coldstart_cli.models.pretrained.features import AT_ONCE, WORTH_KEEPING, Features
from coldstart_cli.models.pretrained.text import Tokens
from tests.kit.text_encoders import TEXTS, encoder_at, frozen_at


def test_frozen_encoder_keeps_its_features_and_leaves_the_state(tiny_bert: Path, tmp_path: Path) -> None:
    transformers = pytest.importorskip("transformers")
    encoder, frozen = encoder_at(tiny_bert), encoder_at(tiny_bert, frozen=True)
    inputs = Tokens(path=str(tiny_bert), max_length=16, in_prompt=False).texts(TEXTS)
    torch.testing.assert_close(encoder(inputs).detach(), frozen(inputs))
    assert not list(frozen.parameters())
    assert set(frozen.state_dict()) == {"digest"}
    other = transformers.AutoModel.from_pretrained(tiny_bert)
    other.embeddings.word_embeddings.weight.data.add_(1)
    other.save_pretrained(tmp_path)
    for file in tiny_bert.glob("tokenizer*"):
        (tmp_path / file.name).write_bytes(file.read_bytes())
    with pytest.raises(RequestError, match=r"^model\.path: .* not those that this run was trained on; give"):
        encoder_at(tmp_path, frozen=True).load_state_dict(frozen.state_dict())


def test_features_are_computed_once_for_each_content(tiny_bert: Path) -> None:
    kept: dict[str, Any] = {}
    made = []

    def cached(name: str, make: Callable[[], dict[str, Any]]) -> dict[str, Any]:
        if name not in kept:
            made.append(name)
            kept[name] = make()
        return kept[name]  # type: ignore[no-any-return]

    texts = [f"w{i % 50} w{i % 7} w{i % 11}" for i in range(WORTH_KEEPING)]
    first = frozen_at(tiny_bert, cached).texts(texts)
    second = frozen_at(tiny_bert, cached)
    assert torch.equal(first, second.texts(texts))  # type: ignore[arg-type]
    assert "encoder" not in vars(second)  # it was not even loaded
    second.texts([*texts[1:], "w3"])
    second.texts(texts[:5])  # too few to keep
    assert len(made) == 2
    whole = encoder_at(tiny_bert)
    expected = whole(Tokens(path=str(tiny_bert), max_length=16, in_prompt=False).texts(texts)).detach()
    features = Features((16,), path=str(tiny_bert), preprocess=second, normalise=True)
    torch.testing.assert_close(features(first), expected, rtol=1e-4, atol=1e-5)


def test_frozen_encoder_counts_as_many_parameters(tiny_bert: Path) -> None:
    encoder = encoder_at(tiny_bert)
    assert parameter_count(encoder) == parameter_count(encoder_at(tiny_bert, frozen=True))
    assert parameter_count(encoder) == sum(p.numel() for p in encoder.parameters())


def test_state_of_a_trainable_encoder_loads_into_another(tiny_bert: Path) -> None:
    first, second = encoder_at(tiny_bert), encoder_at(tiny_bert)
    with torch.no_grad():
        for parameter in first.parameters():
            parameter.add_(0.1)
    second.load_state_dict(first.state_dict())
    inputs = Tokens(path=str(tiny_bert), max_length=16, in_prompt=False).texts(TEXTS)
    assert torch.equal(first(inputs), second(inputs))


def test_many_examples_are_encoded_a_few_at_a_time_where_no_gradient_is_asked_for(
    tiny_bert: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    encoder = encoder_at(tiny_bert)
    inputs = Tokens(path=str(tiny_bert), max_length=16, in_prompt=False).texts(
        (TEXTS * AT_ONCE)[: 2 * AT_ONCE + 5]
    )
    whole, sizes, encoded = encoder(inputs), [], encoder.encoded

    def counted(part: Inputs) -> torch.Tensor:
        sizes.append(n_examples(part))
        return encoded(part)

    monkeypatch.setattr(encoder, "encoded", counted)
    with torch.no_grad():
        torch.testing.assert_close(encoder(inputs), whole.detach())
    assert sizes == [AT_ONCE, AT_ONCE, 5]


def test_no_example_has_no_features(tiny_bert: Path) -> None:
    tokens = Tokens(path=str(tiny_bert), max_length=16, in_prompt=False).texts(TEXTS)
    none = encoder_at(tiny_bert)(map_inputs(lambda tensor: tensor[:0], tokens))
    assert none.shape == (0, 16)
