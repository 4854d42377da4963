"""CLINC150 and BANKING77: made-up files of their shape, and the published ones where they are at hand."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import pytest
import torch

from coldstart_cli.core.contents import content_hash
from coldstart_cli.core.tasks import TaskShape
from coldstart_cli.datasets.benchmarks.clinc150 import clinc150
from coldstart_cli.datasets.benchmarks.intents import Utterance, without_duplicates
from coldstart_cli.datasets.own.draws import Draws
from coldstart_cli.errors import RequestError
from coldstart_cli.experiment import assembly
from coldstart_cli.models.preprocess import Preprocess

Settings = Callable[[str], dict[str, Any]]


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
def test_tasks_and_pool_know_what_their_intents_are_called(
    clinc: dict[str, Any], bag: Preprocess, setting: str
) -> None:
    source = clinc150(bag, **{**clinc, "setting": setting, "n_way": None if setting == "all" else 2})
    task = source.tasks("new", [0])[0]
    assert task.support.names is not None
    named = task.support.names["counts"]  # type: ignore[index]
    read = task.support.inputs["counts"]  # type: ignore[index]
    # Every utterance begins with the name of its intent: "bank0 train 3".
    assert named.sum(1).tolist() == [1] * len(named)
    assert all((read[i] >= named[c]).all() for i, c in enumerate(task.support.targets.tolist()))
    pool = source.pool("new")
    assert pool.read_names is not None
    examples = pool.examples(torch.arange(len(pool)))
    names = pool.read_names["counts"][examples.targets]  # type: ignore[index]
    assert (examples.inputs["counts"] >= names).all()  # type: ignore[index]


class Shouting(Preprocess):
    """Another model's reading of the same texts."""

    fingerprint, reads_text = "shouting", True
    images = vectors = None  # type: ignore[assignment]

    def texts(self, texts: Sequence[str]) -> torch.Tensor:
        return torch.tensor([[len(text)] for text in texts])


@pytest.mark.parametrize("setting", ["all", "domain"])
def test_two_models_tasks_differ_in_what_is_read_and_not_in_their_raw_hash(
    clinc: dict[str, Any], bag: Preprocess, setting: str
) -> None:
    changes = {"setting": setting, "k_shot": 2, "n_way": None if setting == "all" else 3}
    sources = [clinc150(of, **{**clinc, **changes}) for of in (bag, Shouting())]
    ours, theirs = (source.tasks("new", range(4)) for source in sources)
    assert [content_hash(task) for task in ours] != [content_hash(task) for task in theirs]
    hashes = [task.raw_hash for task in ours]
    assert hashes == [task.raw_hash for task in theirs] and None not in hashes
    assert len(set(hashes)) == 4
    shape = replace(sources[0].shape, k_shot=1)
    assert not {task.raw_hash for task in sources[0].with_shape(shape).tasks("new", range(4))} & {*hashes}
    if sources[0].has_source:  # tasks to learn from are compared by nobody
        assert sources[0].tasks("train", [0])[0].raw_hash is None
