"""`coldstart export`: programs that answer as the bundle does, and what cannot be exported."""

from __future__ import annotations

import json
from contextlib import nullcontext
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from coldstart_cli.bundles.bundle import Bundle
from coldstart_cli.bundles.judging.temperature import probabilities
from tests.kit.adapted import adapt, call

pytestmark = pytest.mark.usefixtures("points")


def test_export_is_checked_and_says_so(capsys: pytest.CaptureFixture[str]) -> None:
    adapt(capsys)
    code, out, err = call(capsys, "export", "bundle=b", "input=points.npz", "format=pt2")
    assert code == 0, err
    assert "largest difference from predict on 10 inputs" in out and Path("b.pt2").exists()


@pytest.mark.parametrize("form", ["pt2", "onnx"])
def test_an_export_says_what_its_outputs_mean_and_names_with_dots_do_not_collide(
    capsys: pytest.CaptureFixture[str], form: str
) -> None:
    if form == "onnx":
        onnxruntime = pytest.importorskip("onnxruntime", reason="needs the extra onnx")
        pytest.importorskip("onnxscript", reason="needs the extra onnx")
    for name, labels in (("a.v1", ["=cmd()", "b<b>"]), ("a.v2", ["x", "y"])):
        np.savez(f"{name}.npz", x=np.load("points.npz")["x"], y=np.repeat(labels, 5))
        adapt(capsys, f"bundle={name}", f"dataset.root={name}.npz")
        code, _, err = call(capsys, "export", f"bundle={name}", f"format={form}")
        assert code == 0, err
    for name, labels in (("a.v1", ["=cmd()", "b<b>"]), ("a.v2", ["x", "y"])):
        file = f"{name}.{form}"
        if form == "onnx":
            told = onnxruntime.InferenceSession(file).get_modelmeta().custom_metadata_map["coldstart.json"]
        else:
            extra = {"coldstart.json": ""}
            torch.export.load(file, extra_files=extra)
            told = extra["coldstart.json"]
        facts, card = json.loads(told), json.loads(Path(name, "card.json").read_text())
        assert facts["labels"] == labels == card["labels"] and facts["outputs"] == "logits"
        assert facts["temperature"] == card["temperature"] and facts["inputs"] == ["input"]


TEXTS = "text,label\n" + "".join(
    f"w{4 * c + i % 4} w{4 * c + (i + 1) % 4}{' w50' * i},{'abc'[c]}\n" for c in range(3) for i in range(4)
)


def adapt_texts(capsys: pytest.CaptureFixture[str], folder: Path, *more: str, steps: int = 2) -> Bundle:
    """A bundle `b` of three classes of texts, over the model at `folder`."""
    Path("texts.csv").write_text(TEXTS)
    data = ("dataset=text", "dataset.root=texts.csv", f"model.path={folder}", "bundle=b", f"steps={steps}")
    base = ("hardware=cpu", "hardware.threads=1", "experiment=smoke")
    code, _, err = call(capsys, "adapt", *base, *data, *more)
    assert code == 0, err
    return Bundle.load("b")


def test_an_export_holds_the_frozen_encoder_and_reads_texts_of_any_length(
    capsys: pytest.CaptureFixture[str], tiny_bert: Path
) -> None:
    frozen = ("model=hf_text_frozen", "model.preprocess.max_length=20")
    bundle = adapt_texts(capsys, tiny_bert, *frozen, "strategy=logistic")
    code, out, err = call(capsys, "export", "bundle=b")
    assert code == 0, err
    assert "largest difference from predict on 14 inputs" in out  # two of them as long as any may be
    tokenizer = pytest.importorskip("tokenizers").Tokenizer.from_file("b-tokenizer.json")
    extra = {"coldstart.json": ""}
    program = torch.export.load("b.pt2", extra_files=extra).module()
    assert json.loads(extra["coldstart.json"])["max_length"] == 20
    long = " ".join(f"w{i}" for i in range(50))
    for texts in (["w1 w2"], ["w5 w6 w7 w8 w9 w10", "w1", "w9 w50 w50"], [long, "w1"]):
        read = tokenizer.encode_batch(texts)  # as another program does it: int64, the same length
        mask, ids = torch.tensor([r.attention_mask for r in read]), torch.tensor([r.ids for r in read])
        assert ids.shape[1] <= 20
        logits = program(mask, ids)
        is_cut = pytest.warns(RuntimeWarning, match="1 of 2 texts are longer")
        with is_cut if long in texts else nullcontext():
            found = bundle.predict(texts).probabilities
        torch.testing.assert_close(
            probabilities(logits, bundle.card.temperature), found, rtol=1e-4, atol=1e-5
        )


