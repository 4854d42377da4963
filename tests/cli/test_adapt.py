"""`adapt`, `predict` and `export` as a user types them."""

from __future__ import annotations

import csv
import io
import json
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from coldstart_cli.bundles.bundle import Bundle
from coldstart_cli.bundles.temperature import probabilities
from coldstart_cli.cli import main

SMALL = ("model=mlp", "model.hidden=[8]", "hardware=cpu", "hardware.threads=1", "experiment=smoke")


@pytest.fixture(autouse=True)
def _here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, torch_settings: None) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(
        "coldstart_cli.experiment.parts._sources", {}
    )  # kept by path, and paths are relative here
    g = np.random.default_rng(0)
    y = np.repeat(["=cmd()", "b<b>"], 5)
    x = np.stack([g.normal(3.0 if name[0] == "=" else -3.0, 0.5, 4) for name in y]).astype(np.float32)
    np.savez("points.npz", x=x, y=y)


def call(capsys: pytest.CaptureFixture[str], *argv: str) -> tuple[int, str, str]:
    capsys.readouterr()
    code = main(list(argv))
    out, err = capsys.readouterr()
    return code, out, err


def adapt(capsys: pytest.CaptureFixture[str], *more: str) -> tuple[int, str, str]:
    data = ("dataset=arrays", "dataset.root=points.npz", "bundle=b", "overwrite=true", "untrained=true")
    words = {word.partition("=")[0]: word for word in (*SMALL, "strategy=logistic", *data, *more)}
    return call(capsys, "adapt", *words.values())


def test_from_labels_to_predictions(capsys: pytest.CaptureFixture[str]) -> None:
    code, out, err = adapt(capsys)
    assert code == 0, err
    assert out.startswith(
        "b: logistic (mlp), 2 classes, 10 examples, 5 a class\naccuracy 100.0 %, 95 % interval ["
    )
    assert (
        "± 0.0" not in out and ", 100.0], by cross-validation on 10 held-out labels (5 folds, 2 times;" in out
    )
    assert "coldstart predict bundle=b input=points.npz" in out and "coldstart export bundle=b\n" in out
    code, out, _ = call(capsys, "predict", "bundle=b", "input=points.npz")
    assert code == 0 and out.count("\n") == 10 and out.startswith("=cmd()\t")
    _, out, _ = call(capsys, "predict", "bundle=b", "input=points.npz", "--json")
    rows = [json.loads(line) for line in out.splitlines()]
    assert {row["label"] for row in rows} == {"=cmd()", "b<b>"} and all(
        0.5 <= r["probability"] <= 1 for r in rows
    )
    for flag, label in (
        ("--csv", "=cmd()"),
        ("--spreadsheet", "'=cmd()"),
    ):  # the second runs in no spreadsheet
        _, out, _ = call(capsys, "predict", "bundle=b", "input=points.npz", flag)
        assert next(csv.DictReader(io.StringIO(out)))["label"] == label
    np.savez("middle.npz", x=np.zeros((2, 4), dtype=np.float32))
    _, out, _ = call(capsys, "predict", "bundle=b", "input=middle.npz", "threshold=0.9999")
    assert out.count("(not sure)") == 2


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str]) -> str:
    """A ProtoNet trained on twelve classes of `source.npz`."""
    g = np.random.default_rng(1)
    y = np.repeat([f"c{i}" for i in range(12)], 12)
    x = (g.normal(0, 0.3, (144, 4)) + np.repeat(g.normal(0, 3, (12, 4)), 12, axis=0)).astype(np.float32)
    np.savez("source.npz", x=x, y=y)
    train = ("dataset=arrays", "dataset.root=source.npz", "dataset.n_way=2", "strategy=protonet",
             "baseline=null", "evaluation.n_tasks=4", "evaluation.n_selection_tasks=2",
             "training.steps=4", "--quiet",
             "evaluation.timed_seconds=0.01")  # fmt: skip
    code, out, err = call(capsys, "train", *SMALL, *train)
    assert code == 0, err
    return out.strip()


def card_of(capsys: pytest.CaptureFixture[str], run: str, *more: str) -> dict[str, Any]:
    data = ("dataset=arrays", "dataset.root=points.npz", "bundle=b2", "steps=0", "overwrite=true")
    code, _, err = call(capsys, "adapt", f"run={run}", *data, *more)
    assert code == 0, err
    card: dict[str, Any] = json.loads(Path("b2/card.json").read_text())
    return card


def test_a_trained_run_adapts_without_its_source(capsys: pytest.CaptureFixture[str], run: str) -> None:
    Path("source.npz").unlink()
    card = card_of(capsys, run)
    assert card["run"] == Path(run).name and card["strategy"] == "protonet"
    assert call(capsys, "predict", "bundle=b2", "input=points.npz")[0] == 0


