"""What a run would cost, said without leaving anything behind."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import pytest

from coldstart_cli.config import composition
from coldstart_cli.experiment.assembly import Experiment, assemble
from coldstart_cli.experiment.forecast import KeysAndValues, forecast
from coldstart_cli.runs.run import Run
from coldstart_cli.testing.tiny_language_model import tiny_texts


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


def test_the_longest_call_is_kept() -> None:
    kept = KeysAndValues()
    for n_tokens, size in ((3, 30), (9, 90), (5, 50)):
        kept.see(n_tokens, size)
    assert (kept.n_tokens, kept.size) == (9, 90)


@pytest.mark.usefixtures("torch_settings")
def test_keys_and_values_of_a_language_model_are_a_part_of_their_own(
    tiny_lm: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    ((_, config),) = composition.points([
        "experiment=smoke", "strategy=in_context", "model=causal_lm", f"model.path={tiny_lm}",
        "model.preprocess.max_length=16", "dataset=text", f"dataset.root={tiny_texts(tmp_path / 'a.csv')}",
        "dataset.n_way=3", "dataset.n_query=2", "baseline=null", "hardware=cpu", "logger=[]",
        "evaluation.n_tasks=2", "evaluation.k_shots=[1,4]", "evaluation.timed_seconds=0.01",
    ])  # fmt: skip
    forecast(assemble(config), Run(tmp_path / "run"))
    said = re.search(r"keys and values of (\d+) tokens ([\d.]+);", capsys.readouterr().out)
    assert said is not None
    # Two layers of one key head of 8 numbers; 12 demonstrations of some 8 tokens, the questions of a call.
    n_tokens = int(said[1])
    assert 96 < n_tokens < 512
    assert float(said[2]) == pytest.approx(2 * 2 * 8 * 4 * n_tokens / 2**20, abs=0.06)


@pytest.mark.usefixtures("torch_settings")
@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("model=mlp", "training.steps=1000000"), True),
        (("model=mlp", "training.steps=2"), False),  # nothing to gain
        (("model=conv4", "dataset=glyphs", "training.steps=1000000"), False),
    ],
)
def test_where_compiling_may_pay_a_forecast_says_so(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], words: tuple[str, ...], said: bool
) -> None:
    ((_, config),) = composition.points([
        "experiment=smoke", "strategy=maml", "dataset=sinusoid", "baseline=null", "hardware=cpu", *words,
    ])  # fmt: skip
    forecast(assemble(config), Run(tmp_path / "run"))
    assert ("\ncompile    " in capsys.readouterr().out) is said