def test_onnx_holds_the_frozen_encoder_of_images(capsys: pytest.CaptureFixture[str], tiny_vit: Path) -> None:
    pytest.importorskip("onnxruntime", reason="needs the extra onnx")
    pytest.importorskip("onnxscript", reason="needs the extra onnx")
    g = np.random.default_rng(0)
    for name, grey in (("dark", 40), ("light", 200)):
        Path("pictures", name).mkdir(parents=True)
        for i in range(3):
            pixels = np.clip(g.normal(grey, 20, (20, 30, 3)), 0, 255).astype(np.uint8)
            Image.fromarray(pixels).save(Path("pictures", name, f"{i}.png"))
    code, _, err = call(
        capsys, "adapt", "model=hf_image_frozen", f"model.path={tiny_vit}", "strategy=nearest_centroid",
        "dataset=image_folder", "dataset.root=pictures", "bundle=b", "hardware=cpu", "hardware.threads=1",
        "experiment=smoke",
    )  # fmt: skip
    assert code == 0, err
    code, out, err = call(capsys, "export", "bundle=b", "format=onnx")
    assert code == 0, err
    assert "on 6 inputs" in out and Path("b.onnx").stat().st_size > 10_000


def test_the_check_of_an_export_asks_for_inputs_where_the_support_is_gone_or_another(
    capsys: pytest.CaptureFixture[str],
) -> None:
    adapt(capsys)
    assert call(capsys, "export", "bundle=b")[0] == 0
    points = dict(np.load("points.npz"))
    np.savez("points.npz", x=points["x"] + 1, y=points["y"])
    code, _, err = call(capsys, "export", "bundle=b")
    assert (code, err.count("\n")) == (2, 1) and "points.npz holds other examples" in err
    assert call(capsys, "export", "bundle=b", "input=points.npz")[0] == 0
    Path("points.npz").unlink()
    code, _, err = call(capsys, "export", "bundle=b")
    assert (code, err.count("\n")) == (2, 1) and "input=PATH" in err


@pytest.mark.filterwarnings("ignore:`is_gradient_checkpointing` is deprecated")  # peft 0.21's call
@pytest.mark.parametrize("name", ["lora", "maml_lora"])
def test_peft_reads_the_low_rank_weights_of_a_bundle(
    capsys: pytest.CaptureFixture[str], tiny_bert: Path, name: str
) -> None:
    peft = pytest.importorskip("peft", reason="needs the extra hf")
    transformers = pytest.importorskip("transformers")
    rate = "inner_lr" if name == "maml_lora" else "lr"
    settings = [
        "model=hf_text",
        f"strategy={name}",
        f"strategy.{rate}=0.2",
        "strategy.rank=2",
        "strategy.alpha=6",
    ]
    if name == "lora":
        settings += ["strategy.source_training=false", "strategy.head_lr=null"]
    bundle = adapt_texts(capsys, tiny_bert, *settings)
    code, _, err = call(capsys, "export", "bundle=b", "format=peft")
    assert code == 0, err
    base = transformers.AutoModel.from_pretrained(tiny_bert)
    inputs = bundle.preprocess.texts(["w1 w2 w3", "w9"])
    assert isinstance(inputs, dict)
    ids, mask = inputs["input_ids"].long(), inputs["attention_mask"].long()
    with torch.no_grad():
        before = base(input_ids=ids, attention_mask=mask).last_hidden_state
        theirs = peft.PeftModel.from_pretrained(base, "b.peft").eval()
        hidden = theirs(input_ids=ids, attention_mask=mask).last_hidden_state
        ours = bundle.module.network.encoder.body(input_ids=ids, attention_mask=mask).last_hidden_state
    torch.testing.assert_close(hidden, ours, rtol=1e-4, atol=1e-4)
    assert (before - ours).abs().max() > 1e-3
    code, _, err = call(capsys, "export", "bundle=b", "format=peft", "file=texts.csv")
    assert (code, err.count("\n")) == (2, 1) and "texts.csv exists" in err


