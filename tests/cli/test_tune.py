"""`coldstart tune`: what it refuses, and the command that it proposes."""

from __future__ import annotations

import shlex
from pathlib import Path

import pytest

from coldstart_cli.cli import main
from coldstart_cli.errors import RequestError

pytest.importorskip("optuna", reason="the extra tune is not installed")

QUICK = (
    "dataset=sinusoid", "model=mlp", "experiment=smoke", "hardware=cpu", "hardware.threads=1",
    "baseline=null",
    "training.steps=4", "training.log_every=2", "training.validation.every=2", "sweep.n_jobs=1",
)  # fmt: skip
RATE = "strategy.inner_lr=tag(log,interval(0.001,0.1))"


@pytest.mark.parametrize(
    ("overrides", "line"),
    [(("strategy=scratch", "strategy.rule=sgd", "strategy.lr=0.1"), "gives every key of .* a value; leave"),
     ((RATE, "tune.trials=3"), "tune.trials: there is no such key"),
     ((RATE, "tune.n_trials=0"), "tune.n_trials: 0 is out of range"),
     (("optimizer.lr=interval(1,0.1)",), r"optimizer.lr: interval\(1, 0.1\) is empty"),
     (("optimizer.lr=tag(log,interval(0,1))",), "on a logarithmic scale"),
     (("optimizer.lrr=interval(0,1)",), "optimizer.lrr: there is no such key")],
)  # fmt: skip
def test_tune_refuses_in_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str],
    overrides: tuple[str, ...], line: str,
) -> None:  # fmt: skip
    monkeypatch.chdir(tmp_path)
    assert main(["tune", *QUICK, *overrides]) == 2
    err = capsys.readouterr().err
    assert err.count("\n") == 1
    with pytest.raises(RequestError, match=line):
        raise RequestError(err.strip())


def test_tune_names_the_folder_of_configs_in_its_best_command(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    folder = "my ä,=configs"
    assert main(["cp", "strategy/maml", f"{folder}/strategy/mine.yaml"]) == 0
    command = ["tune", *QUICK, "strategy=mine", RATE, "tune.n_trials=1", "--config-dir", folder]
    assert main(command) == 0
    out = capsys.readouterr().out
    pasted = shlex.split(out.splitlines()[-1].partition(": ")[2])
    assert pasted[2:4] == ["--config-dir", folder]
    assert "searchpath" not in out
    assert main([*pasted[1:], "--cfg", "job"]) == 0


def test_tune_takes_its_ranges_from_the_strategys_file_and_scratch_is_validated_too(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "own" / "search").mkdir(parents=True)
    (tmp_path / "own" / "strategy").mkdir()
    assert main(["cp", "strategy/scratch", "own/strategy/mine.yaml"]) == 0
    command = ["tune", *QUICK, "strategy=mine", "tune.n_trials=2", "--config-dir", "own"]
    assert main(command) == 2
    assert "nothing is searched and there is no search/mine.yaml; give" in capsys.readouterr().err
    ranges = "# Mine\nstrategy.lr: tag(log, interval(0.001, 0.5))\n"
    (tmp_path / "own" / "search" / "mine.yaml").write_text(ranges)
    assert main(command) == 0
    out, err = capsys.readouterr()
    assert "tune: searches strategy.lr, as own/search/mine.yaml says" in err
    assert "2 trials, 0 without a result" in out and err.count("validation mse") == 2
    pasted = shlex.split(out.splitlines()[-1].partition(": ")[2])
    assert pasted[-1] == "training.trials=2" and pasted[-2].startswith("strategy.lr=")
    assert main([*pasted[1:], "evaluation.k_shots=[5]"]) == 0
    assert "Search behind the settings: 2 trials" in capsys.readouterr().out
