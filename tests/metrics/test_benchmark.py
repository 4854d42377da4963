"""What bench measured goes to JSON and comes back as it was."""

from __future__ import annotations

import json

from coldstart_cli.metrics.benchmark import Benchmark, Machine, Spread, StepTime
from coldstart_cli.metrics.json_edge import from_json, to_json


def made(processes: int | None) -> Benchmark:
    spread = Spread(1.0, 2.0, 3.0, 4)
    return Benchmark(
        format=1,
        machine=Machine(
            torch="2", cores=2, device="cpu", name="x", threads=1,
            processes=processes, precision="fp32", deterministic=False,
        ),
        peaks={"conv_fp32": 50.0},
        steps=[
            StepTime(
                name="maml", overrides=["strategy=maml"], ms=spread, flops=10, gflops_per_second=1.0,
                peak="conv_fp32", of_peak=0.02, beside=None, times=None,
            )
        ],
        tasks_per_second={"sinusoid": 9.0},
        startup={"--help": spread},
    )  # fmt: skip


def test_a_benchmark_survives_json() -> None:
    text = json.dumps(to_json(made(2)))
    assert to_json(from_json(Benchmark, json.loads(text))) == json.loads(text)
    assert json.loads(text)["steps"][0]["ms"] == {"low": 1.0, "middle": 2.0, "high": 3.0, "n": 4}


def test_a_number_of_processes_that_nobody_set_is_left_out() -> None:
    assert to_json(made(2))["machine"]["processes"] == 2
    assert "processes" not in to_json(made(None))["machine"]
