"""Measuring: turns, spreads, FLOPs; nothing here asserts a time."""

from __future__ import annotations

import pytest
import torch

from coldstart_cli.bench import measuring
from coldstart_cli.bench.measuring import FixedTasks
from coldstart_cli.hardware import Hardware
from coldstart_cli.metrics.benchmark import Spread
from tests.kit.small_sources import episodes


@pytest.fixture
def hardware() -> Hardware:
    return Hardware(
        device="cpu",
        threads=1,
        processes=1,
        precision="fp32",
        deterministic=False,
        vectorize="auto",
        replay=True,
        shard=False,
        compile=False,
    )


def test_spread_is_of_linear_quartiles() -> None:
    # NIST's handbook, percentiles by (n - 1) p: of 1, 2, 4, 8 the ranks .75, 1.5, 2.25 of 0 to 3
    found = measuring.spread([8.0, 1.0, 4.0, 2.0])
    assert (found.low, found.middle, found.high, found.n) == (1.75, 3.0, 5.0, 4)


def test_spread_of_one_value_is_that_value() -> None:
    assert measuring.spread([2.5]) == Spread(2.5, 2.5, 2.5, 1)


def test_interleaved_takes_turns_and_leaves_the_warm_up_out(hardware: Hardware) -> None:
    called: list[str] = []
    sides = {"a": lambda: called.append("a"), "b": lambda: called.append("b")}
    times = measuring.interleaved(sides, 0.0, least=3, hardware=hardware)
    assert called == ["a", "b"] * 4
    assert {name: len(values) for name, values in times.items()} == {"a": 3, "b": 3}


def test_interleaved_gives_every_side_all_threads(hardware: Hardware) -> None:
    before, seen = torch.get_num_threads(), []

    def greedy() -> None:
        torch.set_num_threads(2)

    try:
        sides = {"greedy": greedy, "next": lambda: seen.append(torch.get_num_threads())}
        measuring.interleaved(sides, 0.0, least=1, hardware=hardware)
    finally:
        torch.set_num_threads(before)
    assert seen == [1, 1]


def test_ratios_are_turn_by_turn() -> None:
    times = {"slow": [2.0, 8.0, 9.0], "fast": [1.0, 2.0, 3.0]}
    assert measuring.ratios(times, "slow", "fast").middle == 3.0  # of 2, 4, 3


def test_fixed_tasks_are_the_same_at_every_step() -> None:
    source = episodes()
    drawn = source.tasks("train", range(2))
    fixed = FixedTasks(source, drawn)
    assert fixed.tasks("train", range(7, 9)) is drawn
    assert fixed.objective == source.objective
    assert (fixed.shape, fixed.input_shape) == (source.shape, source.input_shape)
    assert fixed.facts() == source.facts()
