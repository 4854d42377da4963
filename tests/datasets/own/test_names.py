"""What classes are called: labels in words, a user's descriptions, and labels that say nothing."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from coldstart_cli.core.contents import content_hash
from coldstart_cli.datasets.own.names import (
    Wording,
    described,
    named,
    saying_their_name,
    says_nothing,
    worded,
)
from coldstart_cli.datasets.own.source import Own
from coldstart_cli.datasets.own.text import text
from coldstart_cli.errors import RequestError
from coldstart_cli.models.preprocess import Plain, Preprocess
from coldstart_cli.runs.migrations import completed
from coldstart_cli.runs.run import run_name

Made = Callable[..., Own]
ROWS = "text,label\n" + "".join(f"text {i} of kind{c},red_kind{c}\n" for c in range(9) for i in range(5))


@pytest.fixture
def made(settings: Callable[[str], dict[str, Any]], bag: Preprocess, tmp_path: Path) -> Made:
    def call(descriptions: str | None = None, **changes: Any) -> Own:
        (tmp_path / "data.csv").write_text(ROWS)
        values = {**settings("text"), "n_way": 2, "n_query": 1, "root": str(tmp_path / "data.csv"), **changes}
        if descriptions is not None:
            (tmp_path / "said.csv").write_text(descriptions)
            values["descriptions"] = str(tmp_path / "said.csv")
        return text(bag, **values)

    return call


def every(text_of: Callable[[int], str]) -> str:
    return "label,description\n" + "".join(f"red_kind{c},{text_of(c)}\n" for c in range(9))


def counts(source: Own) -> torch.Tensor:
    assert source.labelled.names is not None
    return source.labelled.names["counts"]  # type: ignore[index]


def test_labels_are_read_in_words_and_descriptions_in_their_place_or_beside_them(
    made: Made, bag: Preprocess
) -> None:
    plain, instead = made(), made(every(lambda c: f"hue {c}"))
    beside = made(every(lambda c: f"hue {c}"), descriptions_beside=True)
    words = {
        plain: [f"red kind{c}" for c in range(9)],
        instead: [f"hue {c}" for c in range(9)],
        beside: [f"red kind{c}: hue {c}" for c in range(9)],
    }
    for source, expected in words.items():
        assert torch.equal(counts(source), bag.texts(expected)["counts"])  # type: ignore[index]
        assert source.named and source.nameless == ()


def test_descriptions_change_the_fingerprint_and_no_task(made: Made) -> None:
    sources = [made(), made(every(lambda c: f"hue {c}")), made(every(lambda c: f"tone {c}"))]
    assert len({source.fingerprint for source in sources}) == 3
    hashes = {content_hash(source.tasks("new", [0])[0]) for source in sources}
    assert len(hashes) == 1
    named = [source.tasks("new", [0])[0].support.names for source in sources]
    assert not torch.equal(named[0]["counts"], named[1]["counts"])  # type: ignore[index]
    # Without descriptions the fingerprint is that of before there were any: labels are in it.
    assert sources[0].labelled.fingerprint == replace(sources[0].labelled, names=None).fingerprint


def test_a_run_of_before_keeps_its_name() -> None:
    dataset = {"_target_": "coldstart_cli.datasets.banking77", "n_way": 5, "root": "a"}
    strategy = {"_target_": "coldstart_cli.strategies.NearestCentroid", "centre": True}
    older: dict[str, Any] = {
        **{key: {"_target_": "x"} for key in ("model", "optimizer", "training")},
        "seed": 0,
        "strategy": strategy,
        "dataset": dataset,
        "hardware": {"precision": "fp32"},
        "names": {"strategy": "nearest_centroid", "dataset": "banking77", "model": "m"},
    }
    now = completed(older)
    assert now["dataset"]["descriptions"] is None and now["strategy"]["name_weight"] == 0.0
    assert run_name(now, "f") == run_name(older, "f")
    # Where the table of descriptions lies is no part of the name: what it says is in the fingerprint.
    placed = {**now, "dataset": {**now["dataset"], "descriptions": "b.csv"}}
    assert run_name(placed, "f") == run_name(older, "f") != run_name(placed, "g")
    read = {**now, "strategy": {**now["strategy"], "name_weight": 1.0}}
    assert run_name(read, "f") != run_name(older, "f")


def test_what_descriptions_lack_or_have_too_much_is_counted(made: Made) -> None:
    said = "label,description\nred_kind0,a\nred_kind1,\nred_knd2,b\n"
    with pytest.warns(RuntimeWarning) as warned:
        source = made(said)
    lines = sorted(str(warning.message) for warning in warned)
    assert [line.partition(": ")[2] for line in lines] == [
        "1 of its 3 labels are no labels of the data (red_knd2) and are not used; did you mean red_kind2?",
        "8 of 9 labels have no description (red_kind1, red_kind2, red_kind3, ...) and are read as they are; "
        "describe them",
    ]
    assert set(lines) <= set(source.labelled.remarks)


@pytest.mark.parametrize(
    ("said", "message"),
    [
        ("label,description\nx,a\ny,b\n", r"none of its 2 labels is a label of the data \(x, y\); "),
        (
            "label,description\nred_kind0,a\nred_kind0,b\n",
            "said.csv row 3: the label red_kind0 has a row already",
        ),
        ("label,description\n,a\n", "said.csv row 2: column label is empty; fill it"),
        ("name,description\nred_kind0,a\n", r"has no column 'label' \(dataset.descriptions\)"),
        ("label,description\n", "has no row; write one for each label"),
    ],
)
def test_descriptions_that_cannot_be_meant_are_refused(made: Made, said: str, message: str) -> None:
    with pytest.raises(RequestError, match=message):
        made(said)


def test_descriptions_need_a_file_labels_and_a_model_that_reads(made: Made, tmp_path: Path) -> None:
    labelled = made().labelled
    (tmp_path / "said.txt").write_text("label\n")
    for file, message in (
        ("gone.csv", "is not a file; name a table"),
        ("said.txt", "^dataset.descriptions: .* is no CSV"),
    ):
        with pytest.raises(RequestError, match=message):
            described(str(tmp_path / file))
    with pytest.raises(RequestError, match=r"^dataset.descriptions: this model reads no text"):
        worded("said.csv", Plain(), beside=False)
    with pytest.raises(RequestError, match=r"^dataset.descriptions: reals have no labels"):
        named(replace(labelled, labels=()), Plain(), Wording("said.csv", {"a": "b"}, beside=False))
    assert named(labelled, Plain(), worded(None, Plain(), beside=False)) is labelled


def test_descriptions_are_refused_before_examples_are_read(
    settings: Callable[[str], dict[str, Any]], bag: Preprocess
) -> None:
    with pytest.raises(RequestError, match=r"^dataset.descriptions: gone.csv is not a file"):
        text(bag, **{**settings("text"), "root": "gone too.csv", "descriptions": "gone.csv"})


@pytest.mark.parametrize("label", ["7", "3.5", "-1", "a", "B2", "label_3", "Class 12", "LABEL3", "deadbeef01",
                                   "123e4567-e89b-12d3-a456-426614174000"])  # fmt: skip
def test_labels_that_say_nothing(label: str) -> None:
    assert says_nothing(label)


@pytest.mark.parametrize("label", ["card_arrival", "no", "top up", "facade", "5 stars", "größe", "defaced"])
def test_labels_that_say_something(label: str) -> None:
    assert not says_nothing(label)


def test_a_described_label_is_a_name(made: Made, tmp_path: Path) -> None:
    (tmp_path / "numbers.csv").write_text(ROWS.replace("red_kind", "label_"))
    root = str(tmp_path / "numbers.csv")
    assert made(root=root).nameless == tuple(f"label_{c}" for c in range(9))
    said = every(lambda c: f"hue {c}").replace("red_kind", "label_")
    assert made(said, root=root).nameless == ()


def test_a_name_stands_in_a_text_word_by_word() -> None:
    texts = ["Where is my lost-card?", "lost cards", "the LOST card", "no"]
    found = saying_their_name(texts, np.array([0, 0, 0, 1]), ["lost_card", "no"])
    assert found.tolist() == [True, False, True, True]
    assert saying_their_name(["I know"], np.array([0]), ["no"]).tolist() == [False]
