"""A search for hyper-parameters: by source-validation tasks alone, and it goes on where it stopped."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from coldstart_cli.cli import main
from coldstart_cli.errors import RequestError
from coldstart_cli.sweeps.search import _Search
from tests.kit.reliability import Tries

optuna = pytest.importorskip("optuna", reason="the extra tune is not installed")

QUICK = (
    "dataset=sinusoid", "model=mlp", "experiment=smoke", "hardware=cpu", "hardware.threads=1",
    "baseline=null",
    "training.steps=4", "training.log_every=2", "training.validation.every=2", "sweep.n_jobs=1",
)  # fmt: skip
RATE = "strategy.inner_lr=tag(log,interval(0.001,0.1))"


def test_tune_searches_goes_on_and_touches_no_new_task(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    command = ["tune", *QUICK, RATE, "model.activation=choice(relu,tanh)"]
    assert main([*command, "tune.n_trials=2"]) == 0
    out, err = capsys.readouterr()
    assert "2 trials, 0 without a result" in out and err.count("validation mse") == 2
    runs = [p for p in (tmp_path / "outputs").iterdir() if (p / "run.json").exists()]
    assert len(runs) == 2 and not [p for run in runs for p in run.glob("evaluations/*")]
    assert main([*command, "tune.n_trials=3"]) == 0
    out, err = capsys.readouterr()
    assert "3 trials" in out and err.count("validation mse") == 1
    history = {
        run.name: [json.loads(line) for line in (run / "history.jsonl").read_text().splitlines()]
        for run in (tmp_path / "outputs").iterdir()
        if (run / "run.json").exists()
    }
    best = min(row["validation_mse"] for rows in history.values() for row in rows if "validation_mse" in row)
    assert f"validation mse {best:.4f}" in out.splitlines()[2]
    assert "coldstart train dataset=sinusoid" in out.splitlines()[-1]
    (storage,) = (tmp_path / "outputs" / "tune").glob("*.db")
    study = optuna.load_study(study_name=storage.stem, storage=f"sqlite:///{storage}")
    assert study.best_value == best and all(
        0.001 <= t.params["strategy.inner_lr"] <= 0.1 for t in study.trials
    )


@pytest.mark.fault("R11")
def test_a_study_takes_one_search_at_a_time_and_proposes_alike_when_it_goes_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tries: Tries
) -> None:
    monkeypatch.chdir(tmp_path)
    command = ["tune", *QUICK, RATE, "tune.study=s"]
    begun: list[dict[str, object]] = []

    def begin(search: _Search, start: object, running: object, n_asked: int) -> None:
        if not begun:  # another search of the same study, at the same time
            tries.of(1, 1)
            assert main(command) == 2
            assert "s is searched in process" in capsys.readouterr().err
        trial = search.proposed(n_asked)
        begun.append(trial.params)
        search.study.tell(trial, 1.0 + n_asked)

    monkeypatch.setattr(_Search, "_begin", begin)
    assert main([*command, "tune.n_trials=6"]) == 0
    at_once, begun[1:] = begun[1:], []
    for n in (3, 6):
        assert main([*command, "tune.study=t", f"tune.n_trials={n}"]) == 0
    assert begun[2:] == at_once


@pytest.mark.parametrize(
    ("overrides", "line"),
    [((), "tune: nothing is searched"), ((RATE, "tune.trials=3"), "tune.trials: there is no such key"),
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
