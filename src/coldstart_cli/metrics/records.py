"""The tidy table of an evaluation: one row for each task, shot, adaptation step and predictor."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Any, final

Row = Mapping[str, Any]
"""A row as a JSON object."""


@final
@dataclass(frozen=True, slots=True)
class Believed:
    """How far the probabilities of one task's answers can be believed (`Classification.calibration`).

    Attributes:
        brier: mean squared distance of the probabilities from the right answers, in [0, 2].
        coverage: share of the examples whose class lies in its prediction set.
        set_size: mean number of classes in such a set.
        confidence_bins: [m, n, sum of confidences, number right] of each bin; None where a probability was
            not finite, and the others are then nan.
    """

    brier: float
    coverage: float
    set_size: float
    confidence_bins: Sequence[Sequence[float]] | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Score:
    """What one predictor said to one task's query set.

    Attributes:
        task: its name in the split.
        task_hash: a digest of its support and query set; equal hashes are equal tasks.
        raw_hash: the same of its examples as the files hold them (`Task.raw_hash`), or None.
        step: adaptation steps that were taken.
        loss: the objective's, on the query set.
        beside: role of a predictor that the strategy has scored beside its own; None for its own.
        value: of the headline metric.
        metrics: the objective's other metrics by name; none for tasks that only serve to choose a step.
        origin: of the task (`Task.origin`).
        chosen: whether the task itself chose this step, where validation tasks cannot choose for it.
        believed: None where outputs are not probabilities, and for tasks that only serve to choose a step.
        notes: numbers that the strategy noted of its predictor.
        adapt_seconds: time spent inside the strategy's generator up to this step.
    """

    task: str
    task_hash: str
    raw_hash: str | None = None
    origin: str | None = None
    chosen: bool = False
    step: int
    value: float
    loss: float
    adapt_seconds: float
    beside: str | None = None
    metrics: Mapping[str, float]
    believed: Believed | None = None
    notes: Mapping[str, float]

    def row(self) -> dict[str, Any]:
        """As a JSON object, without columns for what is absent."""
        believed = self.believed
        return {
            "task": self.task,
            "task_hash": self.task_hash,
            **({} if self.raw_hash is None else {"raw_hash": self.raw_hash}),
            **({} if self.origin is None else {"origin": self.origin}),
            "step": self.step,
            **({"chosen": True} if self.chosen else {}),
            **({} if self.beside is None else {"beside": self.beside}),
            "value": self.value,
            "loss": self.loss,
            **({"metrics": dict(self.metrics)} if self.metrics else {}),
            **({} if believed is None else {name: getattr(believed, name) for name in _BELIEVED}),
            **({"notes": dict(self.notes)} if self.notes else {}),
            "adapt_seconds": self.adapt_seconds,
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class Record(Score):
    """A score with its place in the table.

    Attributes:
        split: `new`, `source_test` or `validation`.
        k_shot: labelled examples of each class (regression: of the task).
        role: `strategy`, `baseline`, or that of a predictor beside the strategy's own (`teacher`).
        variant: the one of the baseline's configurations that it belongs to.
    """

    role: str
    variant: str
    split: str
    k_shot: int

    def row(self) -> dict[str, Any]:
        labels = {"role": self.role, "variant": self.variant, "split": self.split, "k_shot": self.k_shot}
        return labels | Score.row(self)


def labelled(score: Score, *, role: str, variant: str, split: str, k_shot: int) -> Record:
    """The row of a score: a predictor beside the strategy's own has a role of its own."""
    given = {name: getattr(score, name) for name in _SCORE if name != "beside"}
    return Record(**given, role=score.beside or role, variant=variant, split=split, k_shot=k_shot)


def score_of(row: Row) -> Score:
    """The score that `Score.row` wrote."""
    return Score(**_scored(row))


def record_of(row: Row) -> Record:
    """The record that `Record.row` wrote; earlier versions wrote no `metrics`, the first no calibration.

    Raises:
        KeyError: naming a column that is missing.
    """
    return Record(**_scored(row), **{name: row[name] for name in ("role", "variant", "split", "k_shot")})


def _scored(row: Row) -> dict[str, Any]:
    believed = None
    # Rows of regressions, and of tasks that only choose, have no such column.
    if "confidence_bins" in row:
        brier, coverage, set_size = (_number(row[name]) for name in ("brier", "coverage", "set_size"))
        believed = Believed(brier, coverage, set_size, row["confidence_bins"])
    return {
        **{name: row[name] for name in ("task", "task_hash", "step", "adapt_seconds")},
        **{name: _number(row[name]) for name in ("value", "loss")},
        "raw_hash": row.get("raw_hash"),
        "origin": row.get("origin"),
        "chosen": row.get("chosen", False),
        "beside": row.get("beside"),
        "metrics": {name: _number(value) for name, value in row.get("metrics", {}).items()},
        "believed": believed,
        "notes": {name: _number(value) for name, value in row.get("notes", {}).items()},
    }


def _number(value: float | None) -> float:
    """The number, or nan for the null that JSON has for numbers that are not finite."""
    return math.nan if value is None else value


_BELIEVED = tuple(field.name for field in fields(Believed))
_SCORE = tuple(field.name for field in fields(Score))
