from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from coldstart_cli.core.tasks import Inputs, Split, Task, TaskShape
from coldstart_cli.datasets.episodes.classes import ClassTable, class_table
from coldstart_cli.datasets.episodes.counter import distinct, task_keys
from coldstart_cli.datasets.episodes.episodes import Episodes
from coldstart_cli.errors import RequestError
from tests.kit.places import REPOSITORY

N_CLASSES = 12
SHAPE = TaskShape(3, 2, 3, 2)


def tensor(inputs: Inputs | None) -> Tensor:
    assert isinstance(inputs, Tensor)
    return inputs


def numbered(sizes: Sequence[int], *, groups: int, turns: bool, shape: TaskShape, bank_seed: int) -> Episodes:
    """Examples whose first pixels are their own number: what a task holds can be read off it."""
    total = sum(sizes)
    images = torch.zeros(total, 1, 4, 4, dtype=torch.uint8)
    images[:, 0, 1, 1] = torch.arange(total) % 256
    images[:, 0, 1, 2] = torch.arange(total) // 256
    ends = np.cumsum(sizes)
    classes = [list(range(end - size, end)) for end, size in zip(ends.tolist(), sizes, strict=True)]
    group_of = [number % groups for number in range(total)] if groups else None
    quarter_turns = [number % 4 for number in range(len(sizes))] if turns else None
    every = class_table(classes, group_of=group_of, quarter_turns=quarter_turns, origins=())
    few = class_table(
        [ids[:4] for ids in classes], group_of=group_of, quarter_turns=quarter_turns, origins=()
    )
    splits: dict[Split, ClassTable] = {"train": every, "validation": every, "new": every, "source_test": few}
    return Episodes("numbered", images, splits, shape=shape, bank_seed=bank_seed)


def ids(inputs: Inputs) -> list[int]:
    """The numbers of examples that are not turned."""
    pixels = tensor(inputs).int()
    numbers: list[int] = (pixels[:, 0, 1, 1] + 256 * pixels[:, 0, 1, 2]).tolist()
    return numbers


def parts(task: Task) -> tuple[list[int], list[int], list[int]]:
    unlabelled = task.support.unlabelled
    return ids(task.support.inputs), ids(task.query.inputs), [] if unlabelled is None else ids(unlabelled)


def same(one: Task, other: Task) -> bool:
    return (
        torch.equal(tensor(one.support.inputs), tensor(other.support.inputs))
        and torch.equal(tensor(one.query.inputs), tensor(other.query.inputs))
        and torch.equal(one.support.targets, other.support.targets)
        and one.support.seed == other.support.seed
        and one.name == other.name
    )


sources = st.builds(
    numbered,
    st.lists(st.integers(16, 40), min_size=3, max_size=N_CLASSES),
    groups=st.sampled_from([0, 2, 3, 4]),
    turns=st.just(False),
    shape=st.builds(TaskShape, st.integers(2, 3), st.integers(1, 2), st.integers(1, 3), st.integers(0, 2)),
    bank_seed=st.integers(0, 2**64),
)
splits: st.SearchStrategy[Split] = st.sampled_from(["train", "validation", "new"])


@settings(deadline=None, max_examples=60)
@given(sources, splits, st.lists(st.integers(0, 10**9), min_size=1, max_size=5))
def test_tasks_hold_different_examples_of_distinct_classes(
    source: Episodes, split: Split, indices: list[int]
) -> None:
    table = source.splits[split]
    class_of = {int(i): c for c in range(len(table)) for i in table.members(c)}
    group_of = {}
    if table.groups is not None:
        group_of = dict(zip(table.ids.tolist(), table.groups.tolist(), strict=True))
    for task in source.tasks(split, indices):
        support, query, unlabelled = parts(task)
        everything = support + query + unlabelled
        assert len(set(everything)) == len(everything)
        classes = [class_of[i] for i in support[:: source.shape.k_shot]]
        assert len(set(classes)) == source.shape.n_way
        for examples, targets in ((support, task.support.targets), (query, task.query.targets)):
            assert [class_of[i] for i in examples] == [classes[t] for t in targets.tolist()]
        assert sorted(class_of[i] for i in unlabelled) == sorted(classes * source.shape.n_unlabelled)
        if group_of:
            taught = {group_of[i] for i in support + unlabelled}
            assert not taught & {group_of[i] for i in query}


