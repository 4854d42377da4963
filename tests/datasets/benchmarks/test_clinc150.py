"""CLINC150: domains, settings and damage; and the published files where they are at hand."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from coldstart_cli.datasets.benchmarks.clinc150 import clinc150
from coldstart_cli.datasets.own.draws import Draws
from coldstart_cli.datasets.own.source import Own
from coldstart_cli.errors import RequestError
from coldstart_cli.models.preprocess import Preprocess

Settings = Callable[[str], dict[str, Any]]


def test_domain_setting_keeps_a_domain_for_new_tasks_and_one_for_validation(
    clinc: dict[str, Any], bag: Preprocess
) -> None:
    source = clinc150(bag, **clinc)
    assert isinstance(source, Own) and source.shape.n_way == 4
    domains = {split: set(table.origins) for split, table in source.shares.tables.items()}
    assert domains == {
        "train": {"bank", "home"},
        "validation": {"travel"},
        "new": {"work"},
        "source_test": {"bank", "home"},
    }
    assert set(source.shares.tables["train"].sizes) == {10} and set(source.shares.tables["new"].sizes) == {15}
    assert set(source.pool("train").groups) == {"bank", "home"}
    held = source.shares.tables["source_test"].flat()[0]
    assert all("test" in source.labelled.places[i] for i in held)
    named = clinc150(bag, **{**clinc, "validation_domain": "bank"})
    assert isinstance(named, Own) and set(named.shares.tables["validation"].origins) == {"bank"}


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"new_domain": "banks"}, r"dataset.new_domain: banks is not a domain; did you mean bank"),
        ({"validation_domain": "work"}, "work is the new domain; choose another, or null"),
        ({"known_duplicates": ["nobody says"]}, r"dataset.known_duplicates: 'nobody says' is not a text"),
        ({"root": "/nowhere"}, r"dataset.root: /nowhere holds no data_full.json"),
    ],
)
def test_wrong_settings_are_one_line(
    clinc: dict[str, Any], bag: Preprocess, changes: dict[str, Any], message: str
) -> None:
    with pytest.raises(RequestError, match=message):
        clinc150(bag, **{**clinc, **changes})


@pytest.mark.parametrize("content", ["{", "[]", '{"train": [["a"]], "val": [], "test": []}', "{}"])
def test_damaged_file_is_one_line(clinc: dict[str, Any], bag: Preprocess, content: str) -> None:
    (Path(clinc["root"]) / "data_full.json").write_text(content)
    with pytest.raises(RequestError, match=r"data_full.json: .*; fetch it anew"):
        clinc150(bag, **clinc)


@pytest.mark.parametrize("setting", ["domain", "intent", "all"])
def test_published_clinc150_is_whole(
    data_root: Path, settings: Settings, bag: Preprocess, setting: str
) -> None:
    values = {**settings("clinc150"), "root": str(data_root / "clinc150"), "setting": setting}
    source = clinc150(bag, **values)
    assert len(source.labelled.classes) == 150
    assert source.shape.n_way == {"domain": 15, "intent": 30, "all": 150}[setting]
    # five pairs, of which one has one intent
    assert len(source.labelled) == 22_500 - (7 if setting == "all" else 9)
    if isinstance(source, Draws):
        assert len(source.tasks("new", [0])[0].query) == 4500
    else:
        counts = {split: len(table) for split, table in source.shares.tables.items()}
        if setting == "domain":
            assert counts == {"train": 120, "validation": 15, "new": 15, "source_test": 120}
        assert len(source.tasks("new", [0])[0].query) == 15 * (source.shape.n_way or 0)
