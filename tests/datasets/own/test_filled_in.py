"""Tables that a person fills in: their rows are examples like those of the root, once they have a label."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from coldstart_cli.datasets.own.filled_in import further, having_label
from coldstart_cli.datasets.own.image_folder import image_folder
from coldstart_cli.datasets.own.tabular import tabular
from coldstart_cli.datasets.own.text import text
from coldstart_cli.datasets.readers.problems import Problems
from coldstart_cli.errors import RequestError
from coldstart_cli.models.preprocess import Plain, Preprocess

pytestmark = pytest.mark.usefixtures("own_cache")
Settings = Callable[[str], dict[str, Any]]
FEW = {"n_way": 2, "k_shot": 1, "n_query": 1}


@pytest.fixture(autouse=True)
def _here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def test_rows_without_a_label_are_counted_and_the_others_pass() -> None:
    problems = Problems("stop")
    rows = [(f"row {i}", {"label": label}) for i, label in enumerate(["a", "", None, "  ", "b", 0])]
    kept = list(having_label(rows, Path("x/next.csv"), "label", problems))
    assert [place for place, _ in kept] == ["row 0", "row 4", "row 5"]
    with pytest.warns(RuntimeWarning, match=r"next\.csv: 3 of 6 rows have no label yet and are left out"):
        problems.warn("x")
    assert len(list(having_label([("row 1", {"other": ""})], Path("n.csv"), "label", problems))) == 1


def test_a_table_that_is_not_there_is_refused() -> None:
    with pytest.raises(RequestError, match=r"^dataset\.labelled: next\.csv is not there; name a table"):
        further(["next.csv"])
    Path("next.txt").touch()
    with pytest.raises(RequestError, match=r"^dataset\.labelled: next\.txt is no CSV"):
        further(["next.txt"])


def test_texts_of_the_root_come_first_and_a_root_need_not_be(settings: Settings, bag: Preprocess) -> None:
    Path("a.csv").write_text("text,label\none,x\ntwo,y\nthree,x\n")
    Path("b.csv").write_text("id,text,label\n7,four,y\n8,five,\n")
    Path("c.csv").write_text("text,label\nsix,x\nseven,y\n")
    values = {**settings("text"), **FEW}
    with pytest.warns(RuntimeWarning, match=r"b\.csv: 1 of 2 rows"):
        found = text(bag, **{**values, "root": "a.csv", "labelled": ["b.csv", "c.csv"]}).labelled
    places = [f"{name}.csv row {row}" for name, row in ("a2", "a3", "a4", "b2", "c2", "c3")]
    assert [*found.places] == places and found.targets.tolist() == [0, 1, 0, 1, 0, 1]
    assert "labelled" not in found.recipe
    alone = text(bag, **{**values, "root": None, "labelled": ["a.csv", "c.csv"]}).labelled
    assert alone.targets.tolist() == [0, 1, 0, 0, 1]
    with pytest.raises(
        RequestError, match=r"a\.csv row 5: column label is empty"
    ):  # the root's own rows have labels
        Path("a.csv").write_text("text,label\none,x\ntwo,y\nthree,x\nnine,\n")
        text(bag, **{**values, "root": "a.csv", "labelled": ["c.csv"]})


def test_rows_of_a_table_are_scaled_with_the_others_and_are_for_training(settings: Settings) -> None:
    Path("split").mkdir()
    Path("split/train.csv").write_text("a,label\n1,x\n3,y\n2,x\n6,y\n")
    Path("split/test.csv").write_text("a,label\n9,x\n")
    Path("next.csv").write_text("a,label\n4,y\n5,\n")
    values = {**settings("tabular"), **FEW, "split_by": "file", "keep": ["a"]}
    with pytest.warns(RuntimeWarning, match="1 of 2 rows have no label yet"):
        found = tabular(Plain(), **{**values, "root": "split", "labelled": ["next.csv"]}).labelled
    said = [found.splits[i] for i in found.split_of]
    assert said == ["new", "train", "train", "train", "train", "train"] and len(found) == 6


def test_images_of_folders_and_of_a_list_are_one_data_set(settings: Settings) -> None:
    for name in ("data/x/0", "data/x/1", "data/y/2", "pool/3", "pool/4"):
        Path(name).parent.mkdir(parents=True, exist_ok=True)
        Image.new("L", (8, 8), 10 * int(name[-1])).save(f"{name}.png")
    Path("next.csv").write_text("file,label\npool/3.png,y\npool/4.png,\n")
    values = {**settings("image_folder"), **FEW, "size": 8, "root": "data", "labelled": ["next.csv"]}
    with pytest.warns(RuntimeWarning, match="1 of 2 rows have no label yet"):
        found = image_folder(Plain(), **values).labelled
    assert found.classes == ("x", "y") and found.targets.tolist() == [0, 0, 1, 1]
    assert [int(value) for value in found.inputs[:, 0, 0, 0]] == [0, 10, 20, 30]  # type: ignore[index]
    Path("person.csv").write_text("file,label,task\npool/3.png,y,t\n")
    with pytest.raises(RequestError, match=r"^dataset\.labelled: some images have tasks and others do not"):
        image_folder(Plain(), **{**values, "labelled": ["person.csv"], "task_column": "task"})
