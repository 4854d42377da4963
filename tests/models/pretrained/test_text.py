"""Text: tokens, pooling, independence from padding, features that are kept, and refusals in one line."""

from __future__ import annotations

import csv
from collections.abc import Callable
from itertools import islice
from pathlib import Path
from typing import Any

import pytest
import torch
from torch.nn import functional as F

from coldstart_cli.models.network import Encoder
from coldstart_cli.models.preprocess import Preprocess
from coldstart_cli.models.pretrained.embedding_bag import EmbeddingBag
from coldstart_cli.models.pretrained.features import Features
from coldstart_cli.models.pretrained.text import HFText, Tokens, masked_mean
from tests.kit.text_encoders import SHAPE, TEXTS, encoder_at, frozen_at

Make = Callable[..., Any]


def test_tokens_fill_up_on_the_right_and_cut_off(tiny_bert: Path) -> None:
    read = Tokens(path=str(tiny_bert), max_length=6, in_prompt=False).texts(TEXTS)
    assert read["input_ids"].tolist() == [  # type: ignore[index]
        [2, 5, 6, 7, 3, 0],
        [2, 11, 3, 0, 0, 0],
        [2, 8, 9, 10, 12, 3],
    ]
    assert read["attention_mask"].sum(1).tolist() == [5, 3, 6]  # type: ignore[index]


def test_texts_that_are_cut_are_counted_with_a_length_that_is_enough(tiny_bert: Path) -> None:
    tokens = Tokens(path=str(tiny_bert), max_length=6, in_prompt=False)
    assert tokens.cut(["w1 w2", "w1 w2 w3 w4"]) == (0, 0)
    assert tokens.cut(["w1 w2 w3 w4 w5", " ".join(["w1"] * 13), "w1"]) == (2, 16)  # 7 and 15 tokens
    tokens.tokenizer.model_max_length = 10
    assert tokens.cut([" ".join(["w1"] * 13)]) == (1, 10)


def test_texts_of_a_prompt_have_no_tokens_of_their_own_and_a_space_before_them(tiny_bert: Path) -> None:
    tokens = Tokens(path=str(tiny_bert), max_length=4, in_prompt=True)
    assert tokens.texts(["w1 w2", "w3"])["input_ids"].tolist() == [[5, 6], [7, 0]]  # type: ignore[index]
    assert tokens.begins == (2,)
    assert tokens.part("w1", " w2") == (5,)
    assert tokens.cut(["w1 w2 w3 w4 w5"]) == (1, 8)
    assert tokens.as_json() is None
    plain = Tokens(path=str(tiny_bert), max_length=4, in_prompt=False)
    assert plain.fingerprint != tokens.fingerprint


def test_labels_that_others_begin_with_are_warned_of(
    tiny_bert: Path, caplog: pytest.LogCaptureFixture
) -> None:
    tokens = Tokens(path=str(tiny_bert), max_length=8, in_prompt=True)
    tokens.names(["w1 w2", "w1 w3", "w2"])
    assert caplog.messages == []
    tokens.names(["w1 w2", "w1", "w1 w2 w3"])
    (message,) = caplog.messages
    assert message.startswith("dataset: 3 pairs of labels begin with the same words ('w1' and 'w1 w2'), and")


