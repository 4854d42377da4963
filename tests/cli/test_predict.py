"""`coldstart predict`: its words, what it prints and the file that it writes."""

from __future__ import annotations

import json
import shutil
import warnings
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from coldstart_cli.bundles.bundle import Bundle
from coldstart_cli.cli import main
from tests.kit.places import REPOSITORY

EARLIER = REPOSITORY / "tests" / "data" / "flat_layout" / "bundle"


@pytest.fixture(autouse=True)
def _here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, torch_settings: None) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("coldstart_cli.experiment.parts._sources", {})  # kept by relative path


@pytest.fixture
def answered(capsys: pytest.CaptureFixture[str]) -> Callable[..., tuple[int, str, str]]:
    """`coldstart predict` over the bundle of before with further words: (exit code, output, errors)."""
    shutil.copytree(EARLIER, "bundle")

    def call(*words: str) -> tuple[int, str, str]:
        capsys.readouterr()
        code = main(["predict", "bundle=bundle", *words])
        return code, *capsys.readouterr()

    return call


def test_columns_are_kept_beside_the_answer(answered: Callable[..., tuple[int, str, str]]) -> None:
    Path("two.csv").write_text("id,b,a,label\n-7,2,1,@x\n8,-3,9,y\n")
    _, out, _ = answered("input=two.csv", "keep=id,label", "--csv")
    heads, first = (line.split(",") for line in out.splitlines()[:2])
    assert heads == ["input", "id", "given_label", "label", "probability"]
    assert first[:4] == ["two.csv row 2", "-7", "@x", "x"]
    _, out, _ = answered("input=two.csv", "keep=all", "--json")
    assert json.loads(out.splitlines()[1])["b"] == "-3"
    code, _, err = answered("input=two.csv", "keep=idd")
    assert code == 2 and err.startswith("keep: two.csv row 2 has no column 'idd'; did you mean id?")


def test_further_labels_and_all_probabilities_are_told(answered: Callable[..., tuple[int, str, str]]) -> None:
    Path("two.csv").write_text("b,a\n2,1\n-3,9\n")
    _, out, _ = answered("input=two.csv", "top_k=5", "probabilities=true", "--json")
    first = json.loads(out.splitlines()[0])
    assert [one["label"] for one in first["top"]] == ["x", "y"] and set(first["probabilities"]) == {"x", "y"}
    assert sum(first["probabilities"].values()) == pytest.approx(1, abs=1e-5)
    _, out, _ = answered("input=two.csv", "top_k=2", "probabilities=true", "--csv")
    assert out.splitlines()[0] == "input,label,probability,label_2,probability_2,p(x),p(y)"
    _, out, _ = answered("input=two.csv", "top_k=2")
    assert out.splitlines()[0] == "x\t0.974\ty\t0.026\ttwo.csv row 2"


def test_output_is_a_new_file_that_is_whole_or_absent(answered: Callable[..., tuple[int, str, str]]) -> None:
    Path("two.csv").write_text("b,a\n2,1\n-3,9\n")
    code, out, _ = answered("input=two.csv", "output=answers.csv", "batch_size=1")
    assert (code, out) == (0, "") and len(Path("answers.csv").read_text().splitlines()) == 3
    code, _, err = answered("input=two.csv", "output=answers.csv")
    assert code == 2 and err == "output: answers.csv is already there; name a new file\n"
    Path("bad.csv").write_text("b,a\n2,1\n-3,word\n")
    code, _, err = answered("input=bad.csv", "output=other.jsonl", "batch_size=1")
    assert code == 2 and "'word', no finite number" in err and not list(Path().glob("*other*"))
    assert answered("input=two.csv", "output=o.json")[2].startswith(
        "output: o.json would hold an object a line"
    )


def test_outputs_that_are_no_numbers_are_no_answer(
    answered: Callable[..., tuple[int, str, str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    Path("two.csv").write_text("b,a\n2,1\n-3,9\n")
    sound = Bundle.outputs
    spoiled = torch.tensor([[0.0], [float("nan")]])
    monkeypatch.setattr(Bundle, "outputs", lambda self, inputs: sound(self, inputs) + spoiled)
    code, out, err = answered("input=two.csv", "--json")
    assert (
        code == 2
        and "NaN" not in out
        and "two.csv row 3: the predictor's outputs for it are no finite" in err
    )
    with warnings.catch_warnings():
        warnings.simplefilter("always")
        code, out, err = answered("input=two.csv", "--json", "on_bad=skip")
    assert code == 0 and len(out.splitlines()) == 1 and "1 could not be read and left out" in err


@pytest.mark.parametrize(
    ("words", "line"),
    [
        (["top_k=1.5"], "top_k: 1.5 is not a whole number; write top_k=3"),
        (["top_k=0"], "top_k: 0 is "),
        (["batch_size=many"], "batch_size: "),
        (["threshold=-0.1"], "threshold: -0.1 is not between 0 and 1"),
        (["output=o.json", "--csv"], "bundle: bundle is not a bundle"),  # a flag goes before the file's name
    ],
)
def test_values_are_refused_before_the_bundle_is_read(
    words: list[str], line: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["predict", "bundle=bundle", "input=two.csv", *words]) == 2
    err = capsys.readouterr().err
    assert err.startswith(line) and err.count("\n") == 1
