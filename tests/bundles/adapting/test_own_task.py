"""What `adapt` reads: stated splits, published data, the source's classes, tasks without labels."""

from __future__ import annotations

import contextlib
import io
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from coldstart_cli import api
from coldstart_cli.bundles.adapting.adapting import adapt
from coldstart_cli.bundles.bundle import Bundle
from coldstart_cli.bundles.predicting.predicting import Asked, predict
from coldstart_cli.cli import main
from coldstart_cli.config import composition
from coldstart_cli.datasets.own.one_task import SourceClasses
from coldstart_cli.errors import RequestError
from coldstart_cli.runs.run import Run
from tests.bundles.test_bundle import PLAN
from tests.kit.bundles import edit

SMALL = ("hardware=cpu", "hardware.threads=1", "experiment=smoke", "baseline=null")


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, torch_settings: None) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("coldstart_cli.experiment.parts._sources", {})  # kept by path
    return tmp_path


def adapted(*overrides: str) -> Bundle:
    ((_, config),) = composition.points([*SMALL, *overrides])
    return adapt(config, PLAN, None)


def test_stated_test_rows_are_scored_and_not_learned_from(here: Path) -> None:
    lines = {"train": [], "test": []}  # type: ignore[var-annotated]
    for i in range(24):
        lines["train" if i < 16 else "test"].append(f"{i % 2 * 5 + i / 100},{'ab'[i % 2]}")
    for name, rows in lines.items():
        Path(f"{name}.csv").write_text("\n".join(["x,label", *rows, ""]))
    bundle = adapted(
        "strategy=logistic", "model=mlp", "model.hidden=[8]", "dataset=tabular", "dataset.root=."
    )
    card = bundle.card
    assert card.data.examples == 16 and card.examples_of == {"a": 8, "b": 8}
    assert card.test is not None and (card.test.metric, card.test.examples) == ("accuracy", 8)
    assert card.test.value == 1.0 and card.test.high == 1.0
    assert card.test.low == pytest.approx(0.025 ** (1 / 8))  # all of n right: (alpha/2)^(1/n)
    assert Bundle.load("bundle").card.test == card.test


def test_published_data_are_learned_from_their_training_part(here: Path) -> None:
    for name, n in (("train", 6), ("test", 4)):
        rows = [
            f"card {i} {'lost' if c else 'new'},{'lost' if c else 'new'}" for c in (0, 1) for i in range(n)
        ]
        Path(f"{name}.csv").write_text("\n".join(["text,category", *rows, ""]))
    bundle = adapted("strategy=scratch", "model=embedding_bag", "dataset=banking77", "dataset.root=.",
                     "dataset.known_duplicates=[]")  # fmt: skip
    assert bundle.card.data.examples == 12 and bundle.card.test is not None
    assert bundle.card.test.examples == 8


