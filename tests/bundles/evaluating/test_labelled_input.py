"""How labelled files are read for a bundle, and which are refused."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from coldstart_cli.bundles.bundle import Bundle
from coldstart_cli.bundles.evaluating.labelled_input import read_scored, rows_at
from coldstart_cli.errors import RequestError
from tests.kit.places import REPOSITORY

EARLIER = REPOSITORY / "tests" / "data" / "flat_layout" / "bundle"


@pytest.fixture(autouse=True)
def _here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def test_classes_are_numbered_as_the_bundles_are() -> None:
    Path("t.csv").write_text("a,b,kind\n1,2,y\n2,3,other\n3,4,x\n")
    found = read_scored(Bundle.load(EARLIER), "t.csv", "kind", "stop")
    assert found.numbers.tolist() == [1, -1, 0]
    assert list(found.unknown) == ["y", "other", "x"]
    places = {"t.csv row 3"}
    assert rows_at(found.recipe, "t.csv", places) == {"t.csv row 3": {"a": "2", "b": "3", "kind": "other"}}


def test_test_rows_of_stated_splits_are_scored_alone() -> None:
    Path("data").mkdir()
    Path("data/train.csv").write_text("a,b,label\n1,2,x\n2,3,y\n")
    Path("data/test.csv").write_text("a,b,label\n5,5,y\n6,5,x\n7,5,y\n")
    found = read_scored(Bundle.load(EARLIER), "data", None, "stop")
    assert len(found.labelled) == 3 and "its 3 test rows are scored" in " ".join(found.said)


def test_marks_of_the_bundles_own_data_may_be_lacking() -> None:
    Path("t.csv").write_text("a,b,label\n1,2,y\n2,3,x\n")
    bundle = Bundle.load(EARLIER)
    recipe = {**bundle.card.build.recipe, "group_column": "subject"}
    bundle.card = replace(bundle.card, build=replace(bundle.card.build, recipe=recipe))
    assert "no column subject" in read_scored(bundle, "t.csv", None, "stop").said[0]


def test_rows_without_a_label_and_labels_of_another_task_are_refused_in_a_line() -> None:
    Path("t.csv").write_text("a,b,label\n1,2,X\n2,3,X\n")
    bundle = Bundle.load(EARLIER)
    with pytest.raises(RequestError, match=r"^input: t\.csv has no label that the bundle knows \(the most"):
        read_scored(bundle, "t.csv", None, "stop")
    with pytest.raises(RequestError, match=r"has no column 'kind' \(label_column\)"):
        read_scored(bundle, "t.csv", "kind", "stop")
    Path("t.csv").write_text("a,b,label\n1,2,x\n2,3,\n")
    with pytest.raises(RequestError, match="column label is empty"):
        read_scored(bundle, "t.csv", None, "stop")
    with pytest.warns(RuntimeWarning, match="1 could not be read"):
        found = read_scored(bundle, "t.csv", None, "skip")
    assert found.said == ("1 row could not be read and is left out",)
