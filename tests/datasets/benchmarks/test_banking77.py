"""BANKING77: both settings in small, and the published files where they are at hand."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from coldstart_cli.datasets.benchmarks.banking77 import banking77
from coldstart_cli.datasets.own.draws import Draws
from coldstart_cli.datasets.own.source import Own
from coldstart_cli.errors import RequestError
from coldstart_cli.models.preprocess import Preprocess

Settings = Callable[[str], dict[str, Any]]


@pytest.mark.parametrize("setting", ["intent", "all"])
def test_published_banking77_is_whole(
    data_root: Path, settings: Settings, bag: Preprocess, setting: str
) -> None:
    values = {**settings("banking77"), "root": str(data_root / "banking77"), "setting": setting}
    source = banking77(bag, **values)
    assert len(source.labelled.classes) == 77
    # eleven pairs of one intent each; the test set has one of them twice
    assert len(source.labelled) == 13_083 - (10 if setting == "all" else 11)
    if isinstance(source, Draws):
        assert len(source.tasks("new", [0])[0].query) == 3080
        assert source.refusal("validation", source.shape) is None


@pytest.fixture
def banking(settings: Settings, tmp_path: Path) -> dict[str, Any]:
    """Ten intents of 6 training and 4 test questions each."""
    for file, n in (("train.csv", 6), ("test.csv", 4)):
        rows = [f'"{file[:4]} question {i}, of {c}",intent{c}' for c in range(10) for i in range(n)]
        (tmp_path / file).write_text("\n".join(["text,category", *rows]) + "\n")
    return {**settings("banking77"), "root": str(tmp_path), "n_query": 3, "known_duplicates": []}


def test_intent_setting_splits_the_intents(banking: dict[str, Any], bag: Preprocess) -> None:
    source = banking77(bag, **banking)
    assert isinstance(source, Own) and len(source.labelled) == 100
    intents = {split: set(table.names) for split, table in source.shares.tables.items()}
    assert len(intents["train"]) + len(intents["validation"]) + len(intents["new"]) == 10
    assert not intents["new"] & (intents["train"] | intents["validation"])
    assert intents["source_test"] == intents["train"]


def test_all_setting_asks_the_whole_test_file(banking: dict[str, Any], bag: Preprocess) -> None:
    source = banking77(bag, **{**banking, "setting": "all", "validation_share": 0.4})
    assert isinstance(source, Draws) and not source.has_source
    (task,) = source.tasks("new", [0])
    assert len(task.query) == 40 and len(task.support) == 10


@pytest.mark.parametrize(("share", "remedy"), [(0.1, "raise"), (0.2, "raise"), (0.95, "lower")])
def test_a_share_that_leaves_an_intent_empty_is_refused(
    banking: dict[str, Any], bag: Preprocess, share: float, remedy: str
) -> None:
    with pytest.raises(
        RequestError, match=rf"^dataset.validation_share: {share} leaves an intent .*; {remedy} it$"
    ):
        banking77(bag, **{**banking, "setting": "all", "validation_share": share})


def test_a_file_without_its_columns_is_refused_by_name(banking: dict[str, Any], bag: Preprocess) -> None:
    Path(banking["root"], "test.csv").write_text("text,intent\nhi,a\n")
    with pytest.raises(RequestError, match=r"test.csv: has no column 'category' \(dataset.root\)"):
        banking77(bag, **banking)
