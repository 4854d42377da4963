"""`coldstart bench`: what it refuses, and that it prints what was measured."""

from __future__ import annotations

import json

import pytest

from coldstart_cli.bench import rows
from coldstart_cli.cli import main
from coldstart_cli.reports import bench_table

pytestmark = pytest.mark.usefixtures("torch_settings")


@pytest.mark.parametrize(
    ("key", "argv"),
    [
        ("strategy=maml:", ["strategy=maml"]),
        ("hardware.precision:", ["hardware.precision=bf16"]),
        ("--jsn:", ["--jsn"]),
        ("hardware:", ["hardware=abacus"]),
        ("hardware.threads:", ["hardware.threads=0"]),
    ],
)
def test_bench_refuses_in_one_line(key: str, argv: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["bench", *argv]) == 2
    error = capsys.readouterr().err
    assert error.startswith(key)
    assert error.count("\n") == 1


def test_bench_prints_what_was_measured_of_the_chosen_hardware(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    asked: list[tuple[list[str], str]] = []

    def benchmark(overrides: list[str], kind: str) -> dict[str, float]:
        asked.append((overrides, kind))
        return {"steps": 2.5}

    monkeypatch.setattr(rows, "benchmark", benchmark)
    monkeypatch.setattr(bench_table, "show", lambda record: print(f"table of {record}"))
    assert main(["bench", "hardware=cpu", "--quick", "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == {"steps": 2.5}
    assert main(["bench"]) == 0
    assert capsys.readouterr().out == "table of {'steps': 2.5}\n"
    assert asked == [(["hardware=cpu"], "quick"), ([], "usual")]
