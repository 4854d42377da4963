"""What a run would cost, said without leaving anything behind."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import pytest

from coldstart_cli.experiment.assembly import Experiment
from coldstart_cli.experiment.forecast import forecast
from coldstart_cli.runs.run import Run


def test_a_forecast_says_parameters_time_and_disk_and_writes_nothing(
    small_experiment: Callable[..., Experiment], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    made = small_experiment()
    line = forecast(made, Run(tmp_path / "run"))
    out = capsys.readouterr().out
    assert re.fullmatch(r"about \d+ s", line)
    assert out.splitlines()[0] == f"run        {tmp_path / 'run'} (new)"
    n = sum(parameter.numel() for parameter in made.strategy.parameters())
    assert f"parameters {n:,}\n" in out and "(2 steps)" in out and "MiB of checkpoints" in out
    held = sum(4 * t.numel() for t in (*made.strategy.parameters(), *made.strategy.buffers())) / 2**20
    said = re.search(
        r"^memory     about ([\d,]+) MiB of the process at its peak: weights ([\d.]+), gradients ([\d.]+), "
        r"optimizer ([\d.]+); activations, data and libraries ([\d,]+)$",
        out,
        re.MULTILINE,
    )
    assert said is not None
    peak, weights, gradients, optimizer, rest = (float(x.replace(",", "")) for x in said.groups())
    assert weights == pytest.approx(held, abs=0.06)
    assert gradients == pytest.approx(4 * n / 2**20, abs=0.06)
    assert optimizer == pytest.approx(8 * n / 2**20, abs=0.06)  # Adam keeps two values of each
    assert peak == pytest.approx(weights + gradients + optimizer + rest, abs=2)
    assert list(tmp_path.iterdir()) == []
