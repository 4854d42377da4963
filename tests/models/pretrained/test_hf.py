"""Loading pretrained models: safetensors only, offline, and every refusal one line that says what to do."""

from __future__ import annotations

import builtins
import json
import shutil
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from coldstart_cli.errors import RequestError
from coldstart_cli.models.pretrained.hf import (
    content_digest,
    folder_of,
    imported,
    keep_used,
    make_constant,
    network_of,
    tokenizer_of,
    used_parameters,
)


def copied(folder: Path, to: Path) -> Path:
    return Path(shutil.copytree(folder, to / "copy"))


def test_folder_is_found_by_its_place_or_in_a_package(
    tiny_bert: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert folder_of(str(tiny_bert)) == tiny_bert
    assert (folder_of("package:coldstart_cli/models") / "pretrained" / "hf.py").is_file()


@pytest.mark.parametrize(
    ("path", "message"),
    [
        ("/no/such/folder", r"^path: there is no folder /no/such/folder; give"),
        ("./gone", r"^path: there is no folder \./gone; give"),
        ("a b", r"^path: there is no folder a b; give"),
        ("gone.gguf", r"^path: there is no file gone\.gguf; give"),
        ("package:no_such_package/x", r"^path: there is no package no_such_package; pip install"),
        ("package:os.path/x", r"^path: there is no package os\.path;"),
        ("package:coldstart_cli/nothing", r"^path: the package coldstart_cli has no folder nothing;"),
    ],
)
def test_missing_folder_is_one_line(path: str, message: str) -> None:
    with pytest.raises(ValueError, match=message) as caught:
        folder_of(path)
    assert "\n" not in str(caught.value)


def test_hub_name_is_looked_up_in_the_cache_alone_when_offline(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    hub = pytest.importorskip("huggingface_hub", reason="needs the extra hf")
    asked: dict[str, Any] = {}

    def snapshot_download(name: str, **settings: Any) -> str:
        asked.update(settings, name=name)
        if name == "owner/absent":
            raise FileNotFoundError(name)
        return str(tmp_path)

    monkeypatch.setattr(hub, "snapshot_download", snapshot_download)
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    assert folder_of("owner/name") == tmp_path
    assert asked["local_files_only"] is True
    assert not any(pattern.endswith((".bin", ".py", ".pt")) for pattern in asked["allow_patterns"])
    with pytest.raises(ValueError, match=r"^path: owner/absent is neither a folder.*HF_HUB_OFFLINE.*; give"):
        folder_of("owner/absent")
    monkeypatch.delenv("HF_HUB_OFFLINE")
    folder_of("owner/name")
    assert asked["local_files_only"] is False


def test_pickled_weights_are_refused_unread(tiny_bert: Path, tmp_path: Path) -> None:
    folder = copied(tiny_bert, tmp_path)
    (folder / "model.safetensors").rename(folder / "pytorch_model.bin")
    with pytest.raises(
        ValueError, match=r"^path: .* has its weights only as pickles.*; give a model that was saved"
    ):
        network_of(folder, None)
    (folder / "pytorch_model.bin").unlink()
    with pytest.raises(ValueError, match=r"^path: .* has no \*\.safetensors; give"):
        network_of(folder, None)


def test_code_of_a_repository_is_refused_unread(tiny_bert: Path, tmp_path: Path) -> None:
    folder = copied(tiny_bert, tmp_path)
    config = json.loads((folder / "config.json").read_text())
    config |= {"model_type": "theirs", "auto_map": {"AutoConfig": "theirs.C", "AutoModel": "theirs.M"}}
    (folder / "config.json").write_text(json.dumps(config))
    (folder / "theirs.py").write_text("raise SystemExit('it ran')\n")
    with pytest.raises(ValueError, match=r"^path: .* cannot be loaded \(ValueError.*; give another model"):
        network_of(folder, None)


@pytest.mark.parametrize("name", ["model.safetensors", "config.json"])
def test_damaged_file_is_one_line(tiny_bert: Path, tmp_path: Path, name: str) -> None:
    folder = copied(tiny_bert, tmp_path)
    (folder / name).write_bytes(b"\x00" * 50)
    with pytest.raises(ValueError, match=r"^path: .* cannot be loaded") as caught:
        network_of(folder, None)
    assert "\n" not in str(caught.value)


def test_missing_parts_are_refused(tiny_bert: Path, tmp_path: Path) -> None:
    folder = copied(tiny_bert, tmp_path)
    (folder / "config.json").unlink()
    with pytest.raises(ValueError, match=r"^path: .* has no config\.json"):
        network_of(folder, None)
    for file in folder.glob("tokenizer*"):
        file.unlink()
    with pytest.raises(ValueError, match=r"^path: .* cannot be loaded"):
        tokenizer_of(folder)


def test_transformers_that_is_not_installed_is_named_with_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    real = builtins.__import__

    def without(name: str, *rest: Any) -> Any:
        if name == "transformers":
            raise ImportError(name)
        return real(name, *rest)

    monkeypatch.setattr(builtins, "__import__", without)
    monkeypatch.delitem(sys.modules, "transformers", raising=False)
    with pytest.raises(RequestError, match=r"^model: .*; pip install -e '.\[hf\]' in the clone \(E50\)$"):
        imported()


def test_parameters_an_output_does_not_depend_on_become_constants() -> None:
    network = nn.ModuleDict({"used": nn.Linear(2, 2), "idle": nn.Linear(2, 2, bias=False)})
    output = network["used"](torch.ones(1, 2)).relu()
    assert used_parameters(output) == {id(p) for p in network["used"].parameters()}
    keep_used(network, output, frozenset({"idle.weight"}), "choose another")
    assert [name for name, _ in network.named_parameters()] == ["used.weight", "used.bias"]
    assert [name for name, _ in network.named_buffers()] == ["idle.weight"]
    assert set(network.state_dict()) == {"used.weight", "used.bias"}
    with pytest.raises(ValueError, match=r"^path: the files lack used\.bias, .*; choose another"):
        keep_used(network, output, frozenset({"used.bias"}), "choose another")


def test_constants_are_replaced_by_name_like_parameters() -> None:
    layer = nn.Linear(2, 2)
    make_constant(layer, ["weight"])
    weights = {"weight": torch.zeros(2, 2, requires_grad=True)}
    found = torch.func.functional_call(layer, weights, (torch.ones(1, 2),))
    torch.testing.assert_close(found[0], layer.bias)
    assert found.sum().grad_fn is not None


def test_weights_under_two_names_become_one_constant(tiny_lm: Path) -> None:
    network: Any = network_of(tiny_lm, None, language_head=True)[0]
    make_constant(network, ["model.embed_tokens.weight"])
    assert network.lm_head.weight is network.model.embed_tokens.weight
    assert not any(parameter.shape[0] == 68 for parameter in network.parameters())


def test_end_of_text_fills_up_where_no_token_does_which_is_said_once(
    tiny_lm: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    folder = copied(tiny_lm, tmp_path)
    assert tokenizer_of(folder).pad_token == tokenizer_of(folder).eos_token == "<end>"
    (message,) = caplog.messages
    assert "has no padding token; its end of text (<end>) fills up" in message
    settings = json.loads((folder / "tokenizer_config.json").read_text())
    (folder / "tokenizer_config.json").write_text(json.dumps(settings | {"eos_token": None}))
    with pytest.raises(ValueError, match=r"no padding token and no end of text; give another model"):
        tokenizer_of(folder)


def test_content_digest_sees_content_and_names(tmp_path: Path) -> None:
    (tmp_path / "a.json").write_text("1")
    first = content_digest(tmp_path, ("*.json",))
    (tmp_path / "b.txt").write_text("2")
    assert content_digest(tmp_path, ("*.json",)) == first
    (tmp_path / "a.json").rename(tmp_path / "c.json")
    assert content_digest(tmp_path, ("*.json",)) != first
