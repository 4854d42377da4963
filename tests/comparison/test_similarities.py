"""What similarities to source groups were worth."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from coldstart_cli.comparison.contestants import settings_of
from coldstart_cli.comparison.findings import Similarity
from coldstart_cli.comparison.results import read
from coldstart_cli.comparison.similarities import similarities
from coldstart_cli.comparison.standings import references_of

Make = Callable[..., Path]


def found(path: Path) -> list[Similarity]:
    (members,) = settings_of(read([path])[0])
    return similarities(members, 1, references_of(members, 1, True), True)


def test_similarity_stands_beside_its_measured_worth(tmp_path: Path, make_run: Make) -> None:
    values = {f"t{i}": 0.7 for i in range(6)}
    near = {f"t{i}": 0.5 + 0.05 * i for i in range(6)}
    far = {f"t{i}": 0.4 - 0.02 * i for i in range(6)}
    notes = {t: {"similarity of near": near[t], "similarity of far": far[t]} for t in values}
    make_run("a", {1: values}, strategy="leep", baseline={1: {t: 0.3 for t in values}}, notes=notes,
             beside={"near": near, "far": far})  # fmt: skip
    (row,) = found(tmp_path)
    assert row.contestant == "leep" and row.k == "1" and row.pairs == 12
    assert row.rho == pytest.approx(1.0) and row.regret == pytest.approx(0.0)
    assert len(row.points) == 12 and {point[2] for point in row.points} == {"near", "far"}


def test_gains_are_over_what_scratch_made_of_the_task_with_the_same_seed(
    tmp_path: Path, make_run: Make
) -> None:
    tasks = ("t0", "t1", "t2")
    for seed, base in enumerate((0.1, 0.3)):
        notes = {
            t: {"similarity of near": 0.9 - i / 10, "similarity of far": 0.1} for i, t in enumerate(tasks)
        }
        make_run(f"r{seed}", {1: dict.fromkeys(tasks, 0.7)}, strategy="leep", seed=seed, notes=notes,
                 baseline={1: dict.fromkeys(tasks, base)},
                 beside={"near": dict.fromkeys(tasks, 0.6), "far": dict.fromkeys(tasks, 0.4)})  # fmt: skip
    (row,) = found(tmp_path)
    gains = sorted({round(gain, 6) for _, gain, group in row.points if group == "near" and gain is not None})
    assert gains == [0.3, 0.5] and row.pairs == 12


def test_without_a_note_or_a_reference_there_is_nothing_to_say(tmp_path: Path, make_run: Make) -> None:
    values = {1: {"t0": 0.5, "t1": 0.6}}
    make_run("a", values, baseline=values)
    assert found(tmp_path) == []
    make_run("b/c", values, strategy="leep", notes={t: {"similarity of near": 0.5} for t in values[1]},
             beside={"near": values[1]})  # fmt: skip
    assert found(tmp_path / "b") == []
