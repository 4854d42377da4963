"""Sweeps: nothing a job does ends the others, and the same command runs what is missing."""

from __future__ import annotations

import csv
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from coldstart_cli.launcher import Job, SweepPlan, n_at_once
from coldstart_cli.sweep import _varied
from coldstart_cli.sweep_view import SweepView

QUICK = (
    "dataset=sinusoid", "model=mlp", "experiment=smoke", "hardware=cpu", "hardware.threads=1",
    "baseline=null",
    "strategy.inner_lr=0.01", "evaluation.n_tasks=4", "evaluation.n_selection_tasks=2", "training.steps=4",
    "training.log_every=2", "training.validation.every=2", "evaluation.timed_seconds=0.01",
)  # fmt: skip
DOOMED = '''
import ctypes, os, signal, sys, time


class Doomed:
    """A logger that ends its process as the seed says, in every way a process can end."""

    def __init__(self, config, *, fatal: bool) -> None:
        self.how = ["", "kill", "_exit", "exit", "segv", "hang", "term"][config["seed"]] if fatal else ""

    def start(self, title, total, done):
        if self.how == "kill":
            os.kill(os.getpid(), signal.SIGKILL)
        if self.how == "_exit":
            os._exit(7)
        if self.how == "exit":
            sys.exit(5)
        if self.how == "segv":
            os.kill(os.getpid(), signal.SIGSEGV)
        if self.how == "term":
            os.kill(os.getpid(), signal.SIGTERM)
        if self.how == "hang":
            signal.signal(signal.SIGTERM, signal.SIG_IGN)
            time.sleep(600)

    def metrics(self, step, values): pass
    def advance(self, done): pass
    def summary(self, step, values): pass
    def close(self): pass
'''


def sweep(folder: Path, *overrides: str, fatal: bool = True) -> subprocess.CompletedProcess[str]:
    (folder / "doomed.py").write_text(DOOMED)
    command = [sys.executable, "-m", "coldstart_cli", "train", "-m", *QUICK, "trust=[doomed]",
               "+logger.doomed._target_=doomed.Doomed", f"+logger.doomed.fatal={str(fatal).lower()}",
               *overrides]  # fmt: skip
    environment = {**os.environ, "PYTHONPATH": str(folder)}
    return subprocess.run(
        command, cwd=folder, env=environment, capture_output=True, text=True, timeout=300, check=False
    )


def rows(folder: Path) -> dict[str, dict[str, Any]]:
    newest = max((folder / "outputs" / "sweeps").iterdir())
    listed = json.loads((newest / "runs.json").read_text())
    assert listed["format"] == 1
    return {row["label"]: row for row in listed["runs"]}


def test_a_job_that_is_killed_ends_itself_alone_and_is_run_again(tmp_path: Path) -> None:
    done = sweep(tmp_path, "seed=0,1,2", "sweep.n_jobs=2")
    assert done.returncode == 3, done.stderr
    found = rows(tmp_path)
    assert found["seed=0"]["state"] == "done"
    assert (found["seed=1"]["state"], found["seed=1"]["reason"]) == ("failed", "ended by SIGKILL")
    assert found["seed=2"]["reason"] == "left with exit code 7 and no result"
    assert "3 jobs, 2 failed" in done.stdout and "Failed, with their logs" in done.stdout
    again = sweep(tmp_path, "seed=0,1,2", fatal=False)
    assert again.returncode == 0, again.stderr
    assert "seed=0 running" not in again.stderr  # it was there
    assert "seed=1 running" in again.stderr and "seed=2 running" in again.stderr
    newest = max((tmp_path / "outputs" / "sweeps").iterdir())
    with (newest / "summary.csv").open() as lines:
        assert {row["seeds"] for row in csv.DictReader(lines)} == {"3"}


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_every_way_a_process_ends_leaves_the_others_alone(tmp_path: Path) -> None:
    done = sweep(tmp_path, "seed=0,1,2,3,4,5,6", "sweep.timeout_minutes=0.5", "sweep.n_jobs=2")
    assert done.returncode == 3, done.stderr
    found = rows(tmp_path)
    assert [row["state"] for row in found.values()] == ["done"] + 6 * ["failed"]
    assert found["seed=3"]["reason"] == "left with exit code 5 and no result"
    assert found["seed=4"]["reason"] == "ended by SIGSEGV"
    assert found["seed=5"]["reason"].startswith("longer than 0.5 minutes")
    assert found["seed=6"]["reason"] == "left with exit code 143 and no result"


