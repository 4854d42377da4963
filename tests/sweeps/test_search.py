"""A search for hyper-parameters: by source-validation tasks alone, and it goes on where it stopped."""

from __future__ import annotations

import json
import os
import shlex
from pathlib import Path

import pytest

from coldstart_cli.cli import main
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


def test_a_study_is_of_one_problem(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    command = ["tune", *QUICK, RATE, "tune.study=s", "tune.n_trials=1"]
    assert main(command) == 0
    pasted = shlex.split(capsys.readouterr().out.splitlines()[-1].partition(": ")[2])
    assert pasted[:2] == ["coldstart", "train"]
    for other, differs in (
        ("seed=1", "seed"),
        ("training.steps=6", "training"),
        ("dataset=harder_sinusoids", "dataset, data"),
        ("strategy=fomaml", "strategy"),
    ):
        words = [word for word in command if word.partition("=")[0] != other.partition("=")[0]]
        assert main([*words, other]) == 2
        said = capsys.readouterr().err
        assert f"tune.study: s in outputs/tune/s.db is of another problem ({differs} differ)" in said
    assert main([*command, "training.log_every=1"]) == 0  # changes no weight
    assert main([*pasted[1:], "--cfg", "job"]) == 0


def test_tune_does_not_wait_for_a_storage_that_is_no_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    os.mkfifo("s.db")
    assert main(["tune", *QUICK, RATE, "tune.storage=s.db"]) == 2
    assert capsys.readouterr().err.startswith("tune.storage: s.db: it is a FIFO, not a file; name")