@settings(deadline=None, max_examples=30)
@given(sources, splits, st.lists(st.integers(0, 10**9), min_size=2, max_size=5))
def test_tasks_are_the_same_in_batches_and_one_by_one(
    source: Episodes, split: Split, indices: list[int]
) -> None:
    for task, index in zip(source.tasks(split, indices), indices, strict=True):
        assert same(task, source.tasks(split, [index])[0])


@settings(deadline=None, max_examples=40)
@given(sources, splits, st.integers(0, 10**9))
def test_supports_are_nested_and_queries_stay(source: Episodes, split: Split, index: int) -> None:
    shape = source.shape
    fewer = source.with_shape(replace(shape, k_shot=1, n_unlabelled=0)).tasks(split, [index])[0]
    more = source.with_shape(replace(shape, k_shot=3)).tasks(split, [index])[0]
    assert torch.equal(tensor(fewer.query.inputs), tensor(more.query.inputs))
    for label in range(shape.n_way or 0):
        few, many = (ids(tensor(t.support.inputs)[t.support.targets == label]) for t in (fewer, more))
        assert few == many[: len(few)]


@pytest.mark.parametrize("turns", [False, True])
def test_tasks_differ_between_indices_splits_and_seeds(turns: bool) -> None:
    sizes = [30] * N_CLASSES
    source, other = (numbered(sizes, groups=0, turns=turns, shape=SHAPE, bank_seed=seed) for seed in (0, 1))
    assert source.fingerprint == other.fingerprint
    tasks = source.tasks("train", [0, 1]) + source.tasks("new", [0]) + other.tasks("train", [0])
    assert len({tensor(t.support.inputs).numpy().tobytes() for t in tasks}) == 4
    assert len({t.support.seed for t in tasks}) == 4


def test_tasks_do_not_depend_on_the_process() -> None:
    source = numbered([30] * N_CLASSES, groups=4, turns=False, shape=SHAPE, bank_seed=3)
    here = [parts(t) for t in source.tasks("new", [5, 6])], [source.tasks("new", [5])[0].support.seed]
    program = (
        "from tests.datasets.episodes.test_episodes import *\n"
        "s = numbered([30] * N_CLASSES, groups=4, turns=False, shape=SHAPE, bank_seed=3)\n"
        "print(([parts(t) for t in s.tasks('new', [5, 6])], [t.support.seed for t in s.tasks('new', [5])]))"
    )
    path = os.pathsep.join(["src", ".", *sys.path])
    # Strings hash otherwise there: by a number that no process draws of itself.
    there = subprocess.run(
        [sys.executable, "-c", program],
        env={**os.environ, "PYTHONHASHSEED": "77", "PYTHONPATH": path},
        capture_output=True,
        text=True,
        check=True,
        cwd=REPOSITORY,
    ).stdout
    assert there.strip() == str(here)


