"""Splits that files state: `adapt` learns from train, scores test, and counts the rest."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from coldstart_cli.datasets.own import layouts
from coldstart_cli.datasets.own.labelled import Labelled, marks
from coldstart_cli.datasets.own.stated_splits import names_splits, parted, stated_files
from coldstart_cli.datasets.own.tabular import tabular
from coldstart_cli.errors import RequestError
from coldstart_cli.models.preprocess import Plain


def table(path: Path, values: Sequence[tuple[float, str]]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("a,label\n" + "".join(f"{value},{label}\n" for value, label in values))


def read(root: Path, **changes: Any) -> Labelled:
    node = {"root": str(root), "label_column": "label", "target_column": None, "task_column": None,
            "split_column": None, "ignore": [], "categories": [], "max_categories": 9, "encoding": "utf-8",
            "split_by": "class", **changes}  # fmt: skip
    return layouts.read_labelled(
        layouts.fresh_recipe("tabular", node), Plain(), str(root), unlabelled=None, on_bad="stop"
    )


@pytest.mark.parametrize("names", [("train", "test"), ("Train", "val", "TEST"), ("training", "dev")])
def test_names_of_splits_are_known_in_any_case(names: tuple[str, ...]) -> None:
    assert names_splits(names)


@pytest.mark.parametrize("names", [(), ("train",), ("test", "val"), ("train", "test", "cat")])
def test_other_names_state_no_splits(names: tuple[str, ...]) -> None:
    assert not names_splits(names)


@pytest.mark.parametrize("place", ["{}.csv", "{}-00000-of-00001.csv", "{}/rows.csv"])
def test_files_and_folders_named_after_splits_are_read_as_these(tmp_path: Path, place: str) -> None:
    table(tmp_path / place.format("train"), [(1, "x"), (2, "y"), (3, "x")])
    table(tmp_path / place.format("test"), [(9, "x"), (8, "y")])
    found = parted(read(tmp_path))
    assert (len(found.learned), found.said) == (3, ())
    assert found.test is not None and found.test.classes == found.learned.classes == ("x", "y")
    assert found.test.targets.tolist() == [0, 1]
    # fitted to what is learned from alone: the mean of 1, 2, 3 is 2
    (column,) = found.learned.recipe["columns"]
    assert column["mean"] == 2.0


def test_a_stray_table_beside_them_makes_one_table_of_all_and_says_so(tmp_path: Path) -> None:
    for name in ("train", "test", "more"):
        table(tmp_path / f"{name}.csv", [(1, "x"), (2, "y")])
    with pytest.warns(RuntimeWarning, match=r"test\.csv is read as training examples, for more\.csv lies"):
        assert [split for _, split in stated_files(str(tmp_path))] == [None] * 3


def labelled(labels: str, splits: Sequence[str]) -> Labelled:
    marked = marks(list(labels), None, splits, [f"row {i}" for i in range(len(labels))])
    return marked.labelled(torch.arange(len(labels)).float()[:, None], None, (), {})


def test_classes_that_train_lacks_are_not_scored_and_validation_is_kept_apart() -> None:
    found = parted(labelled("abcab", ["train", "train", "test", "test", "val"]))
    assert found.learned.classes == ("a", "b") and found.test is not None
    assert found.test.inputs.tolist() == [[3.0]] and found.test.targets.tolist() == [0]  # type: ignore[union-attr]
    assert found.said == (
        "1 examples stated as validation are kept apart and not used",
        "1 test examples are of classes that train has not, and are not scored",
    )
    assert found.learned.places == ["row 0", "row 1"]


def test_published_splits_stand_in_for_those_of_the_files() -> None:
    found = parted(labelled("abab", ["train"] * 4), ["train", "train", "test", "test"])
    assert len(found.learned) == 2 and found.test is not None and len(found.test) == 2


def test_without_stated_splits_all_is_learned_from_as_it_is() -> None:
    whole = labelled("abab", ["train"] * 4)
    assert parted(whole).learned is whole and parted(whole).test is None


def test_names_of_files_change_no_fingerprint_and_split_by_class_says_that_it_mixes_them(
    tmp_path: Path, settings: Callable[[str], dict[str, Any]]
) -> None:
    rows = [(float(i), "abcdefgh"[i % 8]) for i in range(96)]
    table(tmp_path / "named" / "train.csv", rows[:48])
    table(tmp_path / "named" / "test.csv", rows[48:])
    table(tmp_path / "plain" / "one.csv", rows[48:])  # in the order of the names: test, train
    table(tmp_path / "plain" / "two.csv", rows[:48])
    values = {**settings("tabular"), "n_way": 2, "n_query": 2, "keep": ["a"]}
    named, plain = (tabular(Plain(), **{**values, "root": str(tmp_path / n)}) for n in ("named", "plain"))
    assert named.fingerprint == plain.fingerprint
    with pytest.warns(RuntimeWarning, match="name the splits new, train, which split_by=class does not keep"):
        named.tasks("new", [0])
    by_file = tabular(Plain(), **{**values, "root": str(tmp_path / "named"), "split_by": "file"})
    assert {split: int(t.sizes.sum()) for split, t in by_file.shares.tables.items()}["new"] == 48


def test_files_whose_names_differ_in_the_split_alone_state_it(tmp_path: Path) -> None:
    for name in ("my_train-v2.csv", "my_test-v2.csv"):
        table(tmp_path / name, [(1.0, "a")])
    assert {split for _, split in stated_files(str(tmp_path))} == {"train", "test"}
    table(tmp_path / "my_other.csv", [(1.0, "a")])
    assert {split for _, split in stated_files(str(tmp_path))} == {None}


def test_a_column_that_names_splits_is_refused_as_a_feature(
    tmp_path: Path, settings: Callable[[str], dict[str, Any]]
) -> None:
    rows = "".join(f"{i % 5}.{i},{'ab'[i % 2]},{('train', 'test')[i % 3 == 0]}\n" for i in range(24))
    (tmp_path / "rows.csv").write_text(f"x,label,part\n{rows}")
    values = {**settings("tabular"), "root": str(tmp_path / "rows.csv")}
    with pytest.raises(
        RequestError, match=r"column part names splits of the rows \(train 16, test 8\); name it"
    ):
        tabular(Plain(), **values)
    kept = tabular(Plain(), **{**values, "keep": ["part"]})
    assert [column["name"] for column in kept.labelled.recipe["columns"]] == ["x", "part"]


def test_test_examples_that_are_learned_from_are_not_scored_and_persons_on_both_sides_are_said() -> None:
    x = torch.tensor([[0.0], [1.0], [2.0], [0.0], [3.0], [4.0]])
    marked = marks(list("abaaba"), None, ["train"] * 3 + ["test"] * 3, [f"row {i}" for i in range(6)])
    found = parted(marked.from_origins(list("uvuuvw")).labelled(x, None, (), {}))
    assert found.test is not None and len(found.learned) == 3
    assert found.test.inputs.tolist() == [[3.0], [4.0]]  # type: ignore[union-attr]
    assert found.said == (
        "1 of 3 test examples are among the training examples, exactly or nearly, and are not scored",
        "1 of 2 test examples are of persons or sessions that are learned from as well "
        "(dataset.group_column): their score says nothing of new ones",
    )


def test_names_are_those_of_the_classes_that_are_kept() -> None:
    marked = marks(list("bcab"), None, ["train", "train", "test", "test"], ["row"] * 4)
    called = torch.tensor([[1.0], [2.0], [3.0]])
    found = parted(replace(marked.labelled(torch.zeros(4, 1), None, (), {}), names=called))
    assert found.learned.classes == ("b", "c")
    assert isinstance(found.learned.names, torch.Tensor)
    assert found.learned.names.tolist() == [[2.0], [3.0]]
