"""Splits and tasks of unequal classes, whatever the layout."""

from __future__ import annotations

import warnings
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import assume, example, given, settings
from hypothesis import strategies as st

from coldstart_cli.cli import main
from coldstart_cli.core.tasks import Split, Task, TaskShape
from coldstart_cli.datasets.own.labelled import Labelled, marks
from coldstart_cli.datasets.own.source import Own
from coldstart_cli.datasets.own.splits import Plan
from coldstart_cli.errors import RequestError

PLAN = Plan(TaskShape(2, 1, 3, 0), 0, "class", 0, 0.2, 0.3, 0.2, None, False)
SPLITS: tuple[Split, ...] = ("train", "validation", "source_test", "new")


def labelled(
    sizes: Sequence[int], tasks: Sequence[str] | None = None, splits: Sequence[str] | None = None
) -> Labelled:
    """Examples whose input is their own number."""
    labels = [f"c{c:02d}" for c, n in enumerate(sizes) for _ in range(n)]
    n = len(labels)

    def each(values: Sequence[str] | None) -> list[str] | None:
        return values and [values[c] for c, n in enumerate(sizes) for _ in range(n)]  # type: ignore[return-value]

    marked = marks(labels, each(tasks), each(splits), [f"row {i}" for i in range(n)])
    return marked.labelled(torch.arange(n).float().unsqueeze(1), None, (), {"layout": "text"})


def own(data: Labelled, **changes: Any) -> Own:
    return Own("mine", data, replace(PLAN, **changes))


def ids(task: Task) -> tuple[list[int], list[int]]:
    support, query = task.support.inputs, task.query.inputs
    assert isinstance(support, torch.Tensor) and isinstance(query, torch.Tensor)
    return support[:, 0].long().tolist(), query[:, 0].long().tolist()


@settings(deadline=None, max_examples=60)
@given(
    st.lists(st.integers(1, 30), min_size=8, max_size=25),
    st.integers(1, 4),
    st.integers(1, 8),
    st.sampled_from(["class", "task"]),
    st.integers(0, 9),
)
def test_tasks_of_unequal_classes_are_whole(
    sizes: list[int], k: int, n_query: int, split_by: Any, seed: int
) -> None:
    tasks = [f"t{c % 5}" for c in range(len(sizes))]
    data = labelled(sizes, tasks)
    source = own(data, shape=TaskShape(2, k, n_query, 0), split_by=split_by, split_seed=seed)
    assume(source.shares.reason is None)
    class_of, task_of = data.targets.tolist(), data.task_of.tolist()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)
        try:
            refusals = {split: source.refusal(split, source.shape) for split in SPLITS}
        except RequestError as error:  # too few classes on a split
            assert "classes" in str(error)
            return
    used: dict[Split, set[int]] = {split: set() for split in SPLITS}
    for split in SPLITS:
        if refusals[split] is not None:
            continue
        for task in source.tasks(split, range(6)):
            support, query = ids(task)
            assert not set(support) & set(query) and len({*support, *query}) == len(support) + len(query)
            assert Counter(task.support.targets.tolist()) == {0: k, 1: k}
            assert set(task.query.targets.tolist()) == {0, 1} and len(query) <= 2 * n_query
            classes = [class_of[i] for i in support[::k]]
            assert [class_of[i] for i in query] == [classes[t] for t in task.query.targets.tolist()]
            assert len(set(classes)) == 2
            if split_by == "task":
                assert len({task_of[i] for i in [*support, *query]}) == 1
            used[split] |= {*support, *query}
    assert not any(used[a] & used[b] for a in SPLITS for b in SPLITS if a != b)
    for one, other in (("train", "validation"), ("train", "new"), ("validation", "new")):
        assert not {class_of[i] for i in used[one]} & {class_of[i] for i in used[other]}  # type: ignore[index]
    assert {class_of[i] for i in used["source_test"]} <= set(source.labelled.targets.tolist())


def test_small_classes_are_left_out_by_name_with_one_warning() -> None:
    source = own(labelled([9] * 12 + [1, 1]))
    with pytest.warns(
        RuntimeWarning, match=r"mine: 2 with too few examples are left out: c12 \(1\); c13 \(1\)"
    ):
        assert source.refusal("new", source.shape) is None
    assert source.facts()["left out"] == "2 with too few examples: c12 (1), c13 (1)"
    assert source.facts()["smallest"] == "c12 (1), c13 (1), c00 (9), c01 (9), c02 (9), c03 (9), ..."
    assert sum(len(t) for s, t in source.shares.tables.items() if s != "source_test") == 12
    more = own(labelled([9] * 12 + [5, 5]), min_examples=6)
    assert more.shares.left_out == ("c12 (5)", "c13 (5)")


