"""How many jobs run at once, and a plan that cannot be."""

from __future__ import annotations

import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

from coldstart_cli.cli import main
from coldstart_cli.errors import JobError, RequestError, Unserved
from coldstart_cli.experiment.running import Options
from coldstart_cli.sweeps import launcher
from coldstart_cli.sweeps.launcher import Job, SweepPlan, n_at_once

QUICK = (
    "dataset=sinusoid", "model=mlp", "experiment=smoke", "hardware=cpu", "hardware.threads=1",
    "baseline=null",
    "strategy.inner_lr=0.01", "evaluation.n_tasks=4", "evaluation.n_selection_tasks=2", "training.steps=4",
    "training.log_every=2", "training.validation.every=2", "evaluation.timed_seconds=0.01",
)  # fmt: skip


@pytest.mark.parametrize(
    ("override", "line"),
    [("sweep.n_jobs=0", "sweep.n_jobs: 0 is out of range"), ("sweep.timeout_minutes=-1", "out of range"),
     ("sweep.jobs=2", "sweep.jobs: there is no such key; did you mean sweep.n_jobs?")],
)  # fmt: skip
def test_a_wrong_plan_is_refused_before_any_job(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    override: str,
    line: str,
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(["train", "-m", *QUICK, "seed=0,1", override]) == 2
    err = capsys.readouterr().err
    assert line in err and err.count("\n") == 1 and not (tmp_path / "outputs").exists()


def test_jobs_at_once_follow_the_plan_then_the_hardware(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("coldstart_cli.sweeps.launcher.usable_cores", lambda: 8)

    def at_once(
        n_jobs: int | None, device: str, threads: int | None, jobs: int = 100, processes: int | None = 1
    ) -> int:
        config = {"hardware": {"device": device, "threads": threads, "processes": processes}}
        return n_at_once(SweepPlan(n_jobs=n_jobs, timeout_minutes=None), config, jobs)

    assert at_once(8, "cpu", 4, jobs=3) == 3 and at_once(1, "cpu", None) == 1 and at_once(9, "cuda", 1) == 9
    assert at_once(None, "cuda", 1) == 1 and at_once(None, "cpu", None, jobs=2) == 2
    if sys.platform == "linux":
        assert [at_once(None, "cpu", n) for n in (None, 1, 2, 3, 8, 16)] == [8, 8, 4, 2, 1, 1]
        assert [at_once(None, "cpu", None, processes=n) for n in (1, 2, 3, 16)] == [8, 4, 2, 1]


@pytest.mark.parametrize(
    ("error", "state", "reason"),
    [
        (Unserved("strategy: k_shot is 0; give labels"), "not served", "strategy: k_shot is 0; give labels"),
        (RequestError("seed: no; yes"), "failed", "seed: no; yes"),
        (JobError("training: loss is nan"), "failed", "training: loss is nan"),
        (SystemExit(5), "failed", "left with exit code 5 and no result"),
        (KeyError("x\ny"), "failed", r"KeyError: 'x\ny'"),
    ],
)
def test_a_job_that_fails_says_why(
    monkeypatch: pytest.MonkeyPatch, error: BaseException, state: str, reason: str
) -> None:
    def train(config: object, options: object) -> None:
        raise error

    monkeypatch.setattr(launcher.running, "train", train)
    assert launcher.outcome({}, Options(quiet=True, dry_run=False, command_line=[])) == (state, reason)


@pytest.mark.parametrize(
    ("code", "words"),
    [
        (-9, "ended by SIGKILL"),
        (-99, "ended by signal 99"),
        (7, "left with exit code 7 and no result"),
        (255, "left with exit code 255 and no result, as where its fork server was killed"),
    ],
)
def test_an_exit_code_is_put_in_words(code: int, words: str) -> None:
    assert launcher._death(code) == words


def test_jobs_of_one_run_directory_follow_one_another() -> None:
    first, same, other = (Job(name, {}, Path(name[0]), Path("log")) for name in ("a1", "a2", "b1"))
    running = [SimpleNamespace(job=first)]
    assert launcher._next([same, other], running) is other  # type: ignore[arg-type]
    assert launcher._next([same], running) is None  # type: ignore[arg-type]
    assert launcher._next([same], []) is same
