"""Hashes of examples: equal where content is, in chunks or not, of tensors and mappings."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from coldstart_cli.datasets.audit import contents
from coldstart_cli.datasets.audit.contents import Holding, Lookup, holdings, twins
from tests.kit.small_sources import PER_CLASS, episodes, split_table, splits


def holding(hashes: list[int], labels: list[int], where: str = "train") -> Holding:
    names = tuple(f"c{n}" for n in range(max(labels, default=-1) + 1))
    return Holding(where, "train", np.array(hashes, dtype=np.uint64), np.array(labels), names, ())  # type: ignore[arg-type]


def test_holdings_are_the_pools_in_chunks_of_any_size(monkeypatch: pytest.MonkeyPatch) -> None:
    source = episodes()
    whole = holdings(source)
    assert [h.where for h in whole] == ["train", "validation", "source_test", "new"]
    assert [len(h) for h in whole] == [32, 48, 16, 48]
    monkeypatch.setattr(contents, "CHUNK", 3 * 25)
    for one, other in zip(whole, holdings(source), strict=True):
        assert np.array_equal(one.hashes, other.hashes)
        assert np.array_equal(one.labels, other.labels)
    assert whole[3].described(13) == "new #13 (c9)"


def test_holdings_leave_out_a_split_that_is_not_there() -> None:
    tables = splits(named=False)
    del tables["source_test"]
    found = holdings(episodes(tables))
    assert [h.where for h in found] == ["train", "validation", "new"]
    assert found[0].described(0) == "train #0 (class 0)"


def test_turned_classes_are_other_content() -> None:
    tables = splits()
    turned = tables["new"]
    tables["new"] = type(turned)(
        turned.ids, turned.sizes, None, 0, np.array([1, 2, 3, 0]), turned.room, (), ()
    )
    assert len(twins(holdings(episodes(tables)))) == 0
    tables["validation"] = split_table(range(8, 12), range(PER_CLASS))
    assert len(twins(holdings(episodes(tables)))) == 12  # those of the class that is not turned


@given(st.lists(st.lists(st.integers(0, 6), max_size=6), min_size=1, max_size=4))
def test_twins_are_the_surplus_of_every_content(numbers: list[list[int]]) -> None:
    held = [holding(values, [0] * len(values), str(n)) for n, values in enumerate(numbers)]
    found = twins(held)
    flat = [value for values in numbers for value in values]
    assert len(found) == len(flat) - len({*flat})
    for pair, place, hashed in zip(found.holding, found.place, found.hashes.tolist(), strict=True):
        assert [int(held[h].hashes[p]) for h, p in zip(pair, place, strict=True)] == [hashed, hashed]
        assert tuple(pair) != () and (pair[0], place[0]) < (pair[1], place[1])


def test_lookup_knows_no_class_of_content_that_has_two() -> None:
    lookup = Lookup(holding([9, 5, 5, 7, 7], [0, 1, 1, 0, 1]))
    asked = np.array([5, 9, 7, 6, 0, 100], dtype=np.uint64)
    assert lookup.has(asked).tolist() == [True, True, True, False, False, False]
    assert lookup.labels_of(asked).tolist() == [1, 0, -1, -1, -1, -1]
    nothing = Lookup(holding([], []))
    assert nothing.labels_of(asked).tolist() == [-1] * 6
    assert not nothing.has(asked).any()
