"""Sweeps: nothing a job does ends the others, and the same command runs what is missing."""

from __future__ import annotations

import contextlib
import csv
import io
import json
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from coldstart_cli.cli import main
from coldstart_cli.errors import RequestError
from coldstart_cli.experiment import trainer
from coldstart_cli.experiment.running import Options
from coldstart_cli.sweeps.sweep import _checked, _varied
from tests.kit.marked_processes import gone_within, marked
from tests.kit.reliability import Tries

QUICK = (
    "dataset=sinusoid", "model=mlp", "experiment=smoke", "hardware=cpu", "hardware.threads=1",
    "baseline=null",
    "strategy.inner_lr=0.01", "evaluation.n_tasks=4", "evaluation.n_selection_tasks=2", "training.steps=4",
    "training.log_every=2", "training.validation.every=2", "evaluation.timed_seconds=0.01",
)  # fmt: skip
pytestmark = pytest.mark.usefixtures("torch_settings")
FATES = ("", "raise", "exit", "_exit", "kill", "segv", "", "hang", "hold", "term", "abort", "kill")
DOOMED = (
    f"FATES = {FATES}"
    + '''
import ctypes, os, signal, subprocess, sys, time


class Doomed:
    """A logger that ends its process as the seed says, in every way a process can end."""

    def __init__(self, config, *, fatal: bool) -> None:
        self.how = FATES[config["seed"]] if fatal else ""

    def start(self, title, total, done):
        if self.how == "raise":
            sys.modules["coldstart_cli.experiment.trainer"].step_seed = None  # not callable
        if self.how == "exit":
            sys.exit(5)
        if self.how == "_exit":
            os._exit(7)
        number = {"kill": 9, "segv": 11, "term": 15, "abort": 6}.get(self.how)
        if number:
            os.kill(os.getpid(), number)
        if self.how == "hang":
            signal.signal(signal.SIGTERM, signal.SIG_IGN)
            time.sleep(600)
        if self.how == "hold":
            subprocess.Popen(["sleep", "600"])
            ctypes.PyDLL(None).sleep(600)  # in C, with the interpreter's lock

    def metrics(self, step, values): pass
    def advance(self, done): pass
    def summary(self, step, values): pass
    def close(self): pass
'''
)
REASONS = {
    "": None, "raise": "TypeError: 'NoneType' object is not callable", "hold": "longer than 0.5 minutes",
    "exit": "left with exit code 5 and no result", "_exit": "left with exit code 7 and no result",
    "kill": "ended by SIGKILL", "segv": "ended by SIGSEGV", "abort": "ended by SIGABRT",
    "hang": "longer than 0.5 minutes", "term": "left with exit code 143 and no result",
}  # fmt: skip


def command(folder: Path, *overrides: str, fatal: bool = True) -> list[str]:
    (folder / "doomed.py").write_text(DOOMED)
    return [sys.executable, "-m", "coldstart_cli", "train", "-m", *QUICK, "trust=[doomed]",
            "+logger.doomed._target_=doomed.Doomed", f"+logger.doomed.fatal={str(fatal).lower()}",
            *overrides]  # fmt: skip


def sweep(folder: Path, *overrides: str, fatal: bool = True) -> subprocess.CompletedProcess[str]:
    environment = marked(PYTHONPATH=str(folder))
    try:
        done = subprocess.run(
            command(folder, *overrides, fatal=fatal),
            cwd=folder, env=environment, capture_output=True, text=True, check=False,
        )  # fmt: skip
    finally:
        left = not gone_within(environment, 5)
    assert not left, "a process was left behind"
    return done


def sweep_here(folder: Path, *overrides: str, fatal: bool = True) -> tuple[int, str, str]:
    """(exit code, stdout, stderr) of a sweep in this process, which no job ends: nothing is imported anew."""
    _, _, _, *arguments = command(folder, *overrides, fatal=fatal)
    out, err = io.StringIO(), io.StringIO()
    with (
        pytest.MonkeyPatch.context() as patch,
        contextlib.redirect_stdout(out),
        contextlib.redirect_stderr(err),
    ):
        patch.chdir(folder)
        patch.syspath_prepend(folder)
        patch.setattr(trainer, "step_seed", trainer.step_seed)  # given back after a job that breaks it
        code = main(arguments)
    sys.modules.pop("doomed", None)  # the next folder has one of its own
    return code, out.getvalue(), err.getvalue()


