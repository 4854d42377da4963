"""Rows that bundles share: how they are known again, and who is compared with whom."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from coldstart_cli.comparison.shared_rows import Rows, compared, held_out, rows_kept
from coldstart_cli.errors import RequestError
from tests.kit.cards import keep_rows, write_card


@dataclass
class Made:
    """A bundle whose rows are the letters of a text; a capital was never held out."""

    letters: str
    data: str = ""
    metric: str = "accuracy"
    keeps: bool = True

    @property
    def rows(self) -> Rows | None:
        return tuple(self.letters.lower()) if self.keeps else None

    @property
    def scores(self) -> NDArray[np.float64]:
        return np.array([np.nan if letter.isupper() else 1.0 for letter in self.letters])


def found(*bundles: Made) -> tuple[list[int], str]:
    given = [Made(one.letters, one.data or str(i), one.metric, one.keeps) for i, one in enumerate(bundles)]
    group, rows = compared(given, held_out(given))
    return group, "".join(str(row) for row in rows)


def test_rows_that_both_held_out_are_shared_whatever_their_order() -> None:
    assert found(Made("abcdE"), Made("Bdeac")) == ([0, 1], "acd")
    assert found(Made("ab"), Made("cd")) == ([0], "ab")
    assert found(Made("abc"), Made("abc", metric="mse")) == ([0], "abc")


def test_the_very_same_rows_come_first_and_who_would_leave_few_is_left_out() -> None:
    assert found(Made("xy"), Made("abcdefgh"), Made("abcdefgh"), Made("abc")) == ([1, 2], "abcdefgh")
    assert found(Made("abcdefgh"), Made("abcd"), Made("abcdefgh")) == ([0, 1, 2], "abcd")
    assert found(Made("abcdefgh"), Made("ab")) == ([0, 1], "ab")  # two alone: any row is better than none
    assert found(Made("zw"), Made("abc"), Made("bcd")) == ([1, 2], "bc")


def test_of_one_file_rows_are_known_by_their_number_where_nothing_else_is_kept() -> None:
    old, other = Made("abcd", "d1", keeps=False), Made("abcd", "d2", keeps=False)
    (first, second), _ = held_out([old, old]), held_out([old, other])
    assert first == second and len(first) == 4
    assert compared([old, other], held_out([old, other]))[0] == [0]
    kept = Made("abcd", "d1")  # one bundle's hashes tell of the other's rows, too
    assert held_out([old, kept]) == [dict(zip("abcd", range(4), strict=True))] * 2


def test_rows_kept_are_hash_and_label_and_equal_ones_are_counted(tmp_path: Path) -> None:
    folder = write_card(tmp_path / "b", [1.0] * 3)
    assert rows_kept(folder, json.loads((folder / "card.json").read_text())) is None
    keep_rows(folder, [7, 2**64 - 1, 7], [0, 1, 0])
    card = json.loads((folder / "card.json").read_text())
    assert rows_kept(folder, card) == (((7, "a"), 0), ((2**64 - 1, "b"), 0), ((7, "a"), 1))
    next(folder.glob("rows-*")).write_bytes(b"other")
    with pytest.raises(RequestError, match=r"is not the file that its card names; make it again$"):
        rows_kept(folder, card)
