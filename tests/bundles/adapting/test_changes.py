"""What changes between two versions of the data, counted by hand."""

from __future__ import annotations

from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch

from coldstart_cli.bundles.adapting.changes import (
    NO_ROWS,
    Earlier,
    adapted_otherwise,
    changed,
    check_same_task,
)
from coldstart_cli.bundles.judging.held_out_labels import Together
from coldstart_cli.bundles.kept.kept_rows import KeptRows
from coldstart_cli.datasets.own.labelled import Labelled
from coldstart_cli.errors import RequestError
from tests.bundles.kept.test_kept_rows import labelled


def version(rows: dict[float, str], said: dict[float, str] | None = None) -> tuple[Labelled, KeptRows]:
    """Rows of one number each with their labels, and what a learner that had not seen them said."""
    names = tuple(sorted({*rows.values()}))
    own = labelled([[x] for x in rows], [names.index(label) for label in rows.values()], names)
    kept = KeptRows.of(own, None)
    known = [[names.index(said[x])] if said and x in said else [-1] for x in rows]
    return own, replace(kept, answers=np.array(known, np.int32))


def earlier(own: Labelled, kept: KeptRows | None) -> Earlier:
    made: Any = SimpleNamespace(labels=own.classes, version=3, build=SimpleNamespace(recipe=own.recipe))
    return Earlier(made, kept)


def alone(n: int) -> Together:
    which = np.arange(n)
    return Together(which, which, False, which)


def test_rows_classes_and_accuracy_are_compared_row_by_row() -> None:
    first = version(
        {1.0: "a", 2.0: "a", 3.0: "b", 4.0: "c", 9.0: "c"}, {1.0: "a", 2.0: "b", 3.0: "a", 4.0: "c"}
    )
    # 9 is gone, 5 and 6 are new, 3 is corrected to what the earlier version said, class d comes before none
    second = version(
        {6.0: "d", 4.0: "c", 3.0: "a", 2.0: "a", 1.0: "a", 5.0: "a"},
        {4.0: "a", 3.0: "a", 2.0: "a", 1.0: "a", 5.0: "a", 6.0: "a"},
    )
    found = changed(earlier(*first), *second, alone(6), "accuracy")
    assert (found.since, found.added, found.removed, found.relabelled) == (3, 2, 1, 1)
    assert (found.classes_added, found.classes_removed) == (("d",), ("b",))
    # on 1, 2, 3 and 4 by today's labels a, a, a, c: earlier right but for 2, now right but for 4
    assert (found.judged, found.before, found.after) == (4, 0.75, 0.75)
    assert found.low is not None and found.high is not None and found.low < 0 < found.high
    assert found.drift is None and "too few" in str(found.untold)


def test_a_renamed_class_is_one_thing_and_no_gain() -> None:
    first = version({1.0: "a", 2.0: "b", 3.0: "b", 4.0: "c"}, {1.0: "a", 2.0: "b", 3.0: "a", 4.0: "c"})
    second = version({1.0: "a", 2.0: "z", 3.0: "z", 4.0: "c"}, {1.0: "a", 2.0: "z", 3.0: "a", 4.0: "c"})
    found = changed(earlier(*first), *second, alone(4), "accuracy")
    assert found.classes_renamed == (("b", "z"),)
    assert (found.classes_added, found.classes_removed, found.relabelled) == ((), (), 0)
    assert (found.judged, found.before, found.after) == (4, 0.75, 0.75)
    # only some of its rows: a class taken apart is no renamed one
    parts = version({1.0: "a", 2.0: "z", 3.0: "y", 4.0: "c"})
    found = changed(earlier(*first), *parts, alone(4), "accuracy")
    assert (found.classes_renamed, found.classes_added, found.relabelled) == ((), ("y", "z"), 2)


def test_what_adapts_otherwise_is_named_by_key() -> None:
    build: Any = SimpleNamespace(strategy={"C": 1.0, "inner": {"lr": 0.1}}, model={"path": "a"})
    card: Any = SimpleNamespace(strategy="logistic", model="text", build=build)
    same = {
        "names": {"strategy": "logistic", "model": "text"},
        "strategy": build.strategy,
        "model": build.model,
    }
    assert adapted_otherwise(card, same) == ()
    other = {**same, "strategy": {"C": 1.0, "inner": {"lr": 0.2}}, "model": {"path": "a", "layer": 3}}
    assert adapted_otherwise(card, other) == (
        "strategy.inner.lr 0.1 before, 0.2 now",
        "model.layer None before, 3 now",
    )
    named = {**other, "names": {"strategy": "maml", "model": "text"}, "model": build.model}
    assert adapted_otherwise(card, named) == ("strategy logistic before, maml now",)


def test_equal_rows_count_each() -> None:
    own, kept = version({1.0: "a", 2.0: "b"})
    twice = replace(kept, contents=np.repeat(kept.contents[:1], 2))
    assert changed(earlier(own, twice), own, kept, alone(2), "accuracy").removed == 1


def test_errors_are_compared_where_the_target_is_the_same() -> None:
    own = labelled([[1.0], [2.0], [3.0]], [[0.0], [1.0], [2.0]], ())
    kept = replace(KeptRows.of(own, None), errors=np.array([1.0, 4.0, 9.0]))
    other = replace(own, targets=torch.tensor([[0.0], [1.0], [5.0]]))
    now = replace(KeptRows.of(other, None), errors=np.array([2.0, 2.0, 0.0]))
    found = changed(earlier(own, kept), other, now, alone(3), "mse")
    assert (found.relabelled, found.judged, found.before, found.after) == (1, 2, 2.5, 2.0)


def test_shifted_additions_are_told_from_the_earlier_rows_of_their_class() -> None:
    g = np.random.default_rng(0)
    old = {float(x): "a" for x in g.normal(size=30)} | {float(x): "b" for x in 40 + g.normal(size=30)}
    more = {float(x): "a" for x in 3 + g.normal(size=20)}
    first, second = version(old), version({**old, **more})
    found = changed(earlier(*first), *second, alone(80), "accuracy").drift
    assert found is not None and (found.earlier, found.further) == (30, 20) and found.p < 0.01
    ids = torch.tensor([[int(10 * abs(x)), 7, 0] for x in {**old, **more}], dtype=torch.int32)
    mask = torch.tensor([[True, True, False]] * 80)
    tokens = replace(
        second[0], inputs={"input_ids": ids, "attention_mask": mask}, contents=second[1].contents
    )
    of_tokens = changed(earlier(*first), tokens, second[1], alone(80), "accuracy").drift
    assert of_tokens is not None and of_tokens.p < 0.05


def test_an_older_bundle_says_that_nothing_is_known_of_its_rows() -> None:
    own, kept = version({1.0: "a", 2.0: "b"})
    found = changed(earlier(own, None), own, kept, alone(2), "accuracy")
    assert (found.added, found.judged, found.untold) == (None, 0, NO_ROWS)


def test_another_task_is_refused() -> None:
    own, kept = version({1.0: "a", 2.0: "b"})
    check_same_task(earlier(own, kept), own, "DIR")
    for other in (
        version({1.0: "c", 2.0: "d"})[0],
        replace(own, recipe={"layout": "text"}),
        labelled([[1.0]], [[1.0]], ()),
    ):
        with pytest.raises(RequestError, match=r"^bundle: DIR is a bundle of another task .*overwrite=true"):
            check_same_task(earlier(own, kept), other, "DIR")