def rows(folder: Path) -> dict[str, dict[str, Any]]:
    newest = max((folder / "outputs" / "sweeps").iterdir())
    listed = json.loads((newest / "runs.json").read_text())
    assert listed["format"] == 1
    return {row["label"]: row for row in listed["runs"]}


def finished(folder: Path) -> dict[str, int]:
    """Run directory -> when its evaluation was written, for those that are finished."""
    return {
        file.parents[2].name: file.stat().st_mtime_ns
        for file in (folder / "outputs").glob("*/evaluations/*/summary.json")
        if not file.parent.name.startswith(".")
    }


@pytest.mark.fault("R9")
@pytest.mark.timeout(1200)
def test_every_way_a_job_ends_leaves_the_others_alone(tmp_path: Path, tries: Tries) -> None:
    seeds = tries.of(6, len(FATES))
    varied = f"seed={','.join(map(str, seeds))}"
    done = sweep(tmp_path, varied, "sweep.timeout_minutes=0.5", "sweep.n_jobs=2")
    found, failed = rows(tmp_path), sum(bool(FATES[seed]) for seed in seeds)
    for seed in seeds:
        reason, row = REASONS[FATES[seed]], found[f"seed={seed}"]
        if (row["state"] == "done") is not (reason is None) or not str(row["reason"]).startswith(str(reason)):
            tries.failures.append(f"{FATES[seed]}: {row}")
    assert done.returncode == 3 and f"{len(seeds)} jobs, {failed} failed" in done.stdout, done.stderr
    assert done.stdout.count("\n  seed=") == len(seeds) + failed and "Failed, with their logs" in done.stdout
    before = finished(tmp_path)
    code, _, err = sweep_here(tmp_path, varied, "sweep.n_jobs=2", fatal=False)
    assert code == 0, err
    assert err.count(" running") == failed
    after = finished(tmp_path)
    assert len(after) == len(seeds) and before.items() <= after.items()  # what was there was not made again
    newest = max((tmp_path / "outputs" / "sweeps").iterdir())
    with (newest / "summary.csv").open() as lines:
        assert {row["seeds"] for row in csv.DictReader(lines)} == {str(len(seeds))}


@pytest.mark.fault("R9")
@pytest.mark.timeout(1200)
@pytest.mark.parametrize(
    ("launcher", "quick", "full"), [("basic", "0,2", "0,1,2"), ("local", "0,4", "0,1,2,3,4,5")]
)
def test_other_launchers_end_with_their_table(
    tmp_path: Path, tries: Tries, launcher: str, quick: str, full: str
) -> None:
    if launcher == "local":
        pytest.importorskip("submitit", reason="the extra slurm is not installed")
    seeds = (full if tries.full else quick).split(",")
    tries.of(len(seeds), len(seeds))
    varied, failed = f"seed={','.join(seeds)}", sum(bool(FATES[int(seed)]) for seed in seeds)
    if launcher == "basic":  # its jobs run in the process of the sweep, and none of these kills it
        code, out, err = sweep_here(tmp_path, varied, f"hydra/launcher={launcher}")
    else:
        done = sweep(tmp_path, varied, f"hydra/launcher={launcher}")
        code, out, err = done.returncode, done.stdout, done.stderr
    assert code == 3 and f"{len(seeds)} jobs, {failed} failed" in out, err
    for seed in seeds:
        row, fate = rows(tmp_path)[f"seed={seed}"], FATES[int(seed)]
        signalled = fate in ("_exit", "kill", "segv")
        reason = "ended by a signal, or left without a result" if signalled else REASONS[fate]
        if (row["state"] == "done") is bool(fate) or not str(row["reason"]).startswith(str(reason)):
            tries.failures.append(f"{fate}: {row}")
    if tries.full:
        before = finished(tmp_path)
        assert sweep(tmp_path, varied, f"hydra/launcher={launcher}", fatal=False).returncode == 0
        after = finished(tmp_path)
        assert len(after) == len(seeds) and before.items() <= after.items()