def test_rotated_classes_are_rotated_images() -> None:
    sizes = [20] * N_CLASSES
    upright, turned = (numbered(sizes, groups=0, turns=t, shape=SHAPE, bank_seed=0) for t in (False, True))
    table = turned.splits["train"]
    assert table.quarter_turns is not None
    for plain, rotated in zip(upright.tasks("train", range(9)), turned.tasks("train", range(9)), strict=True):
        for before, after in (
            (plain.support.inputs, rotated.support.inputs),
            (plain.query.inputs, rotated.query.inputs),
        ):
            turns = [int(table.quarter_turns[number // 20]) for number in ids(before)]
            for image, result, turn in zip(tensor(before), tensor(after), turns, strict=True):
                assert torch.equal(image.rot90(turn, (-2, -1)), result)
        free, turned_free = tensor(plain.support.unlabelled), tensor(rotated.support.unlabelled)
        first = int(table.quarter_turns[ids(free)[0] // 20])
        assert torch.equal(free[0].rot90(first, (-2, -1)), turned_free[0])
    pool = turned.pool("train")
    last = pool.examples(torch.tensor([len(pool) - 1]))
    assert torch.equal(tensor(last.inputs)[0], tensor(upright.inputs)[-1].rot90(3, (-2, -1)))
    assert int(last.targets) == N_CLASSES - 1 == pool.objective.n_outputs - 1


def test_source_test_cuts_queries_down_and_says_when_it_cannot() -> None:
    source = numbered([20] * N_CLASSES, groups=0, turns=False, shape=TaskShape(3, 1, 9, 0), bank_seed=0)
    assert source.refusal("source_test", source.shape) is None
    assert len(source.tasks("source_test", [0])[0].query) == 3 * 3
    five = source.with_shape(replace(source.shape, k_shot=5))
    assert five.refusal("source_test", five.shape) == (
        "numbered: 3-way tasks need 5 + 1 examples a class on source_test, the class holds 4; "
        "lower k_shot or n_query"
    )
    with pytest.raises(ValueError, match="on source_test"):
        five.tasks("source_test", [0])
    assert source.pool("source_test").objective == source.pool("train").objective


@pytest.mark.parametrize(
    ("shape", "reason"),
    [
        (
            TaskShape(3, 1, 40, 0),
            "numbered: 3-way tasks need 1 [+] 40 examples a class on train, the class holds 20",
        ),
        (TaskShape(3, 8, 13, 0), "need 8 [+] 13 examples .* lower k_shot or n_query"),
        (TaskShape(13, 1, 1, 0), "13-way tasks need 13 classes on train, which has 12; lower n_way"),
        (TaskShape(None, 1, 1, 0), "set n_way"),
        (TaskShape(3, 1, 0, 0), "is not a task"),
    ],
)
def test_shapes_that_cannot_be_served_are_refused(shape: TaskShape, reason: str) -> None:
    source = numbered([20] * N_CLASSES, groups=0, turns=False, shape=SHAPE, bank_seed=0)
    with pytest.raises(ValueError, match=reason):
        source.with_shape(shape)
    with pytest.raises(RequestError, match=reason):
        numbered([20] * N_CLASSES, groups=0, turns=False, shape=shape, bank_seed=0)


def test_shape_that_new_tasks_alone_can_serve_is_a_view() -> None:
    source = numbered([20] * N_CLASSES, groups=0, turns=False, shape=SHAPE, bank_seed=0)
    source.splits["train"] = source.splits["source_test"]  # four examples a class
    wide = source.with_shape(TaskShape(3, 5, 9, 0))
    assert len(wide.tasks("new", [0])[0].query) == 27
    with pytest.raises(ValueError, match="on train"):
        wide.tasks("train", [0])


def test_missing_split_is_refused() -> None:
    source = numbered([20] * N_CLASSES, groups=0, turns=False, shape=SHAPE, bank_seed=0)
    del source.splits["source_test"]
    assert "no examples are held out" in str(source.refusal("source_test", SHAPE))
    with pytest.raises(ValueError, match="no examples are held out"):
        source.pool("source_test")


def test_fingerprint_follows_the_content() -> None:
    one, equal = (numbered([20, 20, 21], groups=2, turns=True, shape=SHAPE, bank_seed=s) for s in (0, 5))
    other = numbered([20, 21, 20], groups=2, turns=True, shape=SHAPE, bank_seed=0)
    assert one.fingerprint == equal.fingerprint != other.fingerprint
    assert one.facts()["train"] == "3 classes x 20 to 21 examples"


def test_inputs_may_be_a_mapping() -> None:
    table = class_table([list(range(6)), list(range(6, 12))], group_of=None, quarter_turns=None, origins=())
    inputs = {"tokens": torch.arange(24).view(12, 2), "mask": torch.ones(12, 2)}
    source = Episodes(
        "text", inputs, {"train": table, "new": table}, shape=TaskShape(2, 1, 2, 1), bank_seed=0
    )
    task = source.tasks("new", [4])[0]
    assert source.input_shape == {"tokens": (2,), "mask": (2,)}
    assert not isinstance(task.query.inputs, torch.Tensor) and task.query.inputs["tokens"].shape == (4, 2)


def test_classes_are_drawn_evenly_in_every_place() -> None:
    drawn = distinct(task_keys(0, "new", range(20_000)), 0, 3, 8)
    counts = np.stack([np.bincount(drawn[:, place], minlength=8) for place in range(3)])
    # 2,500 expected, standard deviation 47: five of them.
    assert np.abs(counts - 2500).max() < 235


def test_negative_index_is_refused() -> None:
    with pytest.raises(ValueError, match="numbered from 0"):
        task_keys(0, "new", [3, -1])
