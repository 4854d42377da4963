"""Exported programs: compared with the bundle before they are anywhere, and saying what they mean."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from coldstart_cli.bundles.bundle import Bundle
from coldstart_cli.bundles.exporting import exporting
from coldstart_cli.bundles.exporting.export_probe import probes
from coldstart_cli.bundles.exporting.exporting import Probe, export, write_tokenizer
from coldstart_cli.cli import main
from coldstart_cli.errors import JobError
from coldstart_cli.files.outputs import is_stream

HARDWARE = ("hardware=cpu", "hardware.threads=1", "experiment=smoke")


@pytest.fixture
def bundle(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, tiny_bert: Path, torch_settings: None) -> Bundle:
    """Two classes of texts over a frozen encoder that reads ten tokens of each."""
    monkeypatch.chdir(tmp_path)
    rows = [f"w{8 * c + i} w{8 * c + (i + 1) % 8},c{c}" for c in range(2) for i in range(4)]
    Path("texts.csv").write_text("\n".join(["text,label", *rows]) + "\n")
    words = ("model=hf_text_frozen", f"model.path={tiny_bert}", "model.preprocess.max_length=10")
    data = ("dataset=text", f"dataset.root={tmp_path / 'texts.csv'}", "bundle=b", "strategy=nearest_centroid")
    assert main(["adapt", *words, *HARDWARE, *data]) == 0
    return Bundle.load("b")


def test_probes_of_texts_reach_the_length_at_which_texts_are_cut(bundle: Bundle) -> None:
    first, long = probes(bundle, None)
    assert isinstance(first.inputs, dict) and isinstance(long.inputs, dict)
    assert first.inputs["input_ids"].shape == (8, 4) and long.inputs["input_ids"].shape == (2, 10)
    assert isinstance(long.own, Tensor) and long.own.shape == (2, 16)  # features of the same texts


class _Nan(nn.Module):
    """A predictor that is nowhere near what was exported."""

    def __init__(self, value: float) -> None:
        super().__init__()
        self.value = value

    def forward(self, inputs: Tensor) -> Tensor:
        return torch.full((len(inputs), 2), self.value)


@pytest.mark.parametrize("value", [1e6, float("nan")])
def test_a_program_that_answers_otherwise_is_nowhere(
    bundle: Bundle, monkeypatch: pytest.MonkeyPatch, value: float
) -> None:
    Path("b.pt2").write_text("the one before")
    own = bundle.module
    difference = exporting._difference

    def other(flat: object, run: object, of: Bundle, probe: Probe) -> float:
        bundle.module = _Nan(value)
        try:
            return difference(flat, run, of, probe)  # type: ignore[arg-type]
        finally:
            bundle.module = own

    monkeypatch.setattr(exporting, "_difference", other)
    with pytest.raises(JobError, match=r"differs from predict by .*; nothing was written"):
        export(bundle, Path("b.pt2"), "pt2", probes(bundle, None))
    assert Path("b.pt2").read_text() == "the one before"
    assert not list(Path().glob("*.partial"))


def test_a_tokenizer_beside_an_export_cuts_and_fills_up_as_the_bundle_does(bundle: Bundle) -> None:
    tokenizers = pytest.importorskip("tokenizers")
    place = write_tokenizer(bundle, Path("some.v1.pt2"), "pt2")
    assert place == Path("some.v1-tokenizer.json")
    texts = ["w1", " ".join(f"w{i}" for i in range(30))]
    theirs = tokenizers.Tokenizer.from_file(str(place)).encode_batch(texts)
    ours = exporting.reads(bundle).texts(texts)
    assert isinstance(ours, dict)
    assert [e.ids for e in theirs] == ours["input_ids"].tolist()
    assert [e.attention_mask for e in theirs] == ours["attention_mask"].int().tolist()


def test_a_program_takes_int64_and_holds_its_facts(bundle: Bundle) -> None:
    export(bundle, Path("b.pt2"), "pt2", probes(bundle, None))
    extra = {exporting.FACTS: ""}
    program = torch.export.load("b.pt2", extra_files=extra)
    facts = json.loads(extra[exporting.FACTS])
    assert facts["labels"] == ["c0", "c1"] and facts["max_length"] == 10
    assert facts["inputs"] == ["attention_mask", "input_ids"] and facts["outputs"] == "logits"
    asked = [node.meta["val"].dtype for node in program.graph.nodes if node.name in facts["inputs"]]
    asked = asked or [v.dtype for v in program.example_inputs[0]]
    assert set(asked) == {torch.int64}
    assert not is_stream(Path("b.pt2"))
