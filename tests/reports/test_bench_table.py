"""What bench measured, as a person reads it."""

from __future__ import annotations

import io

from rich.console import Console

from coldstart_cli.metrics.benchmark import Benchmark, Machine, Spread, StepTime
from coldstart_cli.reports import bench_table


def step(name: str, of_peak: float, beside: str | None = None) -> StepTime:
    return StepTime(
        name=name,
        overrides=["strategy=maml"],
        ms=Spread(9.04, 10.06, 12.0, 5),
        flops=123_456_789,
        gflops_per_second=12.3,
        peak="conv_fp32",
        of_peak=of_peak,
        beside=beside,
        times=None if beside is None else Spread(1.0, 1.5, 2.0, 5),
    )


def test_bench_table_has_a_row_for_each_step_and_what_stands_beside_them() -> None:
    made = Benchmark(
        format=1,
        machine=Machine(
            torch="2.13", cores=4, device="cpu", name="EPYC", threads=2, precision="fp32", deterministic=False
        ),
        peaks={"conv_fp32": 1200.0, "conv_bf16": 2400.0, "gemm_fp32": 100.0, "gemm_bf16": 300.0},
        steps=[step("MAML", 0.25), step("ANIL", 0.0123, beside="MAML")],
        tasks_per_second={"glyphs": 1234.5},
        startup={"--help": Spread(0.1, 0.123, 0.2, 3)},
    )
    stream = io.StringIO()
    bench_table.show(made, Console(file=stream, width=160, highlight=False))
    lines = [" ".join(line.split()) for line in stream.getvalue().splitlines()]
    assert lines[0] == "EPYC (cpu), 2 threads of 4 cores, torch 2.13"
    assert "convolution 64 to 64 1,200 (bf16 2,400), matrix product 100 (bf16 300)" in lines[1]
    assert "MAML 10.1 9.0 to 12.0 0.123 25%" in lines
    assert "ANIL 10.1 9.0 to 12.0 0.123 1.2% 1.50 x MAML" in lines
    assert "tasks a second, glyphs, one core 1,234" in lines and "seconds, coldstart --help 0.12" in lines