@pytest.mark.parametrize("pooling", ["mean", "cls", "last"])
@pytest.mark.parametrize("normalise", [True, False])
def test_encoder_pools_what_transformers_computes(tiny_bert: Path, pooling: str, normalise: bool) -> None:
    transformers = pytest.importorskip("transformers")
    encoder = encoder_at(tiny_bert, pooling=pooling, normalise=normalise)
    tokens = Tokens(path=str(tiny_bert), max_length=16, in_prompt=False)
    theirs = transformers.AutoModel.from_pretrained(tiny_bert).eval()
    with torch.no_grad():
        found = encoder(tokens.texts(TEXTS))
        for text, features in zip(TEXTS, found, strict=True):
            ids = tokens.texts([text])["input_ids"]  # type: ignore[index]
            hidden = theirs(input_ids=ids.long()).last_hidden_state[0]
            expected = {"cls": hidden[0], "last": hidden[-1], "mean": hidden.mean(0)}[pooling]
            expected = expected / expected.norm() if normalise else expected
            torch.testing.assert_close(features, expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("make", ["hf_text", "embedding_bag"])
def test_features_depend_on_neither_padding_nor_batch(tiny_bert: Path, make: str) -> None:
    tokens = Tokens(path=str(tiny_bert), max_length=16, in_prompt=False)
    encoder: Encoder = encoder_at(tiny_bert)
    if make == "embedding_bag":
        encoder = EmbeddingBag(SHAPE, path=str(tiny_bert), preprocess=tokens, embedding_dim=4, hidden=5)
    with torch.no_grad():
        together, alone = encoder(tokens.texts(TEXTS)), encoder(tokens.texts(TEXTS[1:2]))
    torch.testing.assert_close(together[1:2], alone, rtol=1e-5, atol=1e-6)
    assert together.shape == (3, encoder.feature_dim)


def test_masked_mean_is_the_mean_of_what_the_mask_shows() -> None:
    values = torch.arange(12.0).view(1, 4, 3)
    mask = torch.tensor([[True, False, True, False]])
    assert masked_mean(values, mask).tolist() == [[3.0, 4.0, 5.0]]
    assert masked_mean(values, torch.zeros(1, 4, dtype=torch.bool)).tolist() == [[0.0, 0.0, 0.0]]


def test_every_parameter_has_a_gradient_and_dropout_is_off(tiny_bert: Path) -> None:
    encoder = encoder_at(tiny_bert).train()
    inputs = Tokens(path=str(tiny_bert), max_length=16, in_prompt=False).texts(TEXTS)
    assert torch.equal(encoder(inputs), encoder(inputs))
    gradients = torch.autograd.grad(encoder(inputs).sum(), list(encoder.parameters()))
    assert len(gradients) > 30
    assert not any("pooler" in name for name, _ in encoder.named_parameters())


def test_texts_of_a_call_are_of_similar_length_and_come_back_in_order(tiny_bert: Path) -> None:
    preprocess = frozen_at(tiny_bert, None)
    whole = preprocess.computed(TEXTS)
    single = torch.cat([preprocess.computed([text]) for text in TEXTS])
    torch.testing.assert_close(whole, single, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(
    "make", [lambda p: Tokens(path=p, max_length=16, in_prompt=False), lambda p: frozen_at(p, None)]
)
def test_preprocess_of_text_refuses_the_rest(tiny_bert: Path, make: Callable[[str], Preprocess]) -> None:
    preprocess = make(str(tiny_bert))
    with pytest.raises(ValueError, match=r"^model: it reads text, not images; choose"):
        preprocess.images(torch.zeros(1, 1, 2, 2))
    with pytest.raises(
        ValueError, match=r"^model: it (reads|does not read) .*; choose one that does \(model=mlp\)"
    ):
        preprocess.vectors(torch.zeros(1, 2))


def test_models_of_text_refuse_other_inputs(tiny_bert: Path) -> None:
    tokens = Tokens(path=str(tiny_bert), max_length=16, in_prompt=False)
    with pytest.raises(ValueError, match=r"^model: it reads text, which this data set does not give; choose"):
        EmbeddingBag((3,), path=str(tiny_bert), preprocess=tokens, embedding_dim=2, hidden=2)
    with pytest.raises(ValueError, match=r"^path: elsewhere is not where the tokenizer comes from"):
        EmbeddingBag(SHAPE, path="elsewhere", preprocess=tokens, embedding_dim=2, hidden=2)
    with pytest.raises(ValueError, match=r"^model: it reads features of a frozen encoder"):
        Features(SHAPE, path=str(tiny_bert), preprocess=frozen_at(tiny_bert, None), normalise=True)


def test_minilm_tells_meanings_apart(minilm: str) -> None:
    tokens = Tokens(path=minilm, max_length=32, in_prompt=False)
    settings: Any = {"pooling": "mean", "layer": None, "dtype": "fp32", "normalise": True, "frozen": True}
    encoder = HFText(SHAPE, path=minilm, adapter=None, preprocess=tokens, **settings)
    with torch.no_grad():
        f = encoder(tokens.texts(["I lost my card", "My card is gone", "What is the exchange rate?"]))
    assert encoder.feature_dim == 384
    torch.testing.assert_close(f.norm(dim=1), torch.ones(3))
    assert f[0] @ f[1] > 0.6 > 0.3 > f[0] @ f[2]


def test_minilm_features_serve_new_intents_from_few_labels(
    text_experiment: Make, minilm: str, data_root: Path
) -> None:
    path = data_root / "banking77" / "train.csv"
    if not path.is_file():
        pytest.skip("no banking77 among the real data")
    with path.open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    names = sorted({row["category"] for row in rows})[:12]
    texts = [[row["text"] for row in rows if row["category"] == name][:12] for name in names]
    made = text_experiment("strategy=protonet", "model=minilm_frozen", texts=texts)
    assert not made.strategy.learns_from_source
    right = []
    for task in made.source.tasks("new", range(10)):
        adapted = next(made.strategy.eval().adapt(task.support))
        with torch.no_grad():
            right.append((adapted.module(task.query.inputs).argmax(1) == task.query.targets).float().mean())
    assert torch.stack(right).mean() > 0.85


def test_minilm_adapts_by_low_rank_weights(text_experiment: Make, minilm: str) -> None:
    topics = ["card", "rain", "dog", "bread", "train", "song", "river", "chess", "tax", "cup", "ant", "goal"]
    texts = [[f"the {topic} and its number {i}" for i in range(12)] for topic in topics]
    made = text_experiment(
        "strategy=lora", "model=minilm", "strategy.source_training=false", "strategy.lr=0.1", texts=texts
    )
    task = made.source.tasks("new", [0])[0]
    losses = []
    for adapted in islice(made.strategy.eval().adapt(task.support), 3):
        with torch.no_grad():
            outputs = adapted.module(task.support.inputs)
        losses.append(float(F.cross_entropy(outputs, task.support.targets)))
    assert losses[-1] < losses[0]


def test_encoder_of_text_can_be_exported_for_any_number_and_length(tiny_bert: Path) -> None:
    tokens, encoder = (
        Tokens(path=str(tiny_bert), max_length=16, in_prompt=False),
        encoder_at(tiny_bert, frozen=True).eval(),
    )
    n, length = torch.export.Dim("n", max=64), torch.export.Dim("length", min=2, max=16)
    shapes = {"inputs": {name: {0: n, 1: length} for name in SHAPE}}
    exported = torch.export.export(encoder, (dict(tokens.texts(TEXTS[:2])),), dynamic_shapes=shapes)
    others = dict(tokens.texts(["w1 w2 w3 w4 w5 w6 w7 w8", "w1", "w9"]))
    torch.testing.assert_close(exported.module()(others), encoder(others), rtol=1e-5, atol=1e-6)
