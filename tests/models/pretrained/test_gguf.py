"""GGUF files: converted once, with the numbers of transformers; damage is refused in one line."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from coldstart_cli.models.pretrained.hf import folder_of, network_of, tokenizer_of

N_TOKENS = 40


def tiny_gguf(path: Path, *, spoilt: bool = False) -> Path:
    """A Llama of one layer and width 16 with a tokenizer of single characters."""
    gguf = pytest.importorskip("gguf", reason="needs the extra hf")
    random = np.random.default_rng(0)
    writer = gguf.GGUFWriter(str(path), "llama")
    writer.add_name("tiny")
    writer.add_context_length(64)
    writer.add_embedding_length(16)
    writer.add_block_count(1)
    writer.add_feed_forward_length(32)
    writer.add_head_count(2)
    writer.add_head_count_kv(1)
    writer.add_layer_norm_rms_eps(1e-5)
    writer.add_rope_freq_base(10000.0)
    writer.add_vocab_size(N_TOKENS)
    writer.add_tokenizer_model("gpt2")
    tokens = [
        "<end>",
        *(chr(ord("a") + i) for i in range(26)),
        *(f"<{i}>" for i in range(N_TOKENS - 29)),
        "Ġ",
        "ab",
    ]
    writer.add_token_list(tokens)
    writer.add_token_types([3 if token.startswith("<") else 1 for token in tokens])
    writer.add_token_merges(["a b"])
    writer.add_bos_token_id(0)
    writer.add_eos_token_id(0)
    shapes = {
        "token_embd": (N_TOKENS, 16),
        "output_norm": (16,),
        "blk.0.attn_norm": (16,),
        "blk.0.ffn_norm": (16,),
        "blk.0.attn_q": (16, 16),
        "blk.0.attn_k": (8, 16),
        "blk.0.attn_v": (8, 16),
        "blk.0.attn_output": (16, 16),
        "blk.0.ffn_gate": (32, 16),
        "blk.0.ffn_up": (32, 16),
        "blk.0.ffn_down": (16, 32),
    }
    for name, shape in shapes.items():
        values = random.normal(size=shape).astype(np.float32)
        if spoilt and name == "output_norm":
            values[3] = np.nan
        writer.add_tensor(f"{name}.weight", values)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "cache"
    monkeypatch.setenv("COLDSTART_CACHE", str(folder))
    return folder


def test_gguf_is_converted_once_into_the_same_network(
    tmp_path: Path, cache: Path, caplog: pytest.LogCaptureFixture
) -> None:
    transformers: Any = pytest.importorskip("transformers", reason="needs the extra hf")
    file = tiny_gguf(tmp_path / "tiny.gguf")
    folder = folder_of(str(file))
    assert folder.parent == cache
    assert len([r for r in caplog.records if "is converted once into" in r.message]) == 1
    assert folder_of(str(file)) == folder
    assert len([r for r in caplog.records if "is converted once into" in r.message]) == 1
    theirs = transformers.AutoModelForCausalLM.from_pretrained(tmp_path, gguf_file=file.name).eval()
    network, missing = network_of(folder, None, language_head=True)
    assert not missing
    ids = torch.arange(12).view(1, 12)
    with torch.no_grad():
        torch.testing.assert_close(network(ids).logits, theirs(ids).logits, rtol=1e-5, atol=1e-5)
    assert tokenizer_of(folder)("abc", add_special_tokens=False)["input_ids"] == [N_TOKENS - 1, 3]
    assert [path for path in cache.iterdir() if path.name.endswith(".partial")] == []


def test_folder_with_a_gguf_alone_is_a_model_and_safetensors_go_before(tmp_path: Path, cache: Path) -> None:
    file = tiny_gguf(tmp_path / "tiny.gguf")
    assert folder_of(str(tmp_path)) == folder_of(str(file))
    (tmp_path / "model.safetensors").touch()
    assert folder_of(str(tmp_path)) == tmp_path
    (tmp_path / "model.safetensors").unlink()
    (tmp_path / "other.gguf").touch()
    with pytest.raises(ValueError, match=r"^path: .* has several GGUF files \(other.gguf, tiny.gguf\); give"):
        folder_of(str(tmp_path))


def test_damaged_gguf_is_refused_in_one_line(tmp_path: Path, cache: Path) -> None:
    whole = tiny_gguf(tmp_path / "tiny.gguf").read_bytes()
    for name, content, message in (
        ("short", whole[: len(whole) // 2], "cannot be loaded"),
        ("header", whole[:200], "cannot be loaded"),
        ("empty", b"", "does not begin as a GGUF file does; download it again"),
        ("page", b"<html>" + whole[6:], "does not begin as a GGUF file does; download it again"),
    ):
        file = tmp_path / f"{name}.gguf"
        file.write_bytes(content)
        with pytest.raises(ValueError, match=rf"^path: .*{name}.gguf {message}") as caught:
            folder_of(str(file))
        assert "\n" not in str(caught.value)
    file = tiny_gguf(tmp_path / "spoilt.gguf", spoilt=True)
    with pytest.raises(ValueError, match=r"is damaged \(not every number of model.norm.weight is finite\)"):
        folder_of(str(file))
    assert [path for path in cache.iterdir() if path.is_dir()] == []