def test_source_classes_name_rows_of_the_head_or_say_what_is_new() -> None:
    known = SourceClasses(("ant", "bee", "cat"))
    rows = known.rows(("cat", "ant"))
    assert rows is not None and rows.tolist() == [2, 0] and known.said(("cat", "ant")) == ()
    assert known.rows(("ant", "dog")) is None
    assert known.said(("ant", "dog")) == (
        "1 of 2 classes are not classes of the run's source (dog): its head is left out, and the task learns "
        "one of its own",
    )
    assert SourceClasses().rows(("ant",)) is None and SourceClasses().said(("ant",)) == ()


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What `shifted` has trained so far, a folder for each strategy."""
    return tmp_path_factory.mktemp("trained")


@pytest.fixture
def shifted(here: Path, trained: Path) -> Callable[..., Run]:
    """A run on three classes of points, trained once; the new domain has them moved."""

    def train(strategy: str = "finetune") -> Run:
        place = trained / strategy
        if not place.exists():
            place.mkdir()
            with contextlib.chdir(place):
                made(strategy)
        shutil.copytree(place, here, dirs_exist_ok=True)
        (run,) = Path("outputs").glob(f"{strategy}-*")
        return Run(run)

    def made(strategy: str) -> None:
        g = np.random.default_rng(0)
        y = np.repeat(["ant", "bee", "cat"], 40)
        centre = {"ant": 0.0, "bee": 3.0, "cat": -3.0}
        x = np.stack([g.normal(centre[name], 0.3, 4) for name in y]).astype(np.float32)
        split = np.tile(["train"] * 7 + ["test"] * 3, 12)
        x[split == "test"] += 0.5
        np.savez("shift.npz", x=x, y=y, split=split)
        np.savez("new.npz", x=x[split == "test"], y=y[split == "test"])
        api.train(
            *SMALL, f"strategy={strategy}", "model=mlp", "model.hidden=[8]", "dataset=arrays",
            "dataset.root=shift.npz", "dataset.split_key=split", "dataset.split_by=file", "dataset.n_way=3",
            "training.steps=60", "dataset.n_unlabelled=2", "evaluation.k_shots=[0,1]", quiet=True,
        )  # fmt: skip

    return train


def test_a_run_whose_classes_are_shared_keeps_its_head(shifted: Callable[..., Run]) -> None:
    run = shifted()
    bundle = api.adapt("dataset=arrays", "dataset.root=new.npz", "steps=0", run=run.path, bundle=Path("b"))
    data = np.load("new.npz")
    # after no step the source's head alone answers: without it all answers are one class
    assert np.mean(np.array(bundle.predict(data["x"]).labels) == data["y"]) > 0.9


def test_a_task_without_labels_has_the_classes_of_the_source(shifted: Callable[..., Run]) -> None:
    run, data = shifted(), np.load("new.npz")
    np.savez("free.npz", x=data["x"])
    bundle = api.adapt("dataset=arrays", "dataset.unlabelled=free.npz", run=run.path, bundle=Path("b"))
    assert bundle.card.labels == ("ant", "bee", "cat") and bundle.card.data.examples == 0
    assert np.mean(np.array(Bundle.load("b").predict(data["x"]).labels) == data["y"]) > 0.9


def test_what_adapt_prints_of_a_task_without_labels_speaks_of_none(
    shifted: Callable[..., Run], capsys: pytest.CaptureFixture[str]
) -> None:
    for name in ("finetune", "coral"):
        run = shifted(name)
        np.savez("free.npz", x=np.load("new.npz")["x"])
        words = ("dataset=arrays", "dataset.unlabelled=free.npz", f"run={run.path}", f"bundle={name}")
        assert main(["adapt", *words, "--dry-run"]) == 0
        foretold = capsys.readouterr().out
        assert "adapted to 36 unlabelled examples of 3 classes\n1 adaptation (0 to estimate)" in foretold
        assert main(["adapt", *words]) == 0
        lines = capsys.readouterr().out.splitlines()
        assert lines[0] == f"{name}: {name} (mlp), 3 classes, no labelled example, 36 unlabelled examples"
        assert lines[1] == "accuracy not known: there are no labels to judge by"
        assert f"  coldstart predict bundle={name} input=PATH   (inputs of the same form)" in lines
        if name == "finetune":
            assert lines[2].startswith("no adaptation steps (finetune takes none without labels);")
            assert "finetune learns nothing from 36 examples without labels" in "".join(lines)
        else:
            assert "by the mutual information of unlabelled examples and their answers;" in lines[2]
            assert "learns nothing" not in "".join(lines)


@pytest.mark.parametrize("name", ["dann", "coral"])
def test_a_domain_without_labels_is_aligned_and_deployed(shifted: Callable[..., Run], name: str) -> None:
    run, data = shifted(name), np.load("new.npz")
    np.savez("free.npz", x=data["x"])
    bundle = api.adapt("dataset=arrays", "dataset.unlabelled=free.npz", "steps=1", run=run.path, bundle="b")
    again = Bundle.load("b")
    x = torch.from_numpy(data["x"])
    torch.testing.assert_close(again.outputs(x), bundle.outputs(x), rtol=0, atol=0)
    assert again.predict(data["x"]).classes == ("ant", "bee", "cat")


def test_predict_says_where_inputs_are_of_another_scale(shifted: Callable[..., Run], here: Path) -> None:
    run, data = shifted(), np.load("new.npz")
    bundle = api.adapt("dataset=arrays", "dataset.root=new.npz", run=run.path, bundle=Path("b"))
    assert bundle.card.input_ranges[""].n > len(data["x"])  # the source's
    np.savez("far.npz", x=100 * data["x"] + 300)
    asked = Asked(form="text", threshold=None, top_k=1, probabilities=False, keep=(), batch_size=64,
                  spreadsheet=False)  # fmt: skip
    with pytest.warns(RuntimeWarning, match="input: .* lie far outside what the network was trained on"):
        predict(bundle, "far.npz", asked, io.StringIO(), on_bad="stop")


def of_names(tiny_bert: Path, *more: str) -> tuple[str, ...]:
    """Words that adapt to the classes of said.csv, over the tiny model."""
    Path("said.csv").write_text("label,description\nred,w3 w4 w5\nblue,w10 w11 w12\ngreen,w20 w21 w22\n")
    model = ("model=hf_text_frozen", f"model.path={tiny_bert}", "dataset=text")
    return (*model, "dataset.descriptions=said.csv", *more)


def test_a_task_is_known_by_its_names_alone(here: Path, tiny_bert: Path) -> None:
    bundle = adapted(*of_names(tiny_bert, "strategy=name_centroid"))
    card = bundle.card
    assert card.labels == ("blue", "green", "red") and card.data.examples == 0
    assert card.cross_validation is None and card.steps == 0
    found = Bundle.load(bundle.path).predict(["w10 w11 w12", "w20 w21 w22", "w3 w4 w5"])
    assert list(found.labels) == ["blue", "green", "red"]


def test_a_card_of_before_lacks_keys_that_its_strategy_has_gained(here: Path) -> None:
    Path("data.csv").write_text("a,b,label\n" + "".join(f"{i},{9 - i},{'xy'[i // 5]}\n" for i in range(10)))
    words = ("dataset=tabular", "dataset.root=data.csv", "dataset.keep=[a,b]", "model=features")
    bundle = adapted(*words, "strategy=nearest_centroid")
    rows, strategy = [[1, 8], [8, 1]], dict(bundle.card.build.strategy)
    for key in ("name_weight", "temperature"):
        del strategy[key]
    edit(bundle.path, build={"strategy": strategy})
    found = Bundle.load(bundle.path).predict(rows)
    assert list(found.labels) == list(bundle.predict(rows).labels) == ["x", "y"]


def test_names_and_unlabelled_texts_make_a_bundle_without_a_label(here: Path, tiny_bert: Path) -> None:
    Path("free.txt").write_text("".join(f"w{c} w{c + 1} w{40 + i}\n" for c in (3, 10, 20) for i in range(4)))
    words = of_names(tiny_bert, "dataset.unlabelled=free.txt")
    used = adapted(*words, "strategy=soft_kmeans", "strategy.name_weight=1", "evaluation.steps=[2]").card
    assert used.build.n_unlabelled == 12 and "does not use" not in " ".join(used.said)
    Path("bundle").rename("used")
    said = " ".join(adapted(*words, "strategy=name_centroid").card.said)
    assert "name_centroid answers by the classes' names and does not use the 12 unlabelled examples" in said


def test_labels_beside_descriptions_are_learned_from(here: Path, tiny_bert: Path) -> None:
    Path("data.csv").write_text("text,label\n" + "".join(f"w{c} w9,{c // 10}\n" for c in (3, 4, 13, 14)))
    words = (*of_names(tiny_bert)[:3], "dataset.root=data.csv", "strategy=name_centroid")
    Path("said.csv").write_text("label,description\n0,w3 w4\n")
    said = " ".join(adapted(*words).card.said)
    assert "strategy: it reads what classes are called, and 2 labels say nothing in words (0, 1)" in said
    Path("bundle").rename("first")
    with pytest.warns(RuntimeWarning, match="1 of 2 labels have no description"):
        card = adapted(*words, "dataset.descriptions=said.csv").card
    assert card.data.examples == 4 and "and 1 label says nothing in words (1)" in " ".join(card.said)


@pytest.mark.parametrize(
    ("words", "line"),
    [
        (("strategy=logistic",), "strategy: it learns from labels and k_shot is 0; give labels"),
        (("strategy=name_centroid", "model=conv4", "dataset.descriptions=one.csv"), "dataset.descriptions: "),
        (("strategy=name_centroid", "dataset.descriptions=one.csv"), "dataset.descriptions: names one class"),
        (
            ("strategy=name_centroid", "dataset.descriptions=gone.csv"),
            "dataset.descriptions: gone",
        ),
        (("strategy=name_centroid", "dataset.descriptions=null"), "dataset.root: no file is named; give "),
    ],
)
def test_names_that_cannot_serve_are_refused(
    here: Path, tiny_bert: Path, words: tuple[str, ...], line: str
) -> None:
    Path("one.csv").write_text("label\nred\n")
    kept = [w for w in of_names(tiny_bert) if not any(w.split("=")[0] == x.split("=")[0] for x in words)]
    if "model=conv4" in words:
        kept = [word for word in kept if not word.startswith("model.path")]
    with pytest.raises(RequestError) as caught:
        adapted(*kept, *words)
    assert str(caught.value).startswith(line)
