"""Adapters of peft in our networks: what peft's own model computes, and every refusal one line."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

pytest.importorskip("transformers", reason="needs the extra hf")
from safetensors.torch import load_file, save_file

from coldstart_cli.models.pretrained.adapters import merge_adapter, weights_digest
from coldstart_cli.models.pretrained.hf import imported, network_of, tokenizer_of
from tests.models.language.test_causal_lm import lm_at, networks
from tests.models.pretrained.test_text import encoder_at

pytestmark = pytest.mark.filterwarnings("ignore:`is_gradient_checkpointing` is deprecated")  # peft 0.21's
LORA = {"r": 2, "lora_alpha": 6.0, "target_modules": ["q_proj", "down_proj"], "lora_dropout": 0.3}
KINDS: dict[str, dict[str, Any]] = {
    "lora": LORA,
    "rslora": {**LORA, "use_rslora": True},
    "ia3": {"target_modules": ["k_proj", "down_proj"], "feedforward_modules": ["down_proj"]},
}


def adapted(base: Any, kind: str, folder: Path, **more: Any) -> Any:
    """A model of peft with random tensors, which it also wrote into a folder."""
    peft = pytest.importorskip("peft", reason="needs the extra hf")
    config = (peft.IA3Config if kind == "ia3" else peft.LoraConfig)(**{**KINDS[kind], **more})
    model = peft.get_peft_model(base, config).eval()
    torch.manual_seed(1)
    for name, parameter in model.named_parameters():
        if "lora_" in name or "ia3_l" in name:
            torch.nn.init.normal_(parameter, mean=1.0 if kind == "ia3" else 0.0, std=0.5)
    model.save_pretrained(folder, save_embedding_layers=False)
    return model


@pytest.fixture
def adapter(tiny_lm: Path, tmp_path: Path) -> Path:
    """A folder with LoRA of the tiny language model."""
    adapted(imported().AutoModelForCausalLM.from_pretrained(tiny_lm), "lora", tmp_path / "adapter")
    return tmp_path / "adapter"


@pytest.mark.parametrize("kind", KINDS)
def test_a_language_model_computes_what_peft_does(tiny_lm: Path, tmp_path: Path, kind: str) -> None:
    plain = imported().AutoModelForCausalLM.from_pretrained(tiny_lm).eval()
    ids = torch.tensor([[3, 9, 12, 40]])
    with torch.no_grad():
        before = plain(input_ids=ids).logits
        theirs = adapted(plain, kind, tmp_path / "a")(input_ids=ids).logits
        lm = lm_at(tiny_lm, adapter=str(tmp_path / "a"))
        ours = lm.body(input_ids=ids).logits
    torch.testing.assert_close(ours, theirs, rtol=1e-5, atol=1e-5)
    assert (ours - before).abs().max() > 1e-2
    assert lm.content != lm_at(tiny_lm).content


@pytest.mark.parametrize("kind", ["lora", "ia3"])
def test_layers_that_are_turned_and_have_a_bias_are_merged_too(tmp_path: Path, kind: str) -> None:
    """GPT-2 keeps weights (in, out)."""
    torch.manual_seed(0)
    base = networks(tmp_path)["gpt2"].eval()
    for parameter in base.parameters():
        torch.nn.init.normal_(parameter, std=0.3)
    base.save_pretrained(tmp_path / "base")
    of: dict[str, Any] = {"target_modules": ["c_attn", "mlp.c_proj"], "fan_in_fan_out": True}
    of |= {"feedforward_modules": ["mlp.c_proj"]} if kind == "ia3" else {}
    ids = torch.tensor([[3, 9, 12, 40]])
    with torch.no_grad():
        theirs = adapted(base, kind, tmp_path / "a", **of)(input_ids=ids).logits
        change(tmp_path / "a", fan_in_fan_out=False)  # the layers tell
        ours: Any = network_of(tmp_path / "base", None, language_head=True)[0]
        merge_adapter(ours, str(tmp_path / "a"), str(tmp_path / "base"))
        torch.testing.assert_close(ours(input_ids=ids).logits, theirs, rtol=1e-5, atol=1e-5)


def test_an_encoder_computes_what_peft_does(tiny_bert: Path, tmp_path: Path) -> None:
    base = imported().AutoModel.from_pretrained(tiny_bert).eval()
    theirs = adapted(base, "lora", tmp_path / "a", target_modules=["query", "dense"])
    encoder = encoder_at(tiny_bert, adapter=str(tmp_path / "a"))
    ids = torch.tensor([[2, 9, 12, 3]])
    with torch.no_grad():
        expected = theirs(input_ids=ids).last_hidden_state
        found: Any = encoder.body(input_ids=ids)
    torch.testing.assert_close(found.last_hidden_state, expected, rtol=1e-5, atol=1e-5)


def test_sums_are_rounded_once_in_bf16(tiny_lm: Path, adapter: Path) -> None:
    exact, coarse = (lm_at(tiny_lm, adapter=str(adapter), dtype=dtype) for dtype in ("fp32", "bf16"))
    name = "model.layers.1.self_attn.q_proj"
    weights = [lm.body.get_submodule(name).weight for lm in (exact, coarse)]
    assert weights[1].dtype == torch.bfloat16
    torch.testing.assert_close(weights[1].float(), weights[0], rtol=2**-7, atol=2**-7)


def test_features_and_digest_are_those_of_the_adapter(tiny_lm: Path, adapter: Path) -> None:
    lm = lm_at(tiny_lm, adapter=str(adapter), frozen=True)
    read = lm_at(tiny_lm).piece("before")[None]
    inputs = {"input_ids": read, "attention_mask": torch.ones_like(read)}
    with torch.no_grad():
        assert not torch.equal(lm(inputs), lm_at(tiny_lm)(inputs))
    before = weights_digest(tiny_lm, str(adapter))
    config = json.loads((adapter / "adapter_config.json").read_text())
    (adapter / "adapter_config.json").write_text(json.dumps({**config, "lora_alpha": 1}))
    assert len({before, weights_digest(tiny_lm, str(adapter)), weights_digest(tiny_lm, None)}) == 3


def test_what_it_was_made_for_is_said(tiny_lm: Path, adapter: Path, caplog: pytest.LogCaptureFixture) -> None:
    lm_at(tiny_lm, adapter=str(adapter))
    assert not caplog.messages
    change(adapter, base_model_name_or_path="their/base")
    lm_at(tiny_lm, adapter=str(adapter))
    assert "says that it was made for their/base, and is merged into" in caplog.text


def change(folder: Path, **values: Any) -> None:
    config = json.loads((folder / "adapter_config.json").read_text())
    (folder / "adapter_config.json").write_text(json.dumps({**config, **values}))


def retouch(folder: Path, name: str | None, tensor: torch.Tensor | None) -> None:
    """Adds a tensor to a folder, or takes those of one layer away."""
    tensors = load_file(folder / "adapter_model.safetensors")
    tensors = {n: t for n, t in tensors.items() if tensor is not None or n != name}
    added = {} if tensor is None or name is None else {name: tensor}
    save_file({**tensors, **added}, folder / "adapter_model.safetensors")


LAYER = "base_model.model.model.layers.0.self_attn.q_proj"
DAMAGE: dict[str, tuple[Callable[[Path], Any], str]] = {
    "no folder": (shutil.rmtree, r"there is no folder .*; give"),
    "no config": (lambda f: (f / "adapter_config.json").unlink(), r".* has no adapter_config\.json; give"),
    "no tensors": (lambda f: (f / "adapter_model.safetensors").unlink(), r".* has no adapter_model\."),
    "a pickle": (
        lambda f: (f / "adapter_model.safetensors").rename(f / "adapter_model.bin"),
        r".* has its weights only as a pickle, not as adapter_model\.safetensors; give",
    ),
    "half a file": (
        lambda f: (f / "adapter_model.safetensors").write_bytes(b"\x00" * 50),
        r".* cannot be loaded \(SafetensorError,",
    ),
    "no JSON": (lambda f: (f / "adapter_config.json").write_text("{"), r".* cannot be read \(is not JSON\)"),
    "a list": (lambda f: (f / "adapter_config.json").write_text("[]"), r".* is a None, and LORA and IA3"),
    "another kind": (lambda f: change(f, peft_type="LOHA"), r".* is a LOHA, and LORA and IA3 are served"),
    "no rank": (lambda f: change(f, r=None), r".* has no positive r and lora_alpha; give another"),
    "another rank": (
        lambda f: change(f, r=3),
        r".* has \(2, \d+\) and \(16, 2\) of rank 3 for .*_proj, which is",
    ),
    "DoRA": (lambda f: change(f, use_dora=True), r".* sets use_dora, which is not served; give one without"),
    "patterns": (
        lambda f: change(f, rank_pattern={"q_proj": 1}, alpha_pattern={"q_proj": 1}),
        r".* sets (rank|alpha)_pattern, (rank|alpha)_pattern, which is not served",
    ),
    "PiSSA": (lambda f: change(f, init_lora_weights="pissa"), r".* sets init_lora_weights, which is not"),
    "biases": (lambda f: change(f, bias="all"), r".* sets bias, which is not served"),
    "what does not exist yet": (lambda f: change(f, use_new=1), r".* sets use_new, which is not served"),
    "another tensor": (
        lambda f: retouch(f, "base_model.model.lm_head.lora_magnitude_vector", torch.ones(2)),
        r".* changes base_model\.model\.lm_head\.lora_magnitude_vector, which is not served",
    ),
    "not a number": (
        lambda f: retouch(f, f"{LAYER}.lora_A.weight", torch.full((2, 16), torch.nan)),
        r".* is damaged \(not every number of .* is finite\)",
    ),
    "one factor": (
        lambda f: retouch(f, f"{LAYER}.lora_A.weight", None),
        r".* is damaged \(.*q_proj has only \.lora_B\.weight\)",
    ),
    "another shape": (
        lambda f: retouch(f, f"{LAYER}.lora_A.weight", torch.ones(2, 17)),
        r".* has .*\(2, 17\).* for model\.layers\.0\.self_attn\.q_proj, which is \(16, 16\); give the model",
    ),
}


@pytest.mark.parametrize("damage", DAMAGE)
def test_what_is_no_adapter_of_it_is_one_line(tiny_lm: Path, adapter: Path, damage: str) -> None:
    do, message = DAMAGE[damage]
    do(adapter)
    with pytest.raises(ValueError, match=f"^adapter: {message}") as caught:
        lm_at(tiny_lm, adapter=str(adapter))
    assert "\n" not in str(caught.value)


def test_an_adapter_of_another_network_is_refused(tiny_bert: Path, tiny_lm: Path, adapter: Path) -> None:
    with pytest.raises(
        ValueError, match=r"^adapter: .* changes model\..*, which is no linear layer of this BertModel; give"
    ):
        encoder_at(tiny_bert, adapter=str(adapter))
    with pytest.raises(ValueError, match=r"^path: .* is an adapter of peft; give .* as model\.adapter$"):
        network_of(adapter, None)
    with pytest.raises(ValueError, match=r"^path: .* is an adapter of peft; give"):
        tokenizer_of(adapter)


def test_an_adapter_of_the_network_with_its_head_serves_the_one_without(tiny_lm: Path, adapter: Path) -> None:
    lm, encoder = lm_at(tiny_lm, adapter=str(adapter)), encoder_at(tiny_lm, adapter=str(adapter))
    name = "layers.1.self_attn.q_proj"
    assert torch.equal(encoder.body.get_submodule(name).weight, lm.body.get_submodule(f"model.{name}").weight)
    tensors = adapter / "adapter_model.safetensors"
    save_file({n.replace(".model.model.", ".model."): t for n, t in load_file(tensors).items()}, tensors)
    again = lm_at(tiny_lm, adapter=str(adapter))
    assert torch.equal(
        again.body.get_submodule(f"model.{name}").weight, encoder.body.get_submodule(name).weight
    )


def test_a_table_that_is_the_last_layer_too_is_left_alone(tiny_lm: Path, tmp_path: Path) -> None:
    base = imported().AutoModelForCausalLM.from_pretrained(tiny_lm)
    with pytest.warns(UserWarning):  # peft's own, of the same
        adapted(base, "lora", tmp_path / "a", target_modules=["lm_head"])
    with pytest.raises(ValueError, match=r"^adapter: .* changes lm_head, which shares its weight with the"):
        lm_at(tiny_lm, adapter=str(tmp_path / "a"))
