"""Sentences: draws of labels from small files of their shape, and the real ones where they are at hand."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from coldstart_cli.core.tasks import TaskShape
from coldstart_cli.datasets.audit.audit import audit
from coldstart_cli.datasets.audit.task_bank import Asked
from coldstart_cli.datasets.benchmarks.sentences import sentences
from coldstart_cli.datasets.own.draws import Draws
from coldstart_cli.errors import RequestError
from coldstart_cli.models.preprocess import Preprocess

Settings = Callable[[str], dict[str, Any]]
WORDS = ("good", "bad")


@pytest.fixture
def small(settings: Settings, tmp_path: Path) -> dict[str, Any]:
    """cr.csv in one part, 20 texts a class; trec.csv in three, of 10, 6 and 5."""
    whole = [f"{word} thing {i},{word}" for word in WORDS for i in range(20)]
    (tmp_path / "cr.csv").write_text("\n".join(["text,label", *whole, ""]))
    parts = [
        f"{word} {part} {i},{word},{part}"
        for word in WORDS
        for part, n in (("train", 10), ("validation", 6), ("test", 5))
        for i in range(n)
    ]
    (tmp_path / "trec.csv").write_text("\n".join(["text,label,split", *parts, ""]))
    return {**settings("sentences"), "root": str(tmp_path), "k_shot": 2}


def counts(source: Draws) -> dict[str, tuple[int, int]]:
    """Split -> (examples to draw from, queries)."""
    return {split: (len(source.pool(split)), len(part.queries)) for split, part in source.parts.items()}


def test_one_published_part_is_divided_class_by_class(small: dict[str, Any], bag: Preprocess) -> None:
    source = sentences(bag, **small)
    # 4 of 20 are the test set; of the other 16 one fifth, 3, validates: 1 or 2 to draw from, the rest asked
    assert not source.has_source and counts(source)["new"] == (2 * 13, 2 * 4)
    assert sum(counts(source)["validation"]) == 2 * 3
    first, second = source.tasks("new", [0, 1])
    assert torch.bincount(first.support.targets).tolist() == [2, 2] and first.query is second.query
    assert torch.bincount(first.query.targets).tolist() == [4, 4]
    other = sentences(bag, **{**small, "split_seed": 1})
    assert other.fingerprint != source.fingerprint == sentences(bag, **small).fingerprint


def test_published_parts_are_kept(small: dict[str, Any], bag: Preprocess) -> None:
    source = sentences(bag, **{**small, "name": "trec"})
    assert counts(source) == {"validation": (6, 6), "new": (20, 10)}
    assert source.labelled.classes == ("bad", "good") and source.labelled.names is not None
    few = sentences(bag, **{**small, "name": "trec", "n_query": 3})
    assert counts(few)["new"] == (20, 6)
    assert torch.bincount(few.tasks("new", [0])[0].query.targets).tolist() == [3, 3]


def test_repeated_training_texts_are_left_out_with_their_count(
    small: dict[str, Any], bag: Preprocess
) -> None:
    file = Path(small["root"], "trec.csv")
    rows = [
        "Good  TEST 1!,good,train",  # of the test set
        "good train 2.,good,train",  # twice
        "bad train 3,good,train",  # of two classes: both go
        "good test 0,good,test",  # the test set stays as it is
    ]
    file.write_text(file.read_text() + "\n".join(rows) + "\n")
    with pytest.warns(
        RuntimeWarning, match=r"trec.csv: 4 of 46 texts repeat another one .*; nothing"
    ) as told:
        source = sentences(bag, **{**small, "name": "trec"})
    assert len(told) == 1 and counts(source) == {"validation": (6, 6), "new": (19, 11)}


def test_a_row_without_a_text_is_left_out_with_its_place(small: dict[str, Any], bag: Preprocess) -> None:
    file = Path(small["root"], "trec.csv")
    file.write_text(file.read_text() + " ,good,train\n")
    with pytest.warns(
        RuntimeWarning, match=r"1 could not be read .*: .*trec.csv row 44: column text is empty"
    ):
        source = sentences(bag, **{**small, "name": "trec"})
    assert counts(source)["new"] == (20, 10)


def test_audit_takes_the_classes_of_all_draws_as_those_of_one_task(
    small: dict[str, Any], bag: Preprocess
) -> None:
    source = sentences(bag, **{**small, "name": "trec"})
    asked = [Asked(("evaluation",), split, TaskShape(2, 1, 5, 0), 3) for split in ("validation", "new")]
    (found,) = (one for one in audit(source, asked, []).findings if one.check.startswith("classes of"))
    assert found.check == "classes of validation and new are those of one task, in their order"
    assert (found.note, found.n_leaks) == ("draws of one task: declared", 0)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"root": None}, r"^dataset.root: sentences are read .* cr.csv; name it with dataset.root=DIR$"),
        ({"name": "ag_news"}, r"^dataset.root: \S+ holds no ag_news_test.csv; name the folder that does$"),
        ({"validation_share": 0.01}, r"^dataset.validation_share: 0.01 leaves .*; raise it$"),
    ],
)
def test_what_cannot_be_read_is_refused(
    small: dict[str, Any], bag: Preprocess, change: dict[str, Any], message: str
) -> None:
    with pytest.raises(RequestError, match=message):
        sentences(bag, **{**small, **change})


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ("a text,good,dev", r"trec.csv row 44: its split is 'dev'; name one of train, validation, test$"),
        ("a text,,train", r"trec.csv row 44: it has no label; fill column label$"),
    ],
)
def test_a_damaged_row_is_refused_by_its_place(
    small: dict[str, Any], bag: Preprocess, row: str, message: str
) -> None:
    file = Path(small["root"], "trec.csv")
    file.write_text(file.read_text() + row + "\n")
    with pytest.raises(RequestError, match=message):
        sentences(bag, **{**small, "name": "trec"})


@pytest.mark.filterwarnings("ignore:.*(texts repeat another one|could not be read):RuntimeWarning")
@pytest.mark.parametrize(
    ("name", "n_way", "n_test"),
    [
        ("cr", 2, 754), ("mr", 2, 2132), ("subj", 2, 2000), ("sst2", 2, 1821), ("sst5", 5, 2210),
        ("trec", 6, 500), ("ag_news", 4, 1520),
    ],
)  # fmt: skip
def test_real_sentences_have_their_published_test_sets(
    data_root: Path, settings: Settings, bag: Preprocess, name: str, n_way: int, n_test: int
) -> None:
    folder = data_root / "sentences"
    if not folder.is_dir():
        pytest.skip(f"{folder} is not there; set COLDSTART_DATA")
    source = sentences(bag, **{**settings("sentences"), "root": str(folder), "name": name})
    (task,) = source.tasks("new", [0])
    assert source.n_way == n_way and len(task.query) == n_test and len(task.support) == 8 * n_way
    assert source.refusal("validation", source.shape) is None
