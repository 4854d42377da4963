"""A causal language model: features and likelihoods as transformers computes them, refusals in one line."""

from __future__ import annotations

import json
import math
import shutil
from collections.abc import Callable
from itertools import islice
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from coldstart_cli.models.language.causal_lm import (
    CausalLM,
    cache_bytes,
    context_of,
    past_length,
    watching_keys_and_values,
)
from coldstart_cli.models.language.prompt import Prompt
from coldstart_cli.models.language.token_tree import token_tree
from coldstart_cli.models.pretrained.hf import imported
from coldstart_cli.models.pretrained.text import HFText, Tokens

SHAPE = {"input_ids": (6,), "attention_mask": (6,)}
TEXTS = ["w1 w2 w3", "w7", "w4 w5 w6 w8 w9 w10 w11"]
PROMPT = Prompt(header="", before="Text:", between="\nLabel:", after="\n\n")


def lm_at(path: Path | str, **changed: Any) -> CausalLM:
    settings: dict[str, Any] = {"prompt": PROMPT, "pooling": "last", "layer": None, "dtype": "fp32"}
    settings |= {"normalise": False, "frozen": False, "checkpointing": False, "adapter": None}
    tokens = Tokens(path=str(path), max_length=16, in_prompt=True)
    return CausalLM(SHAPE, path=str(path), preprocess=tokens, **{**settings, **changed}).eval()


def of_transformers(path: Path | str) -> Any:
    return imported().AutoModelForCausalLM.from_pretrained(path).eval()


def ids(*tokens: int) -> Tensor:
    return torch.tensor(tokens)


def by_hand(theirs: Any, before: Tensor, continuation: Tensor) -> float:
    """log p(continuation | before), token by token from one plain call."""
    with torch.no_grad():
        said = theirs(torch.cat([before, continuation])[None]).logits[0].log_softmax(-1)
    return sum(float(said[len(before) - 1 + i, token]) for i, token in enumerate(continuation))


@pytest.mark.parametrize("pooling", ["last", "mean"])
@pytest.mark.parametrize("layer", [None, 0, 1])
def test_features_are_what_transformers_computes(tiny_lm: Path, pooling: str, layer: int | None) -> None:
    lm, theirs = lm_at(tiny_lm, pooling=pooling, layer=layer), of_transformers(tiny_lm)
    tokens = Tokens(path=str(tiny_lm), max_length=16, in_prompt=True)
    with torch.no_grad():
        found = lm(tokens.texts(TEXTS))
        for text, features in zip(TEXTS, found, strict=True):
            output = theirs.model(torch.tensor([tokens.part(text)]), output_hidden_states=True)
            hidden = (output.last_hidden_state if layer is None else output.hidden_states[layer])[0]
            expected = hidden[-1] if pooling == "last" else hidden.mean(0)
            torch.testing.assert_close(features, expected, rtol=1e-4, atol=1e-5)
    encoder = HFText(
        SHAPE,
        path=str(tiny_lm),
        preprocess=Tokens(path=str(tiny_lm), max_length=16, in_prompt=False),
        pooling=pooling,  # type: ignore[arg-type]
        layer=layer,
        dtype="fp32",
        normalise=False,
        adapter=None,
        frozen=True,
    )
    torch.testing.assert_close(encoder(tokens.texts(TEXTS)), found, rtol=1e-4, atol=1e-5)


