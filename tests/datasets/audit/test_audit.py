"""The audit of a whole source: planted leaks of each kind are found, and clean sources pass."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from coldstart_cli.core.tasks import Pool, Split, Task, TaskShape, TaskSource
from coldstart_cli.datasets.audit.audit import Audit, audit
from coldstart_cli.datasets.audit.findings import FIRST
from coldstart_cli.datasets.audit.task_bank import Asked
from coldstart_cli.datasets.episodes.classes import ClassTable, class_table
from coldstart_cli.datasets.episodes.episodes import Episodes
from tests.kit.small_sources import (
    PER_CLASS,
    Tampered,
    episodes,
    images,
    shifted,
    sinusoid,
    split_table,
    splits,
    tensor,
    with_query,
)

SPLITS: tuple[Split, ...] = ("train", "validation", "new")
EVERY = range(PER_CLASS)


def audited(source: TaskSource, *, listed: tuple[str, ...] = ()) -> Audit:
    uses = {"train": "training", "validation": "validation"}
    asked = [Asked((uses.get(split, "evaluation"),), split, source.shape, 10) for split in SPLITS]
    return audit(source, asked, listed)


def leaking(found: Audit) -> dict[str, int]:
    return {one.check: one.n_leaks for one in found.findings if one.n_leaks}


def note(found: Audit, check: str) -> str:
    (one,) = [finding for finding in found.findings if finding.check.startswith(check)]
    return one.note


def test_audit_of_clean_sources_says_what_was_checked() -> None:
    found = audited(episodes())
    assert leaking(found) == {}
    assert {one.check for one in found.findings if not one.checked} == {"near duplicates"}
    assert len(found.findings) == 11
    assert [(row.split, row.n_tasks, row.n_distinct) for row in found.bank] == [
        ("train", 10, 10), ("validation", 10, 10), ("new", 10, 10)
    ]  # fmt: skip
    sizes = {one.check: one.checked for one in found.findings}
    assert sizes["classes of train, validation and new are disjoint"] == "4 + 4 + 4 classes"
    assert sizes["examples of different splits are disjoint"] == "144 examples"
    assert sizes["supports are nested over k, and queries are the same"] == "new at k = 1, 5"
    assert note(found, "classes of train") == (
        "groups shared: 2 by train and validation, 2 by train and new, 2 by validation and new"
    )


def test_audit_of_shared_labels_prints_them_as_declared() -> None:
    found = audited(shifted())
    assert leaking(found) == {}
    assert (
        note(found, "classes of validation and new are those")
        == "labels shared between source and new: declared"
    )


def test_audit_finds_a_class_of_two_splits() -> None:
    tables = splits()
    tables["train"] = split_table([0, 1, 2, 8], EVERY[:8])
    found = audited(episodes(tables))
    assert leaking(found)["classes of train, validation and new are disjoint"] == 1
    assert leaking(found)["source_test has the classes of train, in their order"] == 1
    (lines,) = [one.leaks for one in found.findings if one.check.startswith("classes of train")]
    assert lines == ("c8 is a class of train and of new",)


def test_audit_finds_a_class_of_two_splits_with_other_examples() -> None:
    """No example is shared: only names can tell."""
    tables = splits()
    tables["validation"] = split_table([4, 5, 6, 8], EVERY[:6])
    tables["new"] = split_table([8, 9, 10, 11], EVERY[6:])
    assert leaking(audited(episodes(tables))) == {"classes of train, validation and new are disjoint": 1}
    unnamed = {
        "validation": split_table([4, 5, 6, 8], EVERY[:6], named=False),
        "new": split_table([8, 9, 10, 11], EVERY[6:], named=False),
    }
    found = audited(episodes({**splits(named=False), **unnamed}))  # type: ignore[dict-item]
    assert leaking(found) == {}
    assert note(found, "classes of train").startswith("the data set does not name its classes, ex")


def test_audit_finds_one_name_for_two_classes() -> None:
    tables = splits()
    twice = split_table([8, 9, 10, 11], EVERY)
    tables["new"] = replace(twice, names=("c8", "c9", "c10", "c10"))
    found = audited(episodes(tables))
    assert [one.leaks for one in found.findings if one.n_leaks] == [("c10 is 2 classes of new",)]


def test_audit_finds_shared_labels_in_another_order() -> None:
    source = shifted()
    source.splits["new"] = replace(source.splits["new"], names=("c3", "c0", "c6", "c9"))
    (lines,) = [one.leaks for one in audited(source).findings if one.check.startswith("classes of valid")]
    assert lines == ("class 0 is c0 in train and c3 in new", "class 1 is c3 in train and c0 in new")


@pytest.mark.parametrize(("split", "place"), [("validation", 50), ("source_test", 9), ("new", 100)])
def test_audit_finds_an_example_of_two_splits(split: str, place: int) -> None:
    inputs = images(144)
    inputs[place] = inputs[1]
    found = audited(episodes(inputs=inputs))
    assert leaking(found)["examples of different splits are disjoint"] == 1
    (lines,) = [one.leaks for one in found.findings if one.check.startswith("examples of different")]
    assert lines[0].startswith(f"train #1 (c0) equals {split} #")


def test_audit_finds_duplicates_within_a_class_and_across_classes() -> None:
    inputs = images(144)
    inputs[98] = inputs[97]
    inputs[140] = inputs[120] = inputs[119]  # of classes 9, 10 and 11
    found = audited(episodes(inputs=inputs))
    lines = {one.check: one.leaks for one in found.findings if one.n_leaks}
    assert lines["no example is twice in a class of a split"] == ("new #1 (c8) equals new #2 (c8)",)
    assert {*lines["no example is in two classes of a split"]} == {
        "new #23 (c9) equals new #24 (c10)", "new #24 (c10) equals new #44 (c11)"
    }  # fmt: skip
    assert "examples of different splits are disjoint" not in lines


def test_audit_counts_all_leaks_and_tells_the_first() -> None:
    inputs = images(144)
    inputs[96:] = inputs[96]
    found = audited(episodes(inputs=inputs))
    (one,) = [one for one in found.findings if one.check == "no example is twice in a class of a split"]
    assert (one.n_leaks, len(one.leaks)) == (4 * 11, FIRST)


def test_audit_takes_listed_duplicates_as_declared() -> None:
    inputs = images(144)
    inputs[97:108] = inputs[96]
    source = episodes(inputs=inputs)
    assert leaking(audited(source)).keys() >= {"no example is twice in a class of a split"}
    found = audited(source, listed=("c8",))
    assert leaking(found) == {}
    assert (
        note(found, "no example is twice in a class")
        == "1 listed in the YAML (c8), 11 of them among the examples"
    )
    assert leaking(audited(source, listed=("c9",))).keys() >= {"no example is twice in a class of a split"}
    left_out = audited(episodes(), listed=("gone",))
    assert (
        note(left_out, "no example is twice in a class")
        == "1 listed in the YAML (gone), none of them among the examples"
    )


def test_audit_of_a_regression_knows_chance_from_a_shared_pool() -> None:
    source = sinusoid(pool_tasks=3, pool_points=8_000)
    points = len(source.pool("train"))
    reals = [tensor(source.pool(split).examples(torch.arange(points)).inputs) for split in SPLITS]
    assert len(torch.cat(reals).unique()) < 3 * points  # some meet
    assert leaking(audited(source)) == {}

    class OnePool(Tampered):
        def pool(self, split: Split) -> Pool:
            return self.source.pool("train")

    found = leaking(audited(OnePool(source, lambda task, split, shape, n: task)))
    assert 3 * points <= found["examples of different splits are disjoint"] < 3.01 * points
    assert found["functions of train, validation and new are disjoint"] == 3 * 3


def test_audit_finds_tasks_that_are_not_nested() -> None:
    def reversed_queries(task: Task, split: Split, shape: TaskShape, n: int) -> Task:
        return with_query(task, tensor(task.query.inputs).flip(-1)) if shape.k_shot > 1 else task

    found = audited(Tampered(episodes(), reversed_queries))
    assert leaking(found) == {"supports are nested over k, and queries are the same": 3 * 16}


@st.composite
def clean_sources(draw: st.DrawFn) -> Episodes:
    """Any tables over distinct noise: sizes, groups, turns, names and shared labels vary."""
    shared, named = draw(st.booleans()), draw(st.booleans())
    n_groups = draw(st.sampled_from([0, 2, 3]))
    shape = TaskShape(
        draw(st.integers(2, 3)), draw(st.integers(1, 2)), draw(st.integers(1, 3)), draw(st.integers(0, 2))
    )
    n_classes = draw(st.integers(3, 5))
    tables: dict[Split, ClassTable] = {}
    taken = 0
    turned = draw(st.booleans())
    for split in ("train", "source_test", "validation", "new"):
        sizes = draw(st.lists(st.integers(15, 20), min_size=n_classes, max_size=n_classes))
        ends = [taken + sum(sizes[: i + 1]) for i in range(n_classes)]
        classes = [list(range(end - size, end)) for end, size in zip(ends, sizes, strict=True)]
        family = "train" if shared or split == "source_test" else split
        tables[split] = class_table(  # type: ignore[index]
            classes,
            group_of=[n % n_groups for n in range(2000)] if n_groups else None,
            quarter_turns=[n % 4 for n in range(n_classes)] if turned else None,
            origins=(),
            names=[f"{family}{n}" for n in range(n_classes)] if named else (),
        )
        taken = ends[-1]
    seed = draw(st.integers(0, 2**32))
    return Episodes("any", images(taken), tables, shape=shape, bank_seed=seed, shares_labels=shared)


@settings(deadline=None, max_examples=25)
@given(clean_sources())
def test_audit_raises_no_false_alarm(source: Episodes) -> None:
    found = audited(source)
    assert found.n_leaks == 0, [one for one in found.findings if one.n_leaks]


@settings(deadline=None, max_examples=25)
@given(clean_sources(), st.data())
def test_audit_finds_any_copied_example(source: Episodes, data: st.DataObject) -> None:
    inputs = tensor(source.inputs).clone()
    one, other = data.draw(st.lists(st.integers(0, len(inputs) - 1), min_size=2, max_size=2, unique=True))
    inputs[one] = inputs[other]
    copied = Episodes("copied", inputs, source.splits, shape=source.shape, bank_seed=0)
    turns = {}
    for table in copied.splits.values():
        for number, quarter in enumerate(
            [0] * len(table) if table.quarter_turns is None else table.quarter_turns
        ):
            turns |= dict.fromkeys(table.members(number).tolist(), int(quarter))
    copied.shares_labels = source.shares_labels
    kinds = leaking(audited(copied)).keys() & {
        "examples of different splits are disjoint",
        "no example is in two classes of a split",
        "no example is twice in a class of a split",
    }
    assert len(kinds) == (1 if turns[one] == turns[other] else 0)


def test_audit_goes_by_every_tensor_of_a_mapping() -> None:
    ids = {"train": (range(0, 12, 2), range(12, 24, 2)), "new": (range(1, 12, 2), range(13, 24, 2))}
    tables: dict[Split, ClassTable] = {
        split: class_table(list(classes), group_of=None, quarter_turns=None, origins=())  # type: ignore[misc]
        for split, classes in ids.items()
    }
    tokens = torch.arange(24)[:, None] // 2  # examples 0 and 1, 2 and 3, ... are one text
    for mask, n in ((torch.zeros(24, 1), 12), (torch.arange(24)[:, None] % 2, 0)):
        inputs = {"tokens": tokens, "mask": mask}
        source = Episodes("text", inputs, tables, shape=TaskShape(2, 1, 2, 0), bank_seed=0)
        assert audit(source, [], ()).n_leaks == n
