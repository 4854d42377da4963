from __future__ import annotations

import io
import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from coldstart_cli.core.objectives import Regression
from coldstart_cli.core.tasks import Inputs
from coldstart_cli.datasets.own import layouts
from coldstart_cli.datasets.own.source import Own
from coldstart_cli.datasets.own.table_rows import TableRecipe
from coldstart_cli.datasets.own.tabular import tabular, with_columns
from coldstart_cli.datasets.readers.problems import Problems
from coldstart_cli.errors import RequestError
from coldstart_cli.models.preprocess import Plain

Make = Callable[..., Own]
SMALL = "age,colour,label\n10,red,a\n20,blue,a\n,red,b\n30,,b\n"


def tensor(inputs: Inputs) -> torch.Tensor:
    assert isinstance(inputs, torch.Tensor)
    return inputs


@pytest.fixture
def values(settings: Callable[[str], dict[str, Any]]) -> dict[str, Any]:
    return {**settings("tabular"), "n_way": 2, "n_query": 1}


@pytest.fixture
def make(values: dict[str, Any], tmp_path: Path) -> Make:
    def call(content: str, name: str = "data.csv", **changes: Any) -> Own:
        path = tmp_path / name
        path.write_text(content)
        return tabular(Plain(), **{**values, "root": str(path), **changes})

    return call


def test_columns_are_standardised_one_hot_and_marked(make: Make) -> None:
    labelled = make(SMALL).labelled  # two classes: no training split, so all rows are fitted
    deviation = np.std([10, 20, 30])
    expected = [
        [-10 / deviation, 0, 0, 1],  # age, age is missing, blue, red
        [0, 0, 1, 0],
        [0, 1, 0, 1],
        [10 / deviation, 0, 0, 0],
    ]
    assert np.allclose(tensor(labelled.inputs), expected, atol=1e-6)
    assert labelled.targets.tolist() == [0, 0, 1, 1]


def many(n: int = 12) -> str:
    rows = [f"{c * 100 - i},k{c},c{c:02d}" for c in range(n) for i in range(6)]
    return "x,kind,label\n" + "\n".join(rows) + "\n"


def test_statistics_know_nothing_but_training_rows(make: Make) -> None:
    source = make(many(), keep=["kind"])
    train = source.shares.tables["train"].flat()[0]
    numbers = np.array([c * 100 - i for c in range(12) for i in range(6)])
    age, kind = source.labelled.recipe["columns"]
    assert age["mean"] == pytest.approx(numbers[train].mean())
    assert kind["values"] == sorted(f"k{int(n[1:])}" for n in source.shares.tables["train"].names)
    held = np.concatenate(
        [t.flat()[0] for s, t in source.shares.tables.items() if s in ("new", "validation")]
    )
    assert (tensor(source.labelled.inputs)[held][:, 1:] == 0).all()


def test_recipe_reads_further_rows_as_those(
    make: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = make(many(), keep=["kind"])
    recipe = json.loads(json.dumps(dict(source.labelled.recipe)))
    root = str(tmp_path / "data.csv")
    with pytest.warns(
        RuntimeWarning, match="6 values are of no known category"
    ):  # of classes kept from train
        again = layouts.read_labelled(recipe, Plain(), root, unlabelled=root, on_bad="stop")
    assert torch.equal(tensor(again.inputs), tensor(source.labelled.inputs)) and again.unlabelled is not None
    chunks = list(layouts.read_raw(recipe, Plain(), root, problems=Problems("stop"), chunk=50))
    assert [len(c) for c in chunks] == [50, 22]
    assert torch.equal(torch.cat([tensor(c.inputs) for c in chunks]), tensor(again.inputs))
    # other order, unknown category, missing value, no label, a further column
    (tmp_path / "new.csv").write_text("extra,kind,x\n1,never seen,?\n")
    problems = Problems("stop")
    (raw,) = layouts.read_raw(recipe, Plain(), str(tmp_path / "new.csv"), problems=problems, chunk=9)
    assert (tensor(raw.inputs) == 0).all() and raw.places == ("new.csv row 2",)
    with pytest.warns(RuntimeWarning) as told:
        problems.warn("new.csv")
    assert any(
        "1 values are missing in columns that had none missing" in str(w.message)
        and "(x 1)" in str(w.message)
        for w in told
    )
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(b"x,kind\nten,k1\n10,k1\n")))
    problems = Problems("skip")
    (raw,) = layouts.read_raw(recipe, Plain(), "-", problems=problems, chunk=9)
    assert problems.skipped == ["standard input row 2: column x is 'ten', no finite number"] and len(raw) == 1
    (tmp_path / "new.csv").write_text("kind,x\nk1,10\n,\n")  # as spreadsheets end their exports
    with pytest.raises(
        RequestError, match=r"^new.csv row 3: every column is empty; fill one, or leave such out with dataset"
    ):
        list(layouts.read_raw(recipe, Plain(), str(tmp_path / "new.csv"), problems=Problems("stop"), chunk=9))
    with pytest.raises(RequestError, match="has no column 'kind'"):
        (tmp_path / "new.csv").write_text("x\n1\n")
        list(layouts.read_raw(recipe, Plain(), str(tmp_path / "new.csv"), problems=Problems("stop"), chunk=9))


