"""`coldstart bench`: what it refuses, what it measures, and that a row is what its overrides say."""

from __future__ import annotations

import itertools
import json
from collections.abc import Iterator
from dataclasses import replace

import pytest
import torch

from coldstart_cli.bench import measuring, rows
from coldstart_cli.bench.rows import ROWS, built
from coldstart_cli.metrics.benchmark import Benchmark
from coldstart_cli.metrics.json_edge import from_json, to_json

CPU = ("hardware=cpu", "hardware.threads=1")


@pytest.fixture(autouse=True)
def _process_settings() -> Iterator[None]:
    threads = torch.get_num_threads()
    yield
    torch.use_deterministic_algorithms(False)
    torch.set_num_threads(threads)


def test_every_row_is_built_with_the_tasks_it_names() -> None:
    for row in ROWS:
        case = built(row, CPU)
        support = case.source.drawn[0].support
        assert isinstance(support.inputs, torch.Tensor)
        assert support.inputs.dtype == torch.float32
        assert len(case.source.drawn) == case.config["strategy"]["meta_batch_size"]
        assert case.hardware.precision == ("bf16" if row.name.endswith("bf16") else "fp32")
        for words in row.name.split(", "):
            number, _, what = words.partition(" ")
            if what == "tasks":
                assert len(case.source.drawn) == int(number)
            if words.endswith("-way"):
                assert case.source.shape.n_way == int(words.removesuffix("-way"))


def test_names_of_rows_differ_and_groups_lie_together() -> None:
    assert len({row.name for row in ROWS}) == len(ROWS)
    groups = [row.group for row in ROWS]
    assert sum(a != b for a, b in itertools.pairwise(groups)) == len(set(groups)) - 1


def test_flops_of_a_first_order_step_are_those_counted_by_hand() -> None:
    """First-order MAML on an MLP 1-40-40-1, 10 points in each set of 25 tasks."""
    row = replace(
        ROWS[0], overrides=(*ROWS[0].overrides, "strategy.second_order=false", "hardware.vectorize=loop")
    )
    case = built(row, CPU)
    forward = 2 * 10 * (1 * 40 + 40 * 40 + 40 * 1)
    towards_inputs = 2 * 10 * (40 * 40 + 40 * 1)  # the first layer's input needs no gradient
    assert case.flops() == 25 * 2 * (forward + forward + towards_inputs)


@pytest.fixture
def record(monkeypatch: pytest.MonkeyPatch) -> Benchmark:
    """All that the command measures, with one row and without the start-up's processes."""
    monkeypatch.setattr(rows, "ROWS", (ROWS[0], replace(ROWS[0], name="the same again")))
    monkeypatch.setattr(rows, "startup", lambda turns: {"--help": measuring.spread([0.1])})
    monkeypatch.setattr(measuring, "peaks", lambda hardware, seconds: {
        "conv_fp32": 200.0, "conv_bf16": 400.0, "gemm_fp32": 100.0, "gemm_bf16": 300.0})  # fmt: skip
    return rows.benchmark(CPU, "quick")


def test_benchmark_relates_rows_to_the_peak_and_to_the_first_of_their_group(record: Benchmark) -> None:
    first, second = record.steps
    assert first.times is None
    assert second.beside == first.name
    assert second.flops == first.flops
    assert first.peak == "gemm_fp32"
    assert first.of_peak == pytest.approx(first.flops / first.ms.middle / 1e6 / 100)
    assert record.machine.threads == 1
    assert from_json(Benchmark, json.loads(json.dumps(to_json(record)))) == record