def test_small_training_classes_leave_for_source_test_and_cut_queries_are_told() -> None:
    source = own(labelled([3, 2, 9, 9, 9]), new_share=0.0, validation_share=0.0, split_by="class")
    assert source.shares.left_out == ("c00 (3, none to hold out)", "c01 (2, none to hold out)")
    kept = own(labelled([3, 2, 9, 9, 9]), new_share=0.0, validation_share=0.0, held_out_share=0.0)
    assert kept.facts()["train"].endswith("1 queries for its smallest class (dataset.min_examples)")


def test_queries_of_new_tasks_do_not_depend_on_k_nor_do_small_classes_cut_large_ones() -> None:
    source = own(labelled([4, 30] * 6), min_examples=4, shape=TaskShape(2, 1, 9, 0), new_share=0.5)
    one = source.tasks("new", range(20))
    three = source.with_shape(TaskShape(2, 3, 9, 0)).tasks("new", range(20))
    assert [ids(t)[1] for t in one] == [ids(t)[1] for t in three]
    assert all(set(ids(a)[0]) <= set(ids(b)[0]) for a, b in zip(one, three, strict=True))
    counts = {n for t in one for n in Counter(t.query.targets.tolist()).values()}
    assert counts == {1, 9}
    assert "dataset.min_examples=5" in str(source.refusal("new", TaskShape(2, 4, 9, 0)))


def test_all_classes_are_as_many_as_every_split_or_task_has() -> None:
    data = labelled([6] * 20)
    assert own(data, shape=TaskShape(None, 1, 3, 0)).shape.n_way == 4
    tasks = own(labelled([6] * 20, [f"t{c % 5}" for c in range(20)]), split_by="task")
    wide = own(tasks.labelled, shape=TaskShape(None, 1, 3, 0), split_by="task")
    assert wide.shape.n_way == 4 and wide.objective.n_outputs == 4
    assert own(labelled([2]), shape=TaskShape(None, 1, 3, 0)).labelled.objective.n_outputs == 1


def test_lonely_classes_of_a_task_are_left_out() -> None:
    tasks = [*(f"t{c % 5}" for c in range(20)), "alone"]
    source = own(labelled([6] * 21, tasks), split_by="task")
    assert source.shares.left_out == ("task alone (one class)",)


def test_splits_of_the_files_are_taken_and_validation_is_held_out_of_train() -> None:
    splits = ["train"] * 8 + ["test"] * 4
    source = own(labelled([8] * 12, None, splits), split_by="file")
    assert {s: len(t) for s, t in source.shares.tables.items()} == {
        "train": 6,
        "validation": 2,
        "source_test": 6,
        "new": 4,
    }
    assert not source.shares_labels


def test_shared_labels_are_told_and_half_shared_ones_refused() -> None:
    rows = [(c, s) for c in ("a", "b", "c") for s in ["train"] * 12 + ["test"] * 8]
    n = len(rows)
    marked = marks([c for c, _ in rows], None, [s for _, s in rows], [""] * n)
    data = marked.labelled(torch.arange(n).float().unsqueeze(1), None, (), {})
    source = own(data, split_by="file")
    assert source.shares_labels and source.refusal("validation", source.shape) is None
    for split in ("train", "validation", "new"):
        for task in source.tasks(split, range(9)):  # type: ignore[arg-type]
            assert task.support.source_classes is not None
            labels = data.targets[ids(task)[0]]
            assert labels.tolist() == task.support.source_classes.tolist()
    other = marks(
        [*(c for c, _ in rows), "d", "d"], None, [*(s for _, s in rows), "test", "test"], [""] * (n + 2)
    )
    half = own(other.labelled(torch.zeros(n + 2, 1), None, (), {}), split_by="file")
    assert half.shares.reason is not None and "3 classes are and others are not" in half.shares.reason


@pytest.mark.parametrize(
    ("data", "changes", "reason"),
    [
        (labelled([5]), {}, "1 class, two are needed"),
        (labelled([1] * 9), {}, "9 classes, 9 with fewer than 2 examples left out, two are needed"),
        (labelled([5, 5, 5]), {}, "no classes are left for train"),
        (labelled([5] * 9), {"split_by": "task"}, "the files know no tasks"),
        (labelled([5] * 9), {"split_by": "file"}, "the files name no split"),
        (labelled([5] * 9, None, ["train"] * 9), {"split_by": "file"}, "no classes are left for new"),
        (
            labelled([5] * 9),
            {"shape": TaskShape(5, 1, 1, 0)},
            "5-way tasks need 5 classes on train, which has 4",
        ),
    ],
)
def test_data_that_is_no_source_is_still_read(data: Labelled, changes: dict[str, Any], reason: str) -> None:
    source = own(data, **changes)
    assert len(source.labelled) > 0 and source.input_shape == (1,) and source.facts() is not None
    with pytest.raises(RequestError, match=f"dataset: mine: {reason}"), warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)
        source.refusal("new", source.shape)


