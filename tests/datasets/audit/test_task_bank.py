"""Inside tasks: every planted leak is found, a clean source passes, and a bank is its seed's alone."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
import torch

from coldstart_cli.config import composition
from coldstart_cli.core.tasks import Split, Task, TaskShape, TaskSource
from coldstart_cli.datasets.audit.contents import holdings
from coldstart_cli.datasets.audit.findings import BankRow, Leaks
from coldstart_cli.datasets.audit.task_bank import Asked, BankAudit, bank_digest, described, nested
from coldstart_cli.evaluation.loop import evaluate
from coldstart_cli.experiment.assembly import assemble
from coldstart_cli.processes.signals import StopOnSignal
from tests.kit.small_sources import (
    SHAPE,
    Change,
    Tampered,
    episodes,
    images,
    shifted,
    sinusoid,
    tensor,
    with_first,
    with_query,
    with_support,
)

NEW = Asked(("evaluation",), "new", SHAPE, 20)
NONE = np.empty(0, dtype=np.uint64)


def audited(source: TaskSource, *asked: Asked) -> tuple[dict[str, Leaks], BankRow]:
    checks = BankAudit(source, holdings(source), NONE)
    rows = [checks.draw(one) for one in asked or (NEW,)]
    kept = {"disjoint": checks.disjoint, "labels": checks.labels, "strangers": checks.strangers}
    return {**kept, "impure": checks.impure}, rows[0]


def found(source: TaskSource, *asked: Asked) -> dict[str, int]:
    """How many leaks of each kind, of those that there are."""
    return {kind: leaks.n for kind, leaks in audited(source, *asked)[0].items() if leaks.n}


def tampered(change: Callable[[Task], Task]) -> Tampered:
    return Tampered(episodes(), lambda task, split, shape, n: change(task))


def test_bank_of_clean_sources_is_clean() -> None:
    splits: tuple[Split, ...] = ("train", "validation", "source_test", "new")
    asked = [Asked(("evaluation",), split, SHAPE, 20) for split in splits if split != "source_test"]
    asked.append(Asked(("evaluation",), "source_test", TaskShape(3, 1, 2, 0), 20))
    for source in (episodes(), shifted()):
        assert found(source, *asked) == {}


def test_bank_finds_a_query_that_is_support() -> None:
    source = tampered(lambda t: with_query(t, with_first(t.query.inputs, tensor(t.support.inputs)[0])))
    leaks, _ = audited(source)
    assert leaks["disjoint"].n == 20
    assert (
        leaks["disjoint"].first[3]
        == "new/3 (3-way 1-shot, 2 queries, 2 unlabelled): query 0 equals support 0"
    )
    assert found(source) == {"disjoint": 20}


def test_bank_finds_unlabelled_examples_that_are_queries_or_support() -> None:
    for place in ("query", "support"):
        source = tampered(
            lambda t, place=place: with_support(  # type: ignore[misc]
                t, unlabelled=with_first(t.support.unlabelled, tensor(getattr(t, place).inputs)[-1])
            )
        )
        assert found(source) == {"disjoint": 20}


def test_bank_finds_an_example_that_a_query_set_has_twice() -> None:
    source = tampered(lambda t: with_query(t, with_first(t.query.inputs, tensor(t.query.inputs)[1])))
    assert found(source) == {"disjoint": 20}


def test_bank_knows_content_by_its_bytes_not_by_its_place() -> None:
    """Two drawings that are one file: no id is twice, and yet a task may be."""
    inputs = images(144)
    inputs[8 * 12 + 1 : 8 * 12 + 12] = inputs[8 * 12]  # all drawings of a new class
    source = episodes(inputs=inputs)
    leaks, _ = audited(source)
    n = sum(
        bool((tensor(t.query.inputs) == inputs[96]).flatten(1).all(1).any())
        for t in source.tasks("new", range(20))
    )
    assert leaks["disjoint"].n == n > 5


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            lambda t: replace(t, query=replace(t.query, targets=t.query.targets.flip(0))),
            "label 0 stands for classes",
        ),
        (
            lambda t: replace(t, query=replace(t.query, targets=t.query.targets + 3)),
            "labels 0 to 5 in a 3-way task",
        ),
        (lambda t: with_support(t, targets=torch.tensor([0, 0, 1])), "class 0 has 2 support examples, not 1"),
    ],
)
def test_bank_finds_labels_that_are_wrong(change: Callable[[Task], Task], message: str) -> None:
    leaks, _ = audited(tampered(change))
    assert leaks["labels"].n == 20
    assert message in leaks["labels"].first[0]


def test_bank_finds_one_example_with_two_labels() -> None:
    def torn(task: Task) -> Task:
        return with_query(task, torch.cat([tensor(task.query.inputs)[:5], tensor(task.query.inputs)[:1]]))

    leaks, _ = audited(tampered(torn))
    assert "one example has the labels 0 and 2" in leaks["labels"].first[0]


def test_bank_finds_two_labels_of_one_class() -> None:
    def doubled(task: Task) -> Task:
        """Both examples of label 1 become unused ones of the class of label 0."""
        pool = source.pool("new")
        every = pool.examples(torch.arange(len(pool)))
        row = [torch.equal(image, tensor(task.support.inputs)[0]) for image in tensor(every.inputs)].index(
            True
        )
        used = torch.cat(
            [tensor(task.support.inputs), tensor(task.query.inputs), tensor(task.support.unlabelled)]
        )
        same = tensor(every.inputs)[every.targets == every.targets[row]]
        free = [image for image in same if not (used == image).flatten(1).all(1).any()]
        support, query = tensor(task.support.inputs).clone(), tensor(task.query.inputs).clone()
        support[1], query[2], query[3] = free[:3]
        return with_query(with_support(task, inputs=support), query)

    source = episodes()
    leaks, _ = audited(Tampered(source, lambda task, split, shape, n: doubled(task)))
    assert leaks["disjoint"].n == 0
    assert "two labels stand for one class of new" in leaks["labels"].first[0]


def test_bank_finds_a_source_class_that_is_another() -> None:
    def other(task: Task, split: Split, shape: TaskShape, n: int) -> Task:
        classes = task.support.source_classes
        assert classes is not None
        return with_support(task, source_classes=classes.roll(1))

    leaks, _ = audited(Tampered(shifted(), other))
    assert leaks["labels"].n == 20
    assert " is said to be c" in leaks["labels"].first[0]
    silent, _ = audited(Tampered(shifted(), lambda t, split, shape, n: with_support(t, source_classes=None)))
    assert "does not say which source classes" in silent["labels"].first[0]


def test_bank_finds_examples_of_another_split() -> None:
    def stranger(task: Task) -> Task:
        train = tensor(source.pool("train").examples(torch.tensor([5])).inputs)
        return with_query(task, with_first(task.query.inputs, train[0]))

    source = episodes()
    leaks, _ = audited(Tampered(source, lambda task, split, shape, n: stranger(task)))
    assert leaks["strangers"].n == 20
    assert leaks["strangers"].first[0].endswith("query 0 is one of train")


@pytest.mark.parametrize("part", ["seed", "inputs", "unlabelled"])
def test_bank_finds_tasks_that_depend_on_their_batch(part: str) -> None:
    def moved(task: Task, split: Split, shape: TaskShape, n: int) -> Task:
        if n == 1:
            return task
        if part == "seed":
            return with_support(task, seed=task.support.seed + n)
        return with_support(task, **{part: tensor(getattr(task.support, part)).flip(-1)})

    assert found(Tampered(episodes(), moved))["impure"] == 8


def test_bank_forgives_duplicates_that_are_declared() -> None:
    inputs = images(144)
    inputs[8 * 12 + 1 : 8 * 12 + 12] = inputs[8 * 12]
    source = episodes(inputs=inputs)
    held = holdings(source)
    checks = BankAudit(source, held, held[3].hashes[:1])
    checks.draw(NEW)
    assert checks.disjoint.n == 0


def test_bank_of_a_regression_is_judged_by_its_points() -> None:
    source = sinusoid()
    asked = Asked(("evaluation",), "new", source.shape, 20)
    assert found(source, asked) == {}

    def copied(task: Task, n_points: int) -> Task:
        inputs = torch.cat([tensor(task.support.inputs)[:n_points], tensor(task.query.inputs)[n_points:]])
        return with_query(task, inputs)

    one = Tampered(source, lambda task, split, shape, n: copied(task, 1))
    two = Tampered(source, lambda task, split, shape, n: copied(task, 2))
    assert found(one, asked) == {}  # two draws of one real number may meet
    assert found(two, asked) == {"disjoint": 20}


def test_nested_supports_and_queries_pass_and_others_do_not() -> None:
    source = episodes()
    for split in ("train", "validation", "new"):
        assert nested(source, split, replace(SHAPE, n_unlabelled=0), [1, 3, 5]).n == 0  # type: ignore[arg-type]
    assert nested(source, "source_test", TaskShape(3, 1, 3, 0), [1, 2, 3]).n == 0  # queries cut down

    def reversed_support(task: Task, split: Split, shape: TaskShape, n: int) -> Task:
        return with_support(task, inputs=tensor(task.support.inputs).flip(-1)) if shape.k_shot > 1 else task

    def reversed_queries(task: Task, split: Split, shape: TaskShape, n: int) -> Task:
        return with_query(task, tensor(task.query.inputs).flip(-1)) if shape.k_shot > 1 else task

    def fewer_queries(task: Task, split: Split, shape: TaskShape, n: int) -> Task:
        return replace(task, query=task.query.take(torch.arange(0, 6, 2))) if shape.k_shot > 1 else task

    changes: list[tuple[Change, str]] = [
        (reversed_support, "new/0: supports of class 0 at k = 3 lack one of a smaller k"),
        (reversed_queries, "new/0: queries of class 0 at k = 3 are not those of smaller k"),
        (fewer_queries, "new/0: queries of class 0 at k = 3 are not those of smaller k"),
    ]
    for change, message in changes:
        leaks = nested(Tampered(source, change), "new", SHAPE, [1, 3])
        assert leaks.n == 3 * 16
        assert leaks.first[0] == message
    assert nested(Tampered(source, fewer_queries), "validation", SHAPE, [1, 3]).n == 0


def test_shapes_are_described_in_words() -> None:
    assert described(TaskShape(5, 1, 15, 0)) == "5-way 1-shot, 15 queries"
    assert described(TaskShape(5, 0, 1, 3)) == "5-way 0-shot, 1 query, 3 unlabelled"
    assert described(TaskShape(None, 1, 50, 0)) == "1 point, 50 queries"


def test_bank_digest_is_equal_where_all_tasks_are() -> None:
    one, same = (audited(episodes())[1] for _ in range(2))
    assert one == same
    assert (one.n_tasks, one.n_distinct, len(one.digest)) == (20, 20, 16)
    changed = images(144)
    changed[8 * 12] += 1
    assert audited(episodes(inputs=changed))[1].digest != one.digest
    assert bank_digest(["a", "b"]) != bank_digest(["b", "a"]) != bank_digest(["a"])


TINY = (
    "experiment=smoke", "hardware=cpu", "hardware.threads=1", "model.hidden=8", "dataset.n_way=3",
    "evaluation.k_shots=[1,2]", "evaluation.n_tasks=4", "evaluation.n_selection_tasks=2",
    "evaluation.steps=[0]", "evaluation.baseline_steps=[0]", "evaluation.n_query=4",
)  # fmt: skip


def task_hashes(*overrides: str) -> tuple[dict[tuple[str, int, str], set[str]], list[str]]:
    """(split, k, task) -> its hashes in all records; and the hashes of new tasks at k = 1, in order."""
    ((_, config),) = composition.points([*TINY, *overrides])
    made = assemble(config)
    with StopOnSignal() as stop:
        records, _ = evaluate(
            *(made.contestants, made.source, made.evaluation, made.hardware, [], stop),
            trained_on_source=True,
            baselines=None,
        )
    found: dict[tuple[str, int, str], set[str]] = {}
    for row in records:
        found.setdefault((row.split, row.k_shot, row.task), set()).add(row.task_hash)
    ours = [row for row in records if (row.role, row.split, row.k_shot) == ("strategy", "new", 1)]
    return found, [row.task_hash for row in ours]


@pytest.mark.usefixtures("torch_settings")
def test_records_of_all_strategies_and_seeds_have_the_same_tasks_at_each_k() -> None:
    first, hashes = task_hashes("strategy=protonet", "seed=0")
    assert {len(kinds) for kinds in first.values()} == {1}  # strategy and baseline too
    assert len({*first}) == 2 * (4 + 4 + 2)
    for overrides in (
        ("strategy=protonet", "seed=1"),
        ("strategy=maml", "seed=0"),
        ("strategy=maml", "seed=1"),
    ):
        assert task_hashes(*overrides)[0] == first
    other, _ = task_hashes("strategy=protonet", "seed=0", "dataset.bank_seed=1")
    assert other.keys() == first.keys()
    assert not set.union(*other.values()) & set.union(*first.values())
    ((_, config),) = composition.points([*TINY, "strategy=protonet"])
    source = assemble(config).source
    row = BankAudit(source, [], NONE).draw(Asked(("evaluation",), "new", TaskShape(3, 1, 4, 0), 4))
    assert row.digest == bank_digest(hashes)  # what the audit prints can be had from records
