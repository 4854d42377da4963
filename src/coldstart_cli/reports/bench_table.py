"""What `coldstart bench` measured, as a person reads it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from rich.console import Console
from rich.table import Table
from rich.text import Text

from coldstart_cli.metrics.benchmark import Benchmark, Machine, StepTime
from coldstart_cli.reports.plain_text import terminal


def show(record: Benchmark, console: Console | None = None) -> None:
    """Prints a record as `bench` makes it."""
    console = console or terminal(160)
    console.print(Text(_title(record.machine)), style="bold", soft_wrap=True)
    console.print(Text(_peaks(record.peaks)), soft_wrap=True)
    heads = ("outer step", "ms", "quartiles", "GFLOP", "of peak", "beside the first of its kind")
    console.print(_table(heads, [_step(row) for row in record.steps]))
    console.print()
    rates = [
        (f"tasks a second, {name}, one core", f"{n:,.0f}") for name, n in record.tasks_per_second.items()
    ]
    waits = [(f"seconds, coldstart {name}", f"{s.middle:.2f}") for name, s in record.startup.items()]
    console.print(_table(("beside the steps", "median"), [*rates, *waits]))


def _title(machine: Machine) -> str:
    return (
        f"{machine.name} ({machine.device}), {machine.threads} threads of {machine.cores} cores, "
        f"torch {machine.torch}"
    )


def _peaks(peaks: Mapping[str, float]) -> str:
    names = {"conv": "convolution 64 to 64", "gemm": "matrix product"}
    words = [
        f"{name} {peaks[f'{kind}_fp32']:,.0f} (bf16 {peaks[f'{kind}_bf16']:,.0f})"
        for kind, name in names.items()
    ]
    return f"peak, GFLOP/s: {', '.join(words)}; a multiply-add is 2 FLOPs"


def _step(row: StepTime) -> tuple[str, ...]:
    ms = row.ms
    times = "" if row.times is None else f"{row.times.middle:.2f} x {row.beside}"
    return (
        row.name,
        f"{ms.middle:.1f}",
        f"{ms.low:.1f} to {ms.high:.1f}",
        f"{row.flops / 1e9:.3g}",
        f"{row.of_peak:.0%}" if row.of_peak >= 0.1 else f"{row.of_peak:.1%}",
        times,
    )


def _table(heads: Sequence[str], rows: Sequence[Sequence[str]]) -> Table:
    table = Table(box=None, pad_edge=False)
    for i, head in enumerate(heads):
        table.add_column(head, overflow="fold", justify="right" if 0 < i < 5 else "left")
    for row in rows:
        table.add_row(*map(Text, row))
    return table
