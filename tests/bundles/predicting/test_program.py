"""A bundle's own program: the same answers as torch gives, without torch, or a line that says why not."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from coldstart_cli.bundles.bundle import Bundle
from coldstart_cli.bundles.predicting import program
from coldstart_cli.bundles.predicting.program import OnnxPredictor
from coldstart_cli.cli import main
from coldstart_cli.datasets.own.shift import InputRange
from coldstart_cli.errors import RequestError
from tests.kit.adapted import call
from tests.kit.bundles import edit

pytest.importorskip("onnxruntime")
pytest.importorskip("onnxscript")
pytestmark = pytest.mark.filterwarnings("ignore::RuntimeWarning")  # of the text that is cut
SAME = 1e-5
"""Largest difference of a probability."""
TEXTS = ["w1 w2 w3", "w8", "w9 " * 40, "w0 w15 ???", "w12 w13"]


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory, tiny_bert: Path) -> Path:
    """A folder with the bundle `b` and its program, and texts of which one is cut, one line being blank."""
    place = tmp_path_factory.mktemp("made")
    own = [f"w{8 * c + i} w{8 * c + (i + 1) % 8},c{c}" for c in range(2) for i in range(4)]
    (place / "texts.csv").write_text("\n".join(["text,label", *own]) + "\n")
    data = (f"dataset.root={place / 'texts.csv'}", f"bundle={place / 'b'}")
    assert main(["adapt", *words_of(tiny_bert), *data]) == 0
    assert main(["export", f"bundle={place / 'b'}", "inside=true"]) == 0
    new = [f"{i},{text}" for i, text in enumerate(TEXTS)]
    (place / "new.csv").write_text("\n".join(["id,text", *new]) + "\n")
    (place / "new.txt").write_text("\n".join([*TEXTS[:2], "", *TEXTS[2:]]) + "\n")
    return place


def words_of(tiny_bert: Path) -> tuple[str, ...]:
    model = ("model=hf_text_frozen", f"model.path={tiny_bert}", "model.preprocess.max_length=10")
    return (*model, "hardware=cpu", "hardware.threads=1", "experiment=smoke", "dataset=text",
            "strategy=nearest_centroid")  # fmt: skip


@pytest.fixture
def inside(made: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, torch_settings: None) -> Bundle:
    """A copy of it to spoil, in the working folder."""
    shutil.copytree(made, tmp_path, dirs_exist_ok=True)
    monkeypatch.chdir(tmp_path)
    return Bundle.load("b")


def rows(out: str) -> list[dict[str, object]]:
    return [json.loads(line) for line in out.splitlines()]


@pytest.mark.parametrize(
    "words",
    [
        ("input=new.txt",),
        ("input=new.csv", "keep=all", "top_k=2", "probabilities=true", "threshold=0.51"),
        ("input=new.csv", "batch_size=2", "keep=id"),
    ],
)
def test_the_program_answers_as_torch_does(
    inside: Bundle, capsys: pytest.CaptureFixture[str], words: tuple[str, ...]
) -> None:
    said = {}
    for runtime in ("torch", "onnxruntime"):
        code, out, err = call(capsys, "predict", "bundle=b", *words, f"runtime={runtime}", "--json")
        assert code == 0, err
        said[runtime] = rows(out)
    for own, other in zip(said["torch"], said["onnxruntime"], strict=True):
        assert own.keys() == other.keys()
        for key, value in own.items():
            if key in ("probability", "probabilities"):
                assert other[key] == pytest.approx(value, abs=SAME)
            elif key == "top":
                for one, two in zip(value, other[key], strict=True):  # type: ignore[call-overload]
                    assert one["label"] == two["label"]
                    assert one["probability"] == pytest.approx(two["probability"], abs=SAME)
            else:
                assert other[key] == value


def test_the_program_answers_without_torch_and_says_so(inside: Bundle) -> None:
    words = ["predict", "bundle=b", "input=new.txt"]
    code = (
        "import sys; from coldstart_cli.cli import main; "
        f"code = main({words!r}); sys.exit(code or bool({{'torch', 'transformers'}} & sys.modules.keys()))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "1 blank lines have no answer" in done.stderr
    assert "1 of 5 texts are longer than 10 tokens and were cut; train" in done.stderr
    assert "max_length=64" in done.stderr
    assert "answered by onnxruntime" in done.stderr and done.stdout.count("\n") == len(TEXTS)


def test_the_program_notices_a_shift_as_torch_does(inside: Bundle) -> None:
    found = OnnxPredictor.load(Path("b"))
    assert found is not None
    far = {"": InputRange(n=20, low=(50.0,) * 16, high=(51.0,) * 16)}
    found.card = replace(found.card, input_ranges=far)
    own = Bundle(replace(inside.card, input_ranges=far), inside.module, inside.preprocess)
    theirs = own.answered(own.preprocess.texts(TEXTS), None).shift
    ours = found.answered(found.preprocess.texts(TEXTS), None).shift
    assert (
        ours == theirs is not None and found.answered(found.preprocess.texts(TEXTS[:4]), None).shift is None
    )


def test_outputs_come_back_in_the_order_of_the_texts(inside: Bundle) -> None:
    found = OnnxPredictor.load(Path("b"))
    assert found is not None
    together = found.run(found.preprocess.texts(TEXTS * 20))["outputs"]
    alone = [found.run(found.preprocess.texts([text]))["outputs"][0] for text in TEXTS]
    assert np.abs(together - np.tile(alone, (20, 1))).max() < SAME


@pytest.mark.parametrize("name", ["predictor", "tokenizer"])
def test_a_program_that_is_not_the_cards_is_refused_and_torch_answers_still(
    inside: Bundle, capsys: pytest.CaptureFixture[str], name: str
) -> None:
    (place,) = Path("b").glob(f"{name}-*")
    place.write_bytes(place.read_bytes() + b" ")
    code, _, err = call(capsys, "predict", "bundle=b", "input=new.txt")
    assert code == 2 and f"{place} is damaged" in err and err.count("\n") == 1
    assert call(capsys, "predict", "bundle=b", "input=new.txt", "runtime=torch")[0] == 0


def test_a_file_that_is_no_program_is_refused_in_one_line(
    inside: Bundle, capsys: pytest.CaptureFixture[str]
) -> None:
    from coldstart_cli.bundles.kept.folder import add_program

    Path("other.onnx").write_bytes(b"no graph")
    add_program(Path("b"), inside.card, Path("other.onnx"), b"{}")
    code, _, err = call(capsys, "predict", "bundle=b", "input=new.txt")
    assert code == 2 and "cannot be run" in err and "runtime=torch" in err and err.count("\n") == 1
    with pytest.raises(RequestError, match="was replaced"):
        add_program(Path("b"), inside.card, Path("other.onnx"), b"{}")


def test_a_program_of_another_number_of_classes_is_refused(
    inside: Bundle, capsys: pytest.CaptureFixture[str]
) -> None:
    edit(Path("b"), build={"n_outputs": 3})
    code, _, err = call(capsys, "predict", "bundle=b", "input=new.txt")
    assert code == 2 and "it answers in shape (1, 2)" in err and err.count("\n") == 1


def test_without_the_runtime_torch_answers_and_says_what_is_missing(
    inside: Bundle, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(program, "NEEDED", ("no_such_runtime",))
    code, out, err = call(capsys, "predict", "bundle=b", "input=new.txt")
    assert code == 0 and out.count("\n") == len(TEXTS)
    assert (
        "answered by torch: no_such_runtime is not installed (pip install -e '.[hf,onnx]' in the clone)"
        in err
    )
    code, _, err = call(capsys, "predict", "bundle=b", "input=new.txt", "runtime=onnxruntime")
    assert code == 2 and err.startswith("runtime: no_such_runtime is not installed")


def test_a_program_that_is_gone_is_missed_aloud(inside: Bundle, capsys: pytest.CaptureFixture[str]) -> None:
    (place,) = Path("b").glob("predictor-*.onnx")
    place.unlink()
    code, out, err = call(capsys, "predict", "bundle=b", "input=new.txt")
    assert code == 0 and out.count("\n") == len(TEXTS)
    assert "answered by torch: the program that the card names is gone; coldstart export inside=true" in err
    assert "is gone" not in call(capsys, "predict", "bundle=b", "input=new.txt", "runtime=torch")[2]


def test_an_adaptation_leaves_the_program_with_the_version_that_it_is_of(
    inside: Bundle, tiny_bert: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert program.held(Path("b"))
    with Path("texts.csv").open("a") as file:
        file.write("w3 w4 w5,c0\n")
    assert main(["adapt", *words_of(tiny_bert), "dataset.root=texts.csv", "bundle=b"]) == 0
    assert not program.held(Path("b")) and program.held(Path("b/versions/1"))
    assert "predict needs torch again: the ONNX of version 1 is not this one's" in capsys.readouterr().out
    code, _, err = call(capsys, "predict", "bundle=b", "input=new.txt", "runtime=onnxruntime")
    assert code == 2 and "the bundle holds no program; coldstart export inside=true puts one in" in err
    code, out, err = call(capsys, "predict", "bundle=b/versions/1", "input=new.txt", "runtime=onnxruntime")
    assert code == 0 and out.count("\n") == len(TEXTS), err