@pytest.mark.parametrize(
    ("content", "changes", "message"),
    [
        (SMALL, {"label_column": "klass"}, r"data.csv: has no column 'klass' \(dataset.label_column\)"),
        (SMALL, {"label_column": None}, "neither label nor target is named"),
        (SMALL, {"ignore": ["colr"]}, r"has no column 'colr' \(dataset.ignore\[0\]\); did you mean colour"),
        (SMALL, {"target_column": "colour"}, "row 2: column colour is 'red', no finite number"),
        ("label\na\nb\n", {}, "has no column of features"),
        ("x,label\n1,a\n" * 1 + "2,\n", {}, "row 3: column label is empty"),
        ("x,label\n" + "1,a\n" * 12 + "one,b\n", {}, "row 14: column x is 'one', no finite number"),
        ("x,label\n" + "1,a\n" * 12 + "inf,b\n", {}, "row 14: column x is 'inf', no finite number"),
        ("x,label\n" + 2 * "".join(f"v{i},a\n" for i in range(101)), {}, "column x has 101 different values"),
    ],
)
def test_bad_input_is_one_line(make: Make, content: str, changes: dict[str, Any], message: str) -> None:
    with pytest.raises(RequestError, match=message) as caught:
        make(content, **changes)
    assert "\n" not in str(caught.value)


def test_bad_rows_are_skipped_with_their_labels(make: Make) -> None:
    content = "x,label\n" + "".join(f"{i},{'ab'[i % 2]}\n" for i in range(20)) + "one,c\n"
    with pytest.warns(RuntimeWarning, match="1 could not be read and left out: data.csv row 22"):
        labelled = make(content, on_bad="skip").labelled
    assert labelled.classes == ("a", "b") and len(labelled) == 20


def test_categories_may_be_numbers_and_labels_are_no_features(make: Make) -> None:
    rows = "".join(f"{i % 3},{i},{'ab'[i % 2]},{i}\n" for i in range(12))
    changes = {"categories": ["zone"], "target_column": "y", "task_column": None}
    columns = make("zone,id,label,y\n" + rows, ignore=["id"], **changes).labelled.recipe["columns"]
    assert columns == [{"name": "zone", "kind": "category", "values": ["0", "1", "2"]}]


def test_regression_is_one_function_a_task(make: Make) -> None:
    rows = [f"t{t},{x},{t * 10 + x}" for t in range(10) for x in range(5 + t)]
    source = make(
        "task,x,y\n" + "\n".join(rows) + "\n",
        target_column="y",
        label_column=None,
        task_column="task",
        split_by="task",
        held_out_share=0.0,
        k_shot=3,
        n_query=4,
    )
    assert source.shape.n_way is None and source.objective.n_outputs == 1
    sizes = set()
    for split in ("train", "validation", "new"):
        for task in source.tasks(split, range(30)):  # type: ignore[arg-type]
            scaled = torch.cat([task.support.targets, task.query.targets])
            assert isinstance(source.objective, Regression)
            targets = source.objective.values(scaled)[:, 0].round(decimals=3)
            off = task.support.objective.metrics(scaled + 1, scaled)["mse"]  # by one deviation
            assert float(off) == pytest.approx(source.objective.deviation**2, rel=1e-5)
            assert len(set((targets // 10).long().tolist())) <= 2 and len(set(targets.tolist())) == len(
                targets
            )
            assert len(task.support) == 3
            sizes.add((split, len(task.query)))
    assert len({n for split, n in sizes if split == "train"}) == 1  # training stacks tasks
    pool = source.pool("train")
    assert len(pool) == sum(source.shares.tables["train"].sizes) and pool.objective.n_outputs == 1
    known = source.shares.tables["train"].flat()[0]
    y = torch.tensor([float(row.split(",")[2]) for row in rows])[torch.from_numpy(known).long()]
    assert (
        pool.objective
        == source.objective
        == Regression(1, float(y.double().mean()), float(y.double().std(correction=0)))
    )
    alone = make("x,y\n1,2\n2,3\n", target_column="y", label_column=None)
    assert alone.labelled.targets.tolist() == [[-1.0], [1.0]]
    assert alone.labelled.recipe["target_scale"] == [2.5, 0.5]
    with pytest.raises(RequestError, match="a regression is split by task"):
        alone.refusal("new", alone.shape)


def test_columns_of_rows_without_a_label_are_those_that_labelled_ones_would_fit(
    tmp_path: Path, make: Make
) -> None:
    rows = "x,kind,label\n1,a,p\n2,b,q\n4,a,p\n,b,q\n"
    of_labelled = make(rows).labelled.recipe
    pool = tmp_path / "pool.csv"
    pool.write_text(rows.replace(",p\n", ",\n").replace(",q\n", ",\n"))
    fresh = TableRecipe.from_json({**of_labelled, "columns": None})
    assert with_columns(fresh, str(pool)).as_json() == of_labelled
    pool.write_text("label\np\n")
    with pytest.raises(RequestError, match="has no row or no column of features"):
        with_columns(fresh, str(pool))
