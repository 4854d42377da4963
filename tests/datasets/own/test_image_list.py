"""Images that a table names: which are read, as what, and what is said of the others."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image

from coldstart_cli.datasets.own import layouts
from coldstart_cli.datasets.own.image_folder import image_folder
from coldstart_cli.datasets.own.image_list import is_list
from coldstart_cli.datasets.own.stated_splits import parted
from coldstart_cli.datasets.readers.problems import Problems
from coldstart_cli.errors import RequestError
from coldstart_cli.models.preprocess import Plain

pytestmark = pytest.mark.usefixtures("own_cache")
Settings = Callable[[str], dict[str, Any]]
ROWS = ["0.png,a,train", "1.png,b,train", "2.png,a,test", "more/3.png,b,test", "4.png,a,val"]


@pytest.fixture
def values(settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """Five grey images of 8 x 8, image i of value i, and `list.csv` elsewhere, which names them all."""
    monkeypatch.chdir(tmp_path)
    Path("data/more").mkdir(parents=True)
    for i in range(5):
        Image.new("L", (8, 8), i).save(f"data/{'more/' if i == 3 else ''}{i}.png")
    write(ROWS)
    few = {"n_way": 2, "n_query": 1, "size": 8, "root": "data", "file_list": "list.csv"}
    return {**settings("image_folder"), **few}


def write(rows: list[str], header: str = "file,label,split", path: str = "list.csv") -> None:
    Path(path).write_text("\n".join([header, *rows]) + "\n")


def pixels(inputs: Any) -> list[int]:
    assert isinstance(inputs, torch.Tensor)
    return [int(value) for value in inputs[:, 0, 0, 0]]


def test_rows_say_label_and_split(values: dict[str, Any]) -> None:
    labelled = image_folder(Plain(), **values).labelled
    assert labelled.classes == ("a", "b") and labelled.targets.tolist() == [0, 1, 0, 1, 0]
    assert pixels(labelled.inputs) == [0, 1, 2, 3, 4]
    assert labelled.places[3] == "list.csv row 5 (more/3.png)"
    found = parted(labelled)
    assert pixels(found.learned.inputs) == [0, 1] and found.test is not None
    assert pixels(found.test.inputs) == [2, 3]
    assert found.said == ("1 examples stated as validation are kept apart and not used",)


def test_a_list_beside_its_files_is_a_root_and_an_input(values: dict[str, Any]) -> None:
    write(["more\\3.png;b;p", "0.png;a;p", "1.png;b;q"], "image;class;person", "data/own.csv")
    own = {"file_list": None, "file_column": "image", "label_column": "class", "group_column": "person"}
    values |= {**own, "root": "data/own.csv"}
    others = r"data: 2 images are not read, .* \(2.png, ...\)"
    with pytest.warns(RuntimeWarning, match="semicolon"), pytest.warns(RuntimeWarning, match=others):
        labelled = image_folder(Plain(), **values).labelled
    assert (
        pixels(labelled.inputs) == [3, 0, 1] and labelled.splits == () and labelled.origin_names == ("p", "q")
    )
    assert labelled.recipe["file_list"] is None and len(labelled.remarks) == 2
    with pytest.warns(RuntimeWarning, match="semicolon"):
        problems = Problems("stop")
        (raw,) = layouts.read_raw(labelled.recipe, Plain(), "data/own.csv", problems=problems, chunk=9)
        problems.warn("own.csv")
    assert pixels(raw.inputs) == [3, 0, 1]
    with pytest.warns(RuntimeWarning, match="semicolon"), pytest.warns(RuntimeWarning, match=others):
        again = layouts.read_labelled(
            labelled.recipe, Plain(), "data/own.csv", unlabelled=None, on_bad="stop"
        )
    assert again.fingerprint == labelled.fingerprint


def test_files_that_are_not_there_are_refused_by_row_or_counted(values: dict[str, Any]) -> None:
    write([*ROWS, "nope.png,a,train", ",a,train", "0.png,,train"])
    with pytest.raises(
        RequestError, match=r"^list.csv row 7: nope.png is not a file of data; .*skip \(E12\)$"
    ):
        image_folder(Plain(), **values)
    with pytest.warns(RuntimeWarning, match="3 could not be read and left out: list.csv row 7: nope.png is"):
        labelled = image_folder(Plain(), **{**values, "on_bad": "skip"}).labelled
    assert [line[:16] for line in labelled.skipped] == [
        "list.csv row 7: ",
        "list.csv row 8: ",
        "list.csv row 9: ",
    ]
    write(["nope.png,a,train"])
    with pytest.raises(RequestError, match=r"^dataset.root: list.csv names no image that is there"):
        image_folder(Plain(), **{**values, "on_bad": "skip"})


def test_a_file_under_two_labels_is_two_examples_that_contradict(values: dict[str, Any]) -> None:
    write([*ROWS, "0.png,b,train"])
    labelled = image_folder(Plain(), **values).labelled
    groups = labelled.near_equal()
    assert groups[0] == groups[5] and labelled.targets[0] != labelled.targets[5]


def test_files_of_the_working_directory_are_read_and_counted(values: dict[str, Any]) -> None:
    Path("sub").mkdir()
    write(["data/0.png,a", "data/1.png,b"], "file,label", "sub/first.csv")
    with pytest.warns(RuntimeWarning, match="2 of its files are not below sub and are read from the working"):
        labelled = image_folder(Plain(), **{**values, "file_list": None, "root": "sub/first.csv"}).labelled
    assert pixels(labelled.inputs) == [0, 1]


def test_columns_and_classes_that_are_not_there_are_refused(values: dict[str, Any]) -> None:
    with pytest.raises(
        RequestError, match=r"^list.csv: has no column 'name' \(dataset.file_column\); .*label"
    ):
        image_folder(Plain(), **{**values, "file_column": "name"})
    with pytest.raises(RequestError, match=r"^dataset.exclude: c is not a class of list.csv"):
        image_folder(Plain(), **{**values, "exclude": ["c"]})
    with pytest.warns(RuntimeWarning, match="data: 2 images are not read"):
        assert image_folder(Plain(), **{**values, "exclude": ["b"]}).labelled.classes == ("a",)
    with pytest.raises(RequestError, match=r"^dataset.file_list: data is no CSV.* file by its name"):
        image_folder(Plain(), **{**values, "file_list": "data"})
    with pytest.raises(RequestError, match=r"^dataset.file_list: list.csv \(dataset.root\) is a table too"):
        image_folder(Plain(), **{**values, "root": "list.csv"})


def test_a_table_is_a_list_and_a_folder_is_none(values: dict[str, Any]) -> None:
    Path("odd.csv").mkdir()
    assert is_list(Path("list.csv")) and not is_list(Path("odd.csv")) and not is_list(Path("data/0.png"))