def test_one_label_a_class_takes_its_temperature_from_validation_tasks_of_the_run(
    capsys: pytest.CaptureFixture[str], run: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    np.savez("points.npz", x=np.eye(2, 4, dtype=np.float32), y=["a", "b"])
    card = card_of(capsys, run)
    assert card["temperature_from"] == "60 validation tasks of the run (2 classes, k = 1)"
    assert card["temperature"] != 1.0 and card["cross_validation"] is None
    monkeypatch.setattr("coldstart_cli.experiment.parts._sources", {})
    x = np.load("source.npz")
    np.savez("source.npz", x=x["x"] + 1, y=x["y"])
    card = card_of(capsys, run)
    assert card["temperature"] == 1.0 and "its data are others now" in card["temperature_from"]
    monkeypatch.setattr("coldstart_cli.experiment.parts._sources", {})
    Path("source.npz").unlink()
    card = card_of(capsys, run)
    assert card["temperature"] == 1.0 and "source.npz" in card["temperature_from"]


def test_a_new_table_is_read_with_the_scales_and_columns_of_the_run(
    capsys: pytest.CaptureFixture[str],
) -> None:
    g = np.random.default_rng(2)
    head = "colour,length,label"
    rows = [
        f"{'red' if c % 2 else 'blue'},{100 + 10 * c + g.normal():.3f},c{c}"
        for c in range(12)
        for _ in range(12)
    ]
    Path("source.csv").write_text("\n".join([head, *rows]) + "\n")
    new = [f"{colour},{length},{kind}" for kind, colour, length in
           [("x", "red", 101), ("x", "red", 102), ("y", "red", 215), ("y", "red", 216)]]  # fmt: skip
    Path("new.csv").write_text("\n".join(["length,colour,kind", *(f"{r.split(',')[1]},{r.split(',')[0]},"
                                           f"{r.split(',')[2]}" for r in new)]) + "\n")  # fmt: skip
    train = ("dataset=tabular", "dataset.root=source.csv", "dataset.n_way=2", "strategy=protonet",
             "baseline=null", "evaluation.n_tasks=4", "evaluation.n_selection_tasks=2", "training.steps=4",
             "--quiet", "evaluation.timed_seconds=0.01")  # fmt: skip
    code, out, err = call(capsys, "train", *SMALL, *train)
    assert code == 0, err
    run = Path(out.strip())
    code, out, err = call(
        capsys, "adapt", f"run={run}", "dataset=tabular", "dataset.root=new.csv", "dataset.label_column=kind",
        "bundle=b3", "steps=0",
    )  # fmt: skip
    assert code == 0, err
    recipe = json.loads(Path("b3/card.json").read_text())["build"]["recipe"]
    ours = json.loads((run / "environment.json").read_text())["recipe"]
    assert recipe["columns"] == ours["columns"] and recipe["label_column"] == "kind"


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


def adapt_texts(capsys: pytest.CaptureFixture[str], folder: Path, *more: str) -> Bundle:
    """A bundle `b` of three classes of texts, over the model at `folder`."""
    Path("texts.csv").write_text(TEXTS)
    data = ("dataset=text", "dataset.root=texts.csv", f"model.path={folder}", "bundle=b", "steps=2")
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
        settings.append("strategy.source_training=false")
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


def test_what_has_no_low_rank_weights_is_not_exported_to_peft(
    capsys: pytest.CaptureFixture[str], tiny_bert: Path
) -> None:
    adapt(capsys)
    code, _, err = call(capsys, "export", "bundle=b", "format=peft")
    assert (code, err.count("\n")) == (2, 1) and "logistic makes no low-rank weights" in err


def test_one_class_is_no_task(capsys: pytest.CaptureFixture[str]) -> None:
    np.savez("points.npz", x=np.zeros((4, 4), dtype=np.float32), y=np.repeat("a", 4))
    code, _, err = adapt(capsys)
    assert (code, err.count("\n")) == (2, 1) and "all 4 examples are of one class, a" in err


@pytest.mark.parametrize(
    ("argv", "line"),
    [
        (("predict", "bundle=none", "input=x"), "bundle: none is not a bundle"),
        (("predict", "bundle=b"), "input: is needed"),
        (("predict", "bundel=b"), "bundel=b: predict has no such key; did you mean bundle?"),
        (("predict", "bundle=b", "input=absent.npz"), "input: absent.npz is not there; "),
        (
            ("predict", "bundle=b", "input=point.npz"),
            "input: point.npz is not there; did you mean points.npz",
        ),
        (("export", "bundle=b", "input=point.npz"), "input: point.npz is not there; did you mean points.npz"),
        (
            ("adapt", "model=hf_text", "dataset=text"),
            "model.path: is null; give a folder, package:NAME/FOLDER",
        ),
        (("predict", "bundle=b", "input=points.npz", "threshold=2"), "threshold: 2 is not between 0 and 1"),
        (
            ("predict", "bundle=b", "input=points.npz", "on_bad=maybe"),
            "on_bad: 'maybe' is not a valid choice",
        ),
        (("export", "bundle=b", "input=points.npz", "format=exe"), "format: 'exe' is not a valid choice"),
        (("adapt", *SMALL, "dataset=sinusoid"), "dataset: sinusoid is not data of your own"),
        (("adapt", "run=absent", "dataset=arrays"), "run: absent is not a run directory"),
        (("adapt", *SMALL, "dataset=arrays", "dataset.root=points.npz", "steps=-1"), "adapt.steps: -1"),
    ],
)
def test_bad_requests_are_refused_in_one_line(
    capsys: pytest.CaptureFixture[str], argv: tuple[str, ...], line: str
) -> None:
    adapt(capsys)
    code, out, err = call(capsys, *argv)
    assert code == 2 and out == "" and line in err and err.count("\n") == 1
