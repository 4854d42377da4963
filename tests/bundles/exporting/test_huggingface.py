"""A bundle as a folder of transformers: the same logits, or a line that says why there is none."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from coldstart_cli.bundles.bundle import Bundle
from tests.kit.adapted import HARDWARE, adapt_texts, call


@pytest.fixture
def pictures(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, torch_settings: None) -> tuple[str, ...]:
    """Words for a data set of dark and light images."""
    monkeypatch.chdir(tmp_path)
    g = np.random.default_rng(0)
    for name, grey in (("dark", 40), ("light", 200)):
        Path("pictures", name).mkdir(parents=True)
        for i in range(3):
            pixels = np.clip(g.normal(grey, 20, (20, 30, 3)), 0, 255).astype(np.uint8)
            Image.fromarray(pixels).save(Path("pictures", name, f"{i}.png"))
    return "dataset=image_folder", "dataset.root=pictures", "bundle=b", *HARDWARE


@pytest.mark.parametrize("model", ["hf_image_frozen", "hf_image"])
def test_transformers_computes_what_the_bundle_does(
    pictures: tuple[str, ...], tiny_vit: Path, capsys: pytest.CaptureFixture[str], model: str
) -> None:
    import transformers

    pooling = "model.preprocess.pooling=cls" if model.endswith("frozen") else "model.pooling=cls"
    strategy = ("strategy=linear_probe",) if model.endswith("frozen") else ("strategy=scratch", "steps=2")
    words = (f"model={model}", f"model.path={tiny_vit}", pooling, "model.normalise=false", *strategy)
    code, _, err = call(capsys, "adapt", *words, *pictures, "untrained=true")
    assert code == 0, err
    code, out, err = call(capsys, "export", "bundle=b", "format=huggingface", "file=hf")
    assert code == 0, err
    assert out.startswith("hf: ViTForImageClassification, whose softmax is calibrated; largest difference")
    network = transformers.AutoModelForImageClassification.from_pretrained("hf").eval()
    assert (
        network.config.id2label == {0: "dark", 1: "light"} and Path("hf/preprocessor_config.json").is_file()
    )
    bundle = Bundle.load("b")
    files = [str(path) for path in sorted(Path("pictures").rglob("*.png"))]
    from coldstart_cli.bundles.exporting.export_probe import probes
    from coldstart_cli.bundles.exporting.huggingface import _encoder, _given

    (probe,) = probes(bundle, None)
    with torch.no_grad():
        p = network(**_given(_encoder(bundle), probe.inputs)).logits.double().softmax(-1)
    own = bundle.predict(files).probabilities
    assert own is not None and torch.allclose(p, own, atol=1e-4)
    code, _, err = call(capsys, "export", "bundle=b", "format=huggingface", "file=hf")
    assert code == 2 and err.startswith("file: hf is already there")


@pytest.mark.parametrize(
    ("words", "reason"),
    [
        (("model=hf_image_frozen", "strategy=logistic", "model.preprocess.pooling=cls"),
         "scales features to length 1"),
        (("model=hf_image_frozen", "strategy=linear_probe", "model.preprocess.pooling=mean",
          "model.normalise=false"), "does not compute what this bundle does"),
        (("model=conv4_small", "strategy=scratch", "steps=0", "dataset.size=16"), "is for an encoder of"),
    ],
)  # fmt: skip
def test_what_transformers_has_no_network_for_is_refused_in_one_line(
    pictures: tuple[str, ...],
    tiny_vit: Path,
    capsys: pytest.CaptureFixture[str],
    words: tuple[str, ...],
    reason: str,
) -> None:
    path = (f"model.path={tiny_vit}",) if "hf_" in words[0] else ()
    code, _, err = call(capsys, "adapt", *words, *path, *pictures, "untrained=true")
    assert code == 0, err
    code, _, err = call(capsys, "export", "bundle=b", "format=huggingface", "file=hf")
    assert code == 2 and err.startswith("format: ") and reason in err and err.count("\n") == 1, err
    assert not Path("hf").exists()


@pytest.mark.parametrize(
    ("words", "reason"),
    [
        (("strategy=matching",), "what matching makes of features is not linear in them"),
        (("strategy=logistic", "model.preprocess.layer=1"), "SentenceTransformer does not compute what"),
    ],
)
def test_texts_that_no_folder_computes_are_refused_in_one_line(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    torch_settings: None,
    tiny_bert: Path,
    capsys: pytest.CaptureFixture[str],
    words: tuple[str, ...],
    reason: str,
) -> None:
    monkeypatch.chdir(tmp_path)
    adapt_texts(capsys, tiny_bert, "model=hf_text_frozen", *words)
    code, _, err = call(capsys, "export", "bundle=b", "format=huggingface", "file=hf")
    assert code == 2 and err.startswith("format: ") and reason in err and err.count("\n") == 1, err
    assert "export as onnx, or predict with the bundle" in err
    assert sorted(path.name for path in Path().iterdir()) == ["b", "texts.csv"]  # nothing half written