@pytest.mark.fault("R10")
@pytest.mark.timeout(1200)
def test_a_killed_sweep_leaves_no_job_and_repeats_none(
    tmp_path: Path, tries: Tries, monkeypatch: pytest.MonkeyPatch
) -> None:
    moments, first, known = random.Random(0), 0, {}
    for i in tries.of(2, 20):
        seeds = f"seed=range({first},{first + 3})"
        environment = marked()
        parent = subprocess.Popen(
            [*plain(), seeds, "training.steps=40"], cwd=tmp_path, env=environment, stderr=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
        )  # fmt: skip
        while parent.poll() is None and not any(
            running(lock) for lock in (tmp_path / "outputs").glob("*/.lock")
        ):
            time.sleep(0.02)
        time.sleep(moments.uniform(0, 3))
        parent.kill()
        parent.wait()
        if not gone_within(environment, 5):
            tries.failures.append(f"kill {i}: a job was left after 5 s")
        found = finished(tmp_path)
        tries.failures += [f"kill {i}: {run} was made again" for run in known if found[run] != known[run]]
        known = found
        if len(found) >= first + 3:
            first += 3
    _, _, _, *arguments = plain()
    monkeypatch.chdir(tmp_path)
    assert main([*arguments, f"seed=range({first},{first + 3})", "training.steps=40"]) == 0
    assert len(finished(tmp_path)) == first + 3
    assert known.items() <= finished(tmp_path).items()


def plain() -> list[str]:
    return [sys.executable, "-m", "coldstart_cli", "train", "-m", *QUICK, "sweep.n_jobs=2"]


def running(lock: Path) -> bool:
    process = lock.read_text().strip()
    return bool(process) and Path(f"/proc/{process}").exists()


@pytest.mark.slow
@pytest.mark.fault("R10")
@pytest.mark.timeout(300)
@pytest.mark.parametrize(
    ("number", "group"),
    [(signal.SIGKILL, False), (signal.SIGTERM, False), (signal.SIGINT, False), (signal.SIGTERM, True)],
)
def test_no_job_outlives_its_sweep(tmp_path: Path, tries: Tries, number: int, group: bool) -> None:
    tries.of(1, 1)
    environment = marked()
    parent = subprocess.Popen(
        [*plain(), "training.steps=1000000", "seed=0,1"], cwd=tmp_path, stderr=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL, env=environment, start_new_session=True,
    )  # fmt: skip
    runs = tmp_path / "outputs"
    for _ in range(1200):
        if len(list(runs.glob("*/history.jsonl"))) == 2:
            break
        time.sleep(0.1)
    (os.killpg if group else os.kill)(parent.pid, number)
    assert parent.wait(30) == (-9 if number == signal.SIGKILL else 128 + number)
    assert gone_within(environment, 5)
    assert len(list(runs.glob("*/checkpoints/step-*"))) >= 2  # each saved its state
    reasons = {row["reason"] for row in rows(tmp_path).values()}
    assert number == signal.SIGKILL or reasons == {"the sweep was stopped"}


def test_labels_name_the_keys_that_vary() -> None:
    assert _varied(["strategy=maml,protonet", "evaluation.k_shots=[1,5]", "seed=1"]) == {"strategy"}
    assert _varied(["strategy=glob(*)", "seed=range(0,3)"]) == {"strategy", "seed"}
    assert _varied(["seed=1", "outputs=x"]) == {"seed", "outputs"}


def test_a_config_that_a_pattern_names_and_that_fits_no_other_is_left_out_and_said() -> None:
    vectors = ("dataset=sensors", "model=features", "experiment=smoke", "baseline=null")
    served, unfit = _checked([*vectors, "strategy=glob([nearest_centroid,boil])"], Options(True, True, ""))
    if served.state == "not served":  # a pattern's names come in Hydra's order
        served, unfit = unfit, served
    assert served.label == "strategy=nearest_centroid" and served.state != "not served"
    assert unfit.state == "not served" and unfit.result == (
        "strategy.adapted: body has no weights in this model; choose adapted=head"
    )
    with pytest.raises(RequestError, match=r"choose adapted=head \(in the job strategy=boil\)$"):
        _checked([*vectors, "strategy=nearest_centroid,boil"], Options(True, True, ""))
    with pytest.raises(RequestError, match=r"choose adapted=head$"):
        _checked([*vectors, "strategy=glob(boil)"], Options(True, True, ""))
