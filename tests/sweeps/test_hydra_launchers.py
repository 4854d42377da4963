"""How a job ended that another launcher ran: by the word it left, or for the lack of one."""

from __future__ import annotations

from pathlib import Path

import pytest

from coldstart_cli.experiment import running
from coldstart_cli.files.durable import write_json
from coldstart_cli.sweeps import hydra_launchers
from coldstart_cli.sweeps.hydra_launchers import launch_by_hydra
from coldstart_cli.sweeps.launcher import Job

OPTIONS = running.Options(quiet=True, dry_run=False, command_line=[])


@pytest.fixture
def jobs(tmp_path: Path) -> list[Job]:
    return [Job(f"seed={i}", {"seed": i}, tmp_path / str(i), tmp_path / f"{i}.log") for i in range(3)]


def test_a_job_ended_as_it_says_itself(
    jobs: list[Job], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    def run_jobs(overrides: list[str], flags: list[str], work: object) -> None:
        assert overrides[-1] == f"hydra.sweep.dir='{tmp_path}'" and flags == ["-m"]
        work({"seed": 0})  # type: ignore[operator]
        write_json(tmp_path / "1.json", {"state": "running", "result": "", "log": str(tmp_path / "its.log")})

    monkeypatch.setattr(hydra_launchers.composition, "run_jobs", run_jobs)
    monkeypatch.setattr(hydra_launchers, "outcome", lambda config, options: ("done", "mse 0.5"))
    launch_by_hydra(jobs, ["seed=0,1,2"], OPTIONS)
    assert [(job.state, job.result) for job in jobs] == [
        ("done", "mse 0.5"),
        ("failed", "ended by a signal, or left without a result"),
        ("failed", "its launcher did not start it"),
    ]
    assert jobs[1].log == tmp_path / "its.log" and not list(tmp_path.glob("*.json"))


def test_a_launcher_that_fails_is_the_reason_of_what_it_did_not_start(
    jobs: list[Job], monkeypatch: pytest.MonkeyPatch
) -> None:
    def run_jobs(overrides: list[str], flags: list[str], work: object) -> None:
        assert overrides == ["hydra.sweep.dir=mine"]
        raise OSError("no\nqueue")

    monkeypatch.setattr(hydra_launchers.composition, "run_jobs", run_jobs)
    launch_by_hydra(jobs, ["hydra.sweep.dir=mine"], OPTIONS)
    assert {(job.state, job.result) for job in jobs} == {("failed", "OSError: no queue")}
