"""A folder of sentence-transformers: its files hold what the bundle computes, by independent arithmetic."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load_file

from coldstart_cli.bundles.bundle import Bundle
from tests.kit.adapted import adapt_texts, call

TEXTS = ["w1 w2 w3", "w7", "w4 w5 w6 w8 w9 w10 w11", " ".join(f"w{i}" for i in range(40))]


@pytest.fixture(autouse=True)
def _here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, torch_settings: None) -> None:
    monkeypatch.chdir(tmp_path)


def folder_logits(folder: Path, texts: list[str]) -> np.ndarray:
    """(n, n_outputs), one text after another, by the files' own words."""
    import torch
    import transformers

    modules = json.loads((folder / "modules.json").read_text())
    kinds = [module["type"].rpartition(".")[2] for module in modules]
    most = json.loads((folder / "sentence_bert_config.json").read_text())["max_seq_length"]
    pooling = json.loads((folder / modules[1]["path"] / "config.json").read_text())
    dense = json.loads((folder / modules[-1]["path"] / "config.json").read_text())
    assert dense["activation_function"] == "torch.nn.modules.linear.Identity"
    layer = load_file(folder / modules[-1]["path"] / "model.safetensors")
    tokenizer = transformers.AutoTokenizer.from_pretrained(str(folder))
    network = transformers.AutoModel.from_pretrained(str(folder)).eval()
    found = []
    for text in texts:
        read = tokenizer([text], truncation=True, max_length=most, return_tensors="pt")
        with torch.no_grad():
            tokens = network(**read).last_hidden_state[0].numpy()
        assert pooling["pooling_mode_mean_tokens"] != pooling["pooling_mode_cls_token"]
        features = tokens.mean(0) if pooling["pooling_mode_mean_tokens"] else tokens[0]
        if kinds == ["Transformer", "Pooling", "Normalize", "Dense"]:
            features = features / np.sqrt((features**2).sum())
        else:
            assert kinds == ["Transformer", "Pooling", "Dense"]
        found.append(layer["linear.weight"] @ features + layer["linear.bias"])
    return np.stack(found)


@pytest.mark.parametrize(
    ("words", "n_modules"),
    [
        (("model=hf_text_frozen", "strategy=logistic"), 4),
        (("model=hf_text_frozen", "strategy=logistic", "strategy.normalise=false",
          "model.normalise=false"), 3),
        (("model=hf_text_frozen", "strategy=logistic", "model.preprocess.pooling=cls"), 4),
        (("model=hf_text", "strategy=scratch", "steps=1"), 4),
        (("model=hf_text", "strategy=setfit", "evaluation.steps=[2]"), 4),
    ],
    ids=["logistic", "not normalised", "first token", "scratch", "setfit"],
)  # fmt: skip
def test_files_hold_what_the_bundle_computes(
    tiny_bert: Path, capsys: pytest.CaptureFixture[str], words: tuple[str, ...], n_modules: int
) -> None:
    adapt_texts(capsys, tiny_bert, *words)
    code, out, err = call(capsys, "export", "bundle=b", "format=huggingface", "file=hf")
    assert code == 0, err
    assert out.startswith("hf: SentenceTransformer, whose softmax is calibrated; largest difference from")
    assert len(json.loads(Path("hf/modules.json").read_text())) == n_modules
    z = folder_logits(Path("hf"), TEXTS)
    p = np.exp(z - z.max(1, keepdims=True))
    with pytest.warns(RuntimeWarning, match="longer than 16 tokens and were cut"):
        own = Bundle.load("b").predict(TEXTS).probabilities
    assert own is not None
    np.testing.assert_allclose(p / p.sum(1, keepdims=True), own.numpy(), atol=1e-4)
    config = json.loads(Path("hf/config.json").read_text())
    assert config["id2label"] == {"0": "a", "1": "b"}


def test_names_of_others_are_data(tiny_bert: Path, capsys: pytest.CaptureFixture[str]) -> None:
    hostile = ("``` # <script>", "é {x}")
    adapt_texts(capsys, tiny_bert, "model=hf_text_frozen", "strategy=logistic", labels=hostile)
    assert call(capsys, "export", "bundle=b", "format=huggingface", "file=hf")[0] == 0
    card = Path("hf/README.md").read_text()
    assert card.count("```") == 4
    assert json.loads(card.partition("```json\n")[2].partition("```")[0]) == sorted(hostile)
    assert sorted(json.loads(Path("hf/config.json").read_text())["id2label"].values()) == sorted(hostile)


def test_sentence_transformers_answers_as_predict_does(
    tiny_bert: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    package = pytest.importorskip(
        "sentence_transformers", reason="pip install --no-deps sentence-transformers"
    )
    adapt_texts(capsys, tiny_bert, "model=hf_text_frozen", "strategy=logistic")
    assert call(capsys, "export", "bundle=b", "format=huggingface", "file=hf")[0] == 0
    p = package.SentenceTransformer("hf", device="cpu").encode(TEXTS[:3], convert_to_tensor=True).softmax(-1)
    own = Bundle.load("b").predict(TEXTS[:3]).probabilities
    assert own is not None
    np.testing.assert_allclose(p.numpy(), own.numpy(), atol=1e-4)