def test_fingerprint_follows_data_and_splits_not_the_bank() -> None:
    data = labelled([6] * 12)
    one = own(data)
    assert one.fingerprint == own(data, bank_seed=5).fingerprint
    assert one.fingerprint != own(data, split_seed=1).fingerprint
    assert one.fingerprint != own(labelled([6] * 11 + [7])).fingerprint
    assert one.facts()["new"].startswith("4 classes x 6 examples (c")


@settings(deadline=None, max_examples=40)
@example([2, 2, 2, 2, 4, 4, 1, 2, 2, 1, 1, 1], None, 1, 1)
@given(
    st.lists(st.integers(1, 12), min_size=12, max_size=30),
    st.sampled_from([None, 3]),
    st.integers(1, 5),
    st.integers(0, 9),
)
def test_unequal_tasks_have_the_classes_and_shots_that_they_have(
    sizes: list[int], n_way: int | None, k: int, seed: int
) -> None:
    data = labelled(sizes, [f"t{c * c % 7}" for c in range(len(sizes))])
    source = own(data, shape=TaskShape(n_way, k, 4, 0), split_by="task", split_seed=seed, unequal=True)
    assume(source.shares.reason is None)
    class_of, task_of = data.targets.tolist(), data.task_of.tolist()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)
        ways = [max(Counter(source.shares.tables[split].origins).values()) for split in ("train", "new")]
        if min(ways) < 2:
            with pytest.raises(RequestError, match=r"no task on (train|new) has two classes"):
                source.refusal("new", source.shape)
            return
        assert source.unequal and source.refusal("new", source.shape) is None
    for split in source.shares.tables:
        table = source.shares.tables[split]
        size_of = dict(zip(table.names, table.sizes.tolist(), strict=True))
        if source.refusal(split, source.shape) is not None:
            continue
        for task, richer in zip(
            source.tasks(split, range(5)),
            source.with_shape(replace(source.shape, k_shot=k + 2)).tasks(split, range(5)),
            strict=True,
        ):
            support, query = ids(task)
            origin = {task_of[i] for i in (*support, *query)}
            assert len(origin) == 1 and not {*support} & {*query}
            there = [name for name, o in zip(table.names, table.origins, strict=True)
                     if o == data.tasks[next(iter(origin))]]  # fmt: skip
            ways = task.support.objective.n_outputs
            assert ways == min(len(there), n_way or len(there))
            shots = Counter(task.support.targets.tolist())
            assert sorted(shots) == list(range(ways)) == sorted({*task.query.targets.tolist()})
            for label in range(ways):
                own_ids = [
                    i for i, t in zip(support, task.support.targets.tolist(), strict=True) if t == label
                ]
                size = size_of[data.classes[class_of[own_ids[0]]]]
                n_queries = min(4, max(1, size // 2))
                assert task.query.targets.tolist().count(label) == n_queries
                assert len(own_ids) == min(k, size - n_queries)
            more, same = ids(richer)
            assert {*support} <= {*more} and same == query


def test_unequal_tasks_have_no_unlabelled_examples() -> None:
    data = labelled([4] * 12, [f"t{c // 3}" for c in range(12)])
    with pytest.raises(RequestError, match="n_unlabelled=0"):
        own(data, shape=TaskShape(None, 1, 4, 1), split_by="task", unequal=True).tasks("new", [0])


def test_unequal_tasks_are_trained_on_and_audited(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], torch_settings: None
) -> None:
    monkeypatch.chdir(tmp_path)
    sizes = [9, 5, 8, 5, 6, 7, 4, 9, 5, 6, 6, 8, 4, 7, 4, 5, 6, 4]
    tasks = [f"t{c * 4 // 18 + c % 2}" for c in range(18)]
    g, y = np.random.default_rng(0), np.repeat(np.arange(18), sizes)
    x = (g.normal(0, 0.3, (len(y), 4)) + g.normal(0, 3, (18, 4))[y]).astype(np.float32)
    np.savez("mine.npz", x=x, y=[f"c{c:02d}" for c in y], task=[tasks[c] for c in y])
    data = ("dataset=arrays", "dataset.root=mine.npz", "dataset.split_by=task", "dataset.n_way=null",
            "dataset.task_key=task", "dataset.k_shot=3", "dataset.unequal=true")  # fmt: skip
    small = ("model=mlp", "model.hidden=[8]", "hardware=cpu", "hardware.threads=1", "experiment=smoke",
             "baseline=null", "training.steps=3", "evaluation.k_shots=[1,3]", "evaluation.timed_seconds=0.01",
             "evaluation.n_tasks=4", "evaluation.n_selection_tasks=2")  # fmt: skip
    for strategy in ("protonet", "proto_maml"):
        assert main(["train", *small, f"strategy={strategy}", *data, "--quiet"]) == 0, capsys.readouterr()
    capsys.readouterr()
    assert main(["train", *small, "strategy=maml", *data]) == 2
    assert "dataset.unequal=false" in capsys.readouterr().err
    assert main(["data", "check", *small, *data]) == 0, capsys.readouterr()