@pytest.mark.filterwarnings("ignore:`is_gradient_checkpointing` is deprecated")  # peft 0.21's call
@pytest.mark.parametrize("name", ["label_lora", "ia3"])
def test_peft_reads_what_a_language_models_layers_learned(
    capsys: pytest.CaptureFixture[str], tiny_lm: Path, name: str
) -> None:
    peft = pytest.importorskip("peft", reason="needs the extra hf")
    transformers = pytest.importorskip("transformers")
    bundle = adapt_texts(capsys, tiny_lm, "model=causal_lm", f"strategy={name}", "strategy.lr=0.2")
    code, _, err = call(capsys, "export", "bundle=b", "format=peft")
    assert code == 0, err
    base = transformers.AutoModelForCausalLM.from_pretrained(tiny_lm)
    ids = torch.tensor([[3, 9, 12]])
    with torch.no_grad():
        before = base(input_ids=ids).logits
        theirs = peft.PeftModel.from_pretrained(base, "b.peft").eval()(input_ids=ids).logits
        with bundle.module.placing(bundle.module.lm, bundle.module.in_layers()):
            ours = bundle.module.lm.body(input_ids=ids).logits
    torch.testing.assert_close(theirs, ours, rtol=1e-4, atol=1e-4)
    assert (before - ours).abs().max() > 1e-3
    code, _, err = call(capsys, "export", "bundle=b")
    assert code == 2 and "reads texts as prompts of their own length, which pt2 has no form for" in err


def test_an_adapter_of_a_bundle_is_where_the_next_adaptation_starts(
    capsys: pytest.CaptureFixture[str], tiny_lm: Path
) -> None:
    first = adapt_texts(capsys, tiny_lm, "model=causal_lm", "strategy=label_lora", "strategy.lr=0.2")
    assert call(capsys, "export", "bundle=b", "format=peft")[0] == 0
    again = ("model=causal_lm", "model.adapter=b.peft", "strategy=label_lora", "overwrite=true")
    second = adapt_texts(capsys, tiny_lm, *again, steps=0)
    inputs = first.preprocess.texts(["w1 w2 w50", "w9", "w4 w5"])
    torch.testing.assert_close(second.outputs(inputs), first.outputs(inputs), rtol=1e-4, atol=1e-4)
    plain = adapt_texts(capsys, tiny_lm, "model=causal_lm", "strategy=label_lora", "overwrite=true", steps=0)
    assert (plain.outputs(inputs) - first.outputs(inputs)).abs().max() > 0.1
    adapt_texts(capsys, tiny_lm, *again)
    code, _, err = call(capsys, "export", "bundle=b", "format=peft", "file=c")
    assert (code, err.count("\n")) == (
        2,
        1,
    ) and "has an adapter already, which a second one would lack" in err
    code, _, err = call(capsys, "adapt", *again, f"model.path={tiny_lm}", "copy_base=true", "bundle=c")
    assert (code, err.count("\n")) == (2, 1) and "copy_base: true, and the model has an adapter" in err
    config = Path("b.peft", "adapter_config.json")
    config.write_text(config.read_text().replace('"lora_alpha": 16.0', '"lora_alpha": 8.0'))
    code, _, err = call(capsys, "predict", "bundle=b", "input=texts.csv")
    assert (code, err.count("\n")) == (2, 1) and "was made with other files than those at" in err
    config.unlink()
    code, _, err = call(capsys, "predict", "bundle=b", "input=texts.csv")
    assert (code, err.count("\n")) == (2, 1) and "has no adapter_config.json" in err


def test_what_has_no_low_rank_weights_is_not_exported_to_peft(
    capsys: pytest.CaptureFixture[str], tiny_bert: Path
) -> None:
    adapt(capsys)
    code, _, err = call(capsys, "export", "bundle=b", "format=peft")
    assert (code, err.count("\n")) == (2, 1) and "logistic makes no low-rank weights" in err
