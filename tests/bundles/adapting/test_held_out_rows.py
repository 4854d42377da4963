"""What a card keeps of answers: row by row of the file, whatever order the labels were judged in."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from coldstart_cli import adapt
from coldstart_cli.bundles.adapting import held_out_rows
from coldstart_cli.bundles.adapting.held_out_rows import rows_of, scores_of
from coldstart_cli.bundles.bundle import Bundle
from coldstart_cli.bundles.judging.held_out_labels import Answers, Together
from coldstart_cli.bundles.kept.card import HeldOutRows
from tests.choosing.conftest import TABLE, here

__all__ = ["here"]


def answers() -> Answers:
    """Of four examples, which are rows 2, 0, 3 and 1; the last was never held out, the first one twice."""
    return Answers(
        outputs=torch.tensor([[1.0, 0], [0, 1], [1, 0], [0, 1]]), targets=torch.tensor([0, 0, 0, 0]),
        examples=np.array([0, 0, 1, 2]), folds=np.array([0, 1, 0, 1]), centroid=None, n_folds=2, n_repeats=2,
        together=Together.of(np.array([5, 5, 7, 8]), None), order=np.array([2, 0, 3, 1]),
    )  # fmt: skip


class Labels:
    """As much of `Labelled` as is read."""

    def __init__(self, **changes: Any) -> None:
        self.__dict__.update(
            targets=torch.tensor([0, 0, 0, 1]), classes=("x", "y"), fingerprint="f", objective=None,
            places=[f"rows.csv row {i}" for i in range(4)], **changes,
        )  # fmt: skip

    def __len__(self) -> int:
        return 4


def test_scores_are_of_rows_in_the_order_of_the_file(tmp_path: Path) -> None:
    names, scores = scores_of(answers())
    assert names.tolist() == [0, 1, 2] and scores.tolist() == [0.5, 1.0, 0.0]
    found = rows_of(answers(), Labels(), None)  # type: ignore[arg-type]
    assert found is not None
    assert found.scores == (1.0, None, 0.5, 0.0)
    assert found.clusters[0] == found.clusters[2] and len(set(found.clusters)) == 3


def test_data_are_the_same_whatever_a_model_reads_of_them(tmp_path: Path) -> None:
    path = tmp_path / "rows.csv"
    path.write_text("a,label\n")

    def data(root: Path | None, **changes: Any) -> str:
        found = rows_of(answers(), Labels(**changes), None if root is None else str(root))  # type: ignore[arg-type]
        assert isinstance(found, HeldOutRows)
        return found.data

    first = data(path)
    assert data(tmp_path) == first  # a folder with the same file
    path.write_text("a,label\n1,x\n")
    assert data(path) != first
    assert data(None) == data(tmp_path / "none") != first


def test_nothing_is_kept_of_nothing_or_too_much(monkeypatch: pytest.MonkeyPatch) -> None:
    assert rows_of(None, Labels(), None) is None  # type: ignore[arg-type]
    monkeypatch.setattr(held_out_rows, "MOST_ROWS", 3)
    assert rows_of(answers(), Labels(), None) is None  # type: ignore[arg-type]


def test_a_bundle_keeps_a_number_for_each_row_and_reads_it_again(here: Path) -> None:
    made = [adapt(*TABLE, "model=features", f"strategy={s}", bundle=here / s) for s in ("logistic", "r2d2")]
    first, second = (Bundle.load(one.path).card for one in made)
    assert first.held_out is not None and second.held_out is not None
    assert first.held_out.data == second.held_out.data and first.held_out.clusters == second.held_out.clusters
    scores = [score for score in first.held_out.scores if score is not None]
    assert len(first.held_out.scores) == 24 and first.cross_validation is not None
    assert np.mean(scores) == pytest.approx(first.cross_validation.mean)
    assert replace(first, held_out=None).as_json() != first.as_json()