@pytest.mark.slow
@pytest.mark.timeout(120)
@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM, signal.SIGINT])
def test_no_job_outlives_its_sweep(tmp_path: Path, number: int) -> None:
    command = [sys.executable, "-m", "coldstart_cli", "train", "-m", *QUICK[:-6], "training.steps=1000000",
               "seed=0,1", "sweep.n_jobs=2"]  # fmt: skip
    parent = subprocess.Popen(command, cwd=tmp_path, stderr=subprocess.DEVNULL)
    runs = tmp_path / "outputs"

    def writers() -> list[int]:
        locks = [lock.read_text().strip() for lock in runs.glob("*/.lock")]
        return [int(pid) for pid in locks if pid and Path(f"/proc/{pid}").exists()]

    for _ in range(600):
        if len(writers()) == 2 and len(list(runs.glob("*/history.jsonl"))) == 2:
            break
        time.sleep(0.1)
    children = writers()
    assert len(children) == 2
    parent.send_signal(number)
    code = parent.wait(30)
    assert code == (-9 if number == signal.SIGKILL else 128 + number)
    deadline = time.monotonic() + 5
    while any(Path(f"/proc/{pid}").exists() for pid in children) and time.monotonic() < deadline:
        time.sleep(0.1)
    assert not [pid for pid in children if Path(f"/proc/{pid}").exists()]
    assert len(list(runs.glob("*/checkpoints/step-*"))) >= 2  # each saved its state


@pytest.mark.parametrize(
    ("override", "line"),
    [("sweep.n_jobs=0", "sweep.n_jobs: 0 is out of range"), ("sweep.timeout_minutes=-1", "out of range"),
     ("sweep.jobs=2", "sweep.jobs: there is no such key; did you mean sweep.n_jobs?")],
)  # fmt: skip
def test_a_wrong_plan_is_refused_before_any_job(tmp_path: Path, override: str, line: str) -> None:
    done = sweep(tmp_path, "seed=0,1", override)
    assert done.returncode == 2 and line in done.stderr and done.stderr.count("\n") == 1
    assert not (tmp_path / "outputs").exists()


def test_jobs_at_once_follow_the_plan_then_the_hardware() -> None:
    config = {"hardware": {"device": "cpu", "processes": 1}}
    on_gpu = {"hardware": {"device": "cuda", "processes": None}}
    assert n_at_once(SweepPlan(n_jobs=8, timeout_minutes=None), config, 3) == 3
    assert n_at_once(SweepPlan(n_jobs=1, timeout_minutes=None), config, 3) == 1
    assert n_at_once(SweepPlan(n_jobs=None, timeout_minutes=None), on_gpu, 3) == 1
    assert n_at_once(SweepPlan(n_jobs=None, timeout_minutes=None), config, 1) == 1


def test_jobs_at_once_count_the_processes_of_each(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "platform", "linux")
    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: set(range(8)), raising=False)
    plan = SweepPlan(n_jobs=None, timeout_minutes=None)
    for processes, jobs in ((1, 8), (2, 4), (3, 2), (16, 1)):
        assert n_at_once(plan, {"hardware": {"device": "cpu", "processes": processes}}, 20) == jobs


def test_labels_name_the_keys_that_vary() -> None:
    assert _varied(["strategy=maml,protonet", "evaluation.k_shots=[1,5]", "seed=1"]) == {"strategy"}
    assert _varied(["strategy=glob(*)", "seed=range(0,3)"]) == {"strategy", "seed"}
    assert _varied(["seed=1", "outputs=x"]) == {"seed", "outputs"}


def test_the_live_table_shows_running_jobs_and_escapes_names() -> None:
    import io

    from rich.console import Console

    out = io.StringIO()
    console = Console(file=out, force_terminal=True, width=100, height=8, color_system=None)
    jobs = [
        Job(f"seed={i}", {}, Path(f"r{i}"), Path("log"), "done" if i < 9 else "running", "[red]k=1\x1b[31m")
        for i in range(10)
    ] + [Job("seed=10", {}, Path("r"), Path("log"))]
    jobs[9].progress = "training 3/10, validation accuracy 0.5"
    console.print(SweepView(False, console).table(jobs))
    text = out.getvalue()
    assert "training 3/10" in text and "9 of 11 ended, 1 waiting" in text
    assert "seed=0 " not in text and "[red]k=1" in text and "\x1b[31m" not in text