def networks(folder: Path) -> dict[str, Any]:
    """One of each kind: turned positions, learned ones, windows, normed keys, untied tables."""
    transformers = imported()
    size = {"vocab_size": 68, "hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2}
    more = {**size, "num_key_value_heads": 1, "intermediate_size": 32, "head_dim": 8, "pad_token_id": 0}
    gpt2 = {"n_embd": 16, "n_layer": 2, "n_head": 2, "n_positions": 64}
    return {
        "llama": transformers.LlamaForCausalLM(transformers.LlamaConfig(**more, tie_word_embeddings=False)),
        "gpt2": transformers.GPT2LMHeadModel(transformers.GPT2Config(vocab_size=68, **gpt2)),
        "gemma3": transformers.Gemma3ForCausalLM(transformers.Gemma3TextConfig(**more, sliding_window=40)),
        "qwen3": transformers.Qwen3ForCausalLM(transformers.Qwen3Config(**more)),
    }


@pytest.mark.parametrize("kind", ["llama", "gpt2", "gemma3", "qwen3"])
def test_all_continuations_in_one_call_are_scored_as_one_after_another(
    tiny_lm: Path, tmp_path: Path, kind: str
) -> None:
    torch.manual_seed(0)
    network = networks(tmp_path)[kind]
    for parameter in network.parameters():  # far from uniform, or every order of tokens would do
        torch.nn.init.normal_(parameter, std=0.3)
    network.save_pretrained(tmp_path)
    for file in tiny_lm.glob("token*"):
        shutil.copy(file, tmp_path)
    lm, theirs = lm_at(tmp_path), of_transformers(tmp_path)
    shared, beginnings = ids(5, 9, 12, 20), [ids(3, 4, 5), ids(8)]
    continuations = [ids(30), ids(31, 32), ids(33, 34, 35)]
    with torch.no_grad():
        past = lm.keys_and_values(lm.embedded(shared))
        found = lm.log_likelihoods(token_tree(beginnings, continuations), past)
        bare = lm.log_likelihoods(token_tree(beginnings, continuations), ())
        twice = lm.keys_and_values(lm.embedded(shared[2:]), lm.keys_and_values(lm.embedded(shared[:2])))
    assert past_length(past) == past_length(twice) == 4
    for r, beginning in enumerate(beginnings):
        for b, continuation in enumerate(continuations):
            expected = by_hand(theirs, torch.cat([shared, beginning]), continuation)
            assert found[r, b] == pytest.approx(expected, abs=1e-4)
            assert bare[r, b] == pytest.approx(by_hand(theirs, beginning, continuation), abs=1e-4)
    torch.testing.assert_close(past[1][0], twice[1][0], rtol=1e-4, atol=1e-5)
    assert lm.context == (
        40 if kind == "gemma3" else 64 if kind == "gpt2" else 2048 if kind == "llama" else 32768
    )


@pytest.mark.parametrize("kind", ["llama", "gpt2", "gemma3", "qwen3"])
def test_keys_and_values_are_forecast_to_the_byte(tiny_lm: Path, tmp_path: Path, kind: str) -> None:
    """Against the tensors that transformers caches in a plain call of two texts, and that ours does."""
    networks(tmp_path)[kind].save_pretrained(tmp_path)
    for file in tiny_lm.glob("token*"):
        shutil.copy(file, tmp_path)
    lm, theirs, seen = lm_at(tmp_path), of_transformers(tmp_path), list[tuple[int, int]]()
    with torch.no_grad():
        cache = theirs(torch.arange(14).view(2, 7), use_cache=True).past_key_values
        with watching_keys_and_values(lambda n_tokens, size: seen.append((n_tokens, size))):
            past = lm.keys_and_values(lm.embedded(ids(5, 9, 12, 20, 7)))
            longer = lm.keys_and_values(lm.embedded(ids(8, 3)), past)
    cached = sum(t.nbytes for layer in cache.layers for t in (layer.keys, layer.values))
    assert cache_bytes(lm.cache_width, 7, 2, torch.float32) == cached
    own = [sum(t.nbytes for pair in held for t in pair) for held in (past, longer)]
    assert seen == [(5, own[0]), (7, own[1])]
    # By hand: two layers, key heads of 8 numbers each, of which GPT-2 has two and the others share one.
    heads = 2 if kind == "gpt2" else 1
    assert own[1] == 2 * 2 * heads * 8 * 7 * 4


def test_gradients_reach_the_vectors_and_the_past(tiny_lm: Path) -> None:
    lm = lm_at(tiny_lm, frozen=True)
    vectors = lm.embedded(ids(5, 9)).clone().requires_grad_()
    tree = token_tree([ids(3, 4)], [ids(30), ids(31, 32)])
    found = lm.log_likelihoods(tree, lm.keys_and_values(vectors))
    (gradient,) = torch.autograd.grad(found[0, 1], vectors)
    step = torch.zeros_like(vectors)
    step[1, 2] = 1e-2
    with torch.no_grad():
        ends = [lm.log_likelihoods(tree, lm.keys_and_values(vectors + sign * step))[0, 1] for sign in (1, -1)]
    assert gradient[1, 2] == pytest.approx(float(ends[0] - ends[1]) / 2e-2, rel=2e-2)


def test_second_derivative_is_there_where_it_is_asked_for(tiny_lm: Path) -> None:
    lm = lm_at(tiny_lm, frozen=True)
    tree = token_tree([ids(3, 4)], [ids(31, 32)])
    before = lm.log_likelihoods(tree, ())
    lm.differentiable_twice()
    torch.testing.assert_close(lm.log_likelihoods(tree, ()), before, rtol=1e-5, atol=1e-5)
    vectors = lm.embedded(ids(5, 9)).clone().requires_grad_()
    value = lm.log_likelihoods(tree, lm.keys_and_values(vectors)).sum()
    (gradient,) = torch.autograd.grad(value, vectors, create_graph=True)
    (second,) = torch.autograd.grad(gradient.square().sum(), vectors)
    assert second.abs().sum() > 0


def test_bf16_answers_in_float32_and_near_the_truth(tiny_lm: Path) -> None:
    tree = token_tree([ids(3, 4)], [ids(30), ids(31, 32)])
    with torch.no_grad():
        exact = lm_at(tiny_lm).log_likelihoods(tree, ())
        coarse_lm = lm_at(tiny_lm, dtype="bf16", frozen=True)
        coarse = coarse_lm.log_likelihoods(tree, ())
    assert coarse.dtype == torch.float32
    assert coarse_lm.embedded(ids(3)).dtype == torch.bfloat16
    torch.testing.assert_close(coarse, exact, rtol=0.1, atol=0.1)
    assert (
        coarse_lm(Tokens(path=str(tiny_lm), max_length=16, in_prompt=True).texts(TEXTS)).dtype
        == torch.float32
    )


def test_frozen_model_has_a_digest_for_its_state_and_no_parameter(tiny_lm: Path) -> None:
    for dtype in ("fp32", "bf16"):  # numpy has no bf16
        lm = lm_at(tiny_lm, frozen=True, dtype=dtype)
        assert set(lm.state_dict()) == {"digest"}
        assert list(lm.parameters()) == []


def test_weights_that_are_used_twice_are_trained_once(tiny_lm: Path) -> None:
    lm = lm_at(tiny_lm)
    names = [name for name, _ in lm.named_parameters()]
    assert "body.model.embed_tokens.weight" in names
    assert not any("lm_head" in name for name in names)
    table = lm.body.get_input_embeddings().weight  # type: ignore[operator]
    assert lm.body.get_output_embeddings().weight is table  # type: ignore[operator]


def test_tokens_before_a_text_stand_before_prompts_and_features(tiny_lm: Path, tmp_path: Path) -> None:
    folder = shutil.copytree(tiny_lm, tmp_path / "begins")
    file = json.loads((folder / "tokenizer.json").read_text())
    begin = {"SpecialToken": {"id": "<end>", "type_id": 0}}
    file["post_processor"] = {
        "type": "TemplateProcessing",
        "single": [begin, {"Sequence": {"id": "A", "type_id": 0}}],
        "pair": [begin, {"Sequence": {"id": "A", "type_id": 0}}, {"Sequence": {"id": "B", "type_id": 1}}],
        "special_tokens": {"<end>": {"id": "<end>", "ids": [1], "tokens": ["<end>"]}},
    }
    (folder / "tokenizer.json").write_text(json.dumps(file))
    tokens = Tokens(path=str(folder), max_length=16, in_prompt=True)
    assert tokens.begins == (1,)
    assert tokens.texts(["w1"])["input_ids"].tolist() == [[9]]  # type: ignore[index]
    lm, theirs = lm_at(folder), of_transformers(folder)
    with torch.no_grad():
        expected = theirs.model(torch.tensor([[1, 9]])).last_hidden_state[0, -1]
        torch.testing.assert_close(lm(tokens.texts(["w1", "w2 w3"]))[0], expected, rtol=1e-4, atol=1e-5)


def test_models_that_do_not_serve_are_refused_in_one_line(
    tiny_lm: Path, tiny_bert: Path, tmp_path: Path
) -> None:
    with pytest.raises(
        ValueError, match=r"^path: .* has no language head \(its network is BertModel\); give"
    ):
        lm_at(tiny_bert)
    with pytest.raises(ValueError, match=r"^layer: 3 is above the network's 2; choose one from 0 to 2$"):
        lm_at(tiny_lm, layer=3)
    folder = shutil.copytree(tiny_lm, tmp_path / "other")
    file = json.loads((folder / "tokenizer.json").read_text())
    file["model"]["vocab"]["one_more"] = 68
    (folder / "tokenizer.json").write_text(json.dumps(file))
    with pytest.raises(
        ValueError, match=r"^path: its tokenizer has 69 tokens and its network knows 68; give"
    ):
        lm_at(folder)
    plain = Tokens(path=str(tiny_lm), max_length=16, in_prompt=False)
    settings: Any = {"prompt": PROMPT, "pooling": "last", "layer": None, "dtype": "fp32", "normalise": True}
    settings |= {"adapter": None}
    with pytest.raises(ValueError, match=r"^preprocess.in_prompt: false, and .*; write true$"):
        CausalLM(SHAPE, path=str(tiny_lm), preprocess=plain, frozen=True, checkpointing=False, **settings)


def test_context_is_a_window_where_layers_see_no_more() -> None:
    transformers = imported()
    wide = transformers.MistralConfig(sliding_window=None, max_position_embeddings=99)
    assert context_of(wide) == 99
    assert context_of(transformers.MistralConfig(sliding_window=33, max_position_embeddings=99)) == 33


@pytest.mark.parametrize("name", ["maml_lora", "linear_probe", "lora"])
def test_features_of_a_language_model_serve_what_serves_any_encoder(
    text_experiment: Callable[..., Any], tiny_lm: Path, tmp_path: Path, name: str
) -> None:
    """Also where tables are two, and gradients of gradients are taken."""
    torch.manual_seed(0)
    networks(tmp_path)["llama"].save_pretrained(tmp_path)
    for file in tiny_lm.glob("token*"):
        shutil.copy(file, tmp_path)
    made = text_experiment(f"strategy={name}", "model=causal_lm", f"model.path={tmp_path}")
    assert made.strategy.differentiates_twice == (name == "maml_lora")
    assert all(map(math.isfinite, next(iter(made.strategy.train().fit(made.source))).values()))
    task = made.source.tasks("new", [0])[0]
    *_, last = islice(made.strategy.eval().adapt(task.support), 2)
    with torch.no_grad():
        assert torch.isfinite(last.module(task.query.inputs)).all()
