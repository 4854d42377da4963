"""A card written and read: each key has the type that it must have."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from coldstart_cli.bundles.kept.card import (
    FORMAT,
    BuildFacts,
    Card,
    CrossValidation,
    DataFacts,
    InputFacts,
    Seconds,
    read_card,
)
from coldstart_cli.config import composition
from coldstart_cli.errors import RequestError
from coldstart_cli.models.pretrained.files_read import FilesRead
from tests.kit.bundles import put_card


@pytest.fixture(scope="module")
def card() -> Card:
    ((_, config),) = composition.points(["strategy=protonet", "model=mlp"])
    build = BuildFacts(
        recipe={"layout": "arrays"}, strategy=config["strategy"], model=config["model"],
        optimizer=config["optimizer"], seed=0, n_steps=1, facts={"n_way": 2},
        inputs={"": InputFacts(shape=(4,), dtype="float32")}, classification=True, n_outputs=2, counts=(3, 4),
        n_unlabelled=0, from_base=("encoder.w",),
    )  # fmt: skip
    return Card(
        format=FORMAT, made_by="coldstart 0", made="2020", strategy="protonet", model="mlp", run=None,
        licence=None, data=DataFacts(hash="0", examples=7, skipped=0), labels=("ant", "bee"),
        examples_of={"ant": 3, "bee": 4}, steps=0, steps_chosen_by="given", threshold=0.0, build=build,
        cross_validation=CrossValidation(
            metric="accuracy", mean=0.5, half_width=None, confidence=0.95, folds=2, repeats=1
        ),
        temperature=1.5, temperature_from="labels", seconds=Seconds(adaptation=0.1, in_all=0.2),
        files={"weights-0123456789abcdef.safetensors": "00"},
        pretrained=FilesRead(contents=("a", "b"), revision=None),
    )  # fmt: skip


def test_a_card_is_read_as_it_was_written(card: Card, tmp_path: Path) -> None:
    (tmp_path / "card.json").write_text(card.as_json())
    assert read_card(tmp_path / "card.json") == card


def test_a_card_of_an_earlier_version_lacks_what_came_later(card: Card, tmp_path: Path) -> None:
    values = json.loads(card.as_json())
    for key in ("files", "pretrained", "sizes"):
        del values[key]
    del values["digest"]
    (tmp_path / "card.json").write_text(json.dumps({**values, "format": 1, "unknown": 3}))
    found = read_card(tmp_path / "card.json")
    assert found == replace(card, format=1, files=None, pretrained=None)


@pytest.mark.parametrize("made_in", [FORMAT, 3])
def test_class_names_that_were_swapped_by_hand_are_not_believed(
    card: Card, tmp_path: Path, made_in: int
) -> None:
    text = replace(card, format=made_in).as_json()  # a card of format 3 has a digest once it is written again
    (tmp_path / "card.json").write_text(text.replace('"ant",', '"bee",', 1).replace('"bee"\n', '"ant"\n', 1))
    with pytest.raises(RequestError, match=r"card\.json is damaged or was edited"):
        read_card(tmp_path / "card.json")
    (tmp_path / "card.json").write_text(json.dumps(json.loads(text), sort_keys=True))  # laid out otherwise
    assert read_card(tmp_path / "card.json").labels == ("ant", "bee")


def change(*keys: str, to: Any) -> Callable[[dict[str, Any]], None]:
    def call(values: dict[str, Any]) -> None:
        for key in keys[:-1]:
            values = values[key]
        values[keys[-1]] = to

    return call


@pytest.mark.parametrize(
    ("spoil", "line"),
    [
        (change("format", to=FORMAT + 1), f"reads up to {FORMAT}; install a newer one"),
        (change("format", to="1"), "install a newer one"),
        (change("labels", to="ant"), "labels: labels is not a list"),
        (change("files", to={"weights": 3}), "is damaged"),
        (change("pretrained", to={"contents": ["a"]}), "revision is missing"),
        (change("temperature", to=0), "is damaged"),
        (change("threshold", to=1.5), "is damaged"),
        (change("build", "counts", to=[-1, 2]), "is damaged"),
        (change("build", "counts", to=[1 << 40, 2]), "is damaged"),  # zeros that no memory holds
        (change("build", "inputs", to={"": {"shape": [4], "dtype": "save"}}), "is damaged"),
        (change("build", "strategy", "_target_", to="os.system"), "is not trusted"),
    ],
)
def test_what_no_card_of_ours_holds_is_refused_in_one_line(
    card: Card, tmp_path: Path, spoil: Callable[[dict[str, Any]], None], line: str
) -> None:
    values = json.loads(card.as_json())
    spoil(values)
    put_card(tmp_path, values)
    with pytest.raises(RequestError, match=r"^bundle") as caught:
        read_card(tmp_path / "card.json")
    assert line in str(caught.value) and "\n" not in str(caught.value)


@pytest.mark.parametrize("version", [0, -3, 10**9, "1", None])
def test_a_version_that_names_no_folder_is_refused(card: Card, tmp_path: Path, version: object) -> None:
    put_card(tmp_path, {**json.loads(card.as_json()), "version": version})
    with pytest.raises(RequestError, match="is damaged"):
        read_card(tmp_path / "card.json")
