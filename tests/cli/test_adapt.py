"""`adapt`, `predict` and `export` as a user types them."""

from __future__ import annotations

import csv
import io
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.kit.adapted import SMALL, adapt, call

pytestmark = pytest.mark.usefixtures("points")


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
            "input: point.npz is not there; did you mean points.npz? (E10)",
        ),
        (
            ("export", "bundle=b", "input=point.npz"),
            "input: point.npz is not there; did you mean points.npz? (E10)",
        ),
        (
            ("adapt", "strategy=logistic", "model=hf_text", "dataset=text"),
            "model.path: is null; give a folder, package:NAME/FOLDER",
        ),
        (("predict", "bundle=b", "input=points.npz", "threshold=2"), "threshold: 2 is not between 0 and 1"),
        (
            ("predict", "bundle=b", "input=points.npz", "on_bad=maybe"),
            "on_bad: 'maybe' is not a valid choice",
        ),
        (("export", "bundle=b", "input=points.npz", "format=exe"), "format: 'exe' is not a valid choice"),
        (("adapt", *SMALL, "dataset=sinusoid"), "dataset: sinusoid is not data of your own"),
        (
            ("adapt", "dataset.root=points.npz"),
            "dataset: none is named that reads dataset.root; choose dataset=",
        ),
        (
            ("adapt", *SMALL, "keep_version=2"),
            "keep_version: there is no such key; did you mean keep_versions?",
        ),
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


def test_adapting_again_says_what_changed_and_keeps_the_version_before(
    capsys: pytest.CaptureFixture[str],
) -> None:
    words = ("overwrite=false", "bundle=again")
    assert adapt(capsys, *words)[0] == 0
    _, out, _ = adapt(capsys, *words)
    assert out.startswith("again: nothing has changed since version 1, which is found again (overwrite=true")
    with np.load("points.npz") as found:
        x, y = found["x"], found["y"].astype(object)
    y[0] = y[-1]
    more = np.concatenate([x[1:], x[:1], 5 + x[:2]])
    np.savez("points.npz", x=more, y=np.array([*y[1:], *y[:1], "new", "new"], dtype=str))
    code, out, err = adapt(capsys, *words)
    assert code == 0, err
    assert (
        "version 2, since version 1 (bundle=again/versions/1): 2 examples added, 0 examples removed, "
        "1 example with another label; 1 class added (new)\n" in out
    )
    assert (
        "back to version 1: coldstart adapt bundle=again version=1   (this one is kept as version 2)" in out
    )
    assert "% now on the 10 rows that both held out, by today's labels: " in out and "% interval [" in out
    assert "drift of the inputs cannot be told: classes with earlier and added rows have too few" in out
    before = call(capsys, "predict", "bundle=again/versions/1", "input=points.npz")[1]
    assert before.count("\n") == 12 and "new\t" not in before
    code, out, _ = call(capsys, "adapt", "bundle=again", "version=1")
    assert code == 0 and "note: version 1 again, put back in place of version 2" in out
    first = (
        "again: now version 3, which is version 1 again, put back in place of version 2; as it was made:\n"
    )
    assert out.startswith(first)
    assert call(capsys, "predict", "bundle=again", "input=points.npz")[1] == before
