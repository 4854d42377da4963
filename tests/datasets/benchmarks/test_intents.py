"""CLINC150 and BANKING77: made-up files of their shape, and the published ones where they are at hand."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from coldstart_cli.core.tasks import TaskShape
from coldstart_cli.datasets.benchmarks.banking77 import banking77
from coldstart_cli.datasets.benchmarks.clinc150 import clinc150
from coldstart_cli.datasets.benchmarks.intents import Utterance, without_duplicates
from coldstart_cli.datasets.own.draws import Draws
from coldstart_cli.datasets.own.source import Own
from coldstart_cli.errors import RequestError
from coldstart_cli.experiment import assembly
from coldstart_cli.models.preprocess import Preprocess

Settings = Callable[[str], dict[str, Any]]
DOMAINS = {d: [f"{d}{i}" for i in range(4)] for d in ("bank", "home", "work", "travel")}


@pytest.fixture
def clinc(settings: Settings, tmp_path: Path) -> dict[str, Any]:
    """Four domains of four intents: 6 training, 4 validation and 5 test utterances each."""
    intents = [intent for names in DOMAINS.values() for intent in names]
    data = {
        part: [[f"{intent} {part} {i}", intent] for intent in intents for i in range(n)]
        for part, n in (("train", 6), ("val", 4), ("test", 5))
    }
    (tmp_path / "data_full.json").write_text(json.dumps({**data, "oos_test": [["what", "oos"]]}))
    (tmp_path / "domains.json").write_text(json.dumps(DOMAINS))
    changes = {"root": str(tmp_path), "new_domain": "work", "n_query": 3, "known_duplicates": []}
    return {**settings("clinc150"), **changes}


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


def test_all_setting_draws_labels_and_asks_the_whole_test_set(clinc: dict[str, Any], bag: Preprocess) -> None:
    source = clinc150(bag, **{**clinc, "setting": "all", "k_shot": 2, "n_unlabelled": 1})
    assert isinstance(source, Draws) and not source.has_source and source.shape.n_way == 16
    first, second = source.tasks("new", [0, 1])
    assert len(first.query) == 16 * 5 and first.query is second.query
    assert torch.bincount(first.support.targets).tolist() == [2] * 16
    assert first.support.seed != second.support.seed
    one = source.with_shape(TaskShape(16, 1, 5, 0)).tasks("new", [0])[0]
    few, many = (t.support.inputs["counts"] for t in (one, first))  # type: ignore[index]
    assert torch.equal(few, many[::2])
    again = source.tasks("new", [1])[0].support.inputs["counts"]  # type: ignore[index]
    assert torch.equal(again, second.support.inputs["counts"])  # type: ignore[index]
    assert source.refusal("train", source.shape) and "lower k_shot" in str(
        source.refusal("new", TaskShape(16, 7, 1, 0))
    )
    validation = source.with_shape(TaskShape(16, 1, 5, 1)).tasks("validation", [0])[0]
    assert len(validation.query) == 16 * 2 and len(source.pool("new")) == 16 * 6
    with pytest.raises(ValueError, match="without train"):
        source.pool("train")


def test_source_without_training_serves_what_learns_nothing_from_one(
    clinc: dict[str, Any], bag: Preprocess, monkeypatch: pytest.MonkeyPatch, torch_settings: None
) -> None:
    from coldstart_cli.config import composition

    source = clinc150(bag, **{**clinc, "setting": "all", "k_shot": 2})
    monkeypatch.setattr(assembly, "source_of", lambda config: source)
    monkeypatch.setattr(source, "input_shape", (32,))  # type: ignore[attr-defined]
    wanted = ["experiment=smoke", "hardware=cpu", "hardware.threads=1", "model=mlp", "evaluation.k_shots=[2]"]

    def assembled(*overrides: str) -> assembly.Experiment:
        ((_, config),) = composition.points([*wanted, *overrides])
        return assembly.assemble(config)

    assert not assembled("strategy=scratch").strategy.learns_from_source
    for strategy in ("protonet", "finetune", "leep", "maml"):
        with pytest.raises(
            RequestError, match="strategy: it learns from a source and this data set has none"
        ):
            assembled(f"strategy={strategy}")


def test_duplicates_are_kept_once_or_not_at_all() -> None:
    def said(text: str, intent: str, part: Any) -> Utterance:
        return Utterance(text, intent, "", part, "")

    twice = [
        said("hi", "a", "train"),
        said(" hi", "a", "test"),
        said("so", "a", "train"),
        said("so", "b", "test"),
    ]
    kept = without_duplicates(twice, ["hi", "so"], "key", whole_test=False)
    assert kept == [twice[0]]
    assert without_duplicates(twice, ["hi", "so"], "key", whole_test=True) == [twice[1], twice[3]]


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
