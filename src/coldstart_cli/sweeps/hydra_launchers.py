"""A sweep whose jobs another launcher of Hydra runs: in this process, or through submitit on SLURM or here.

Such a launcher hands a function to processes of its own and takes back what it returns, if they live so long.
So each job writes how it ended beside its sweep, and the sweep believes these files alone.
"""

from __future__ import annotations

import contextlib
import os
import sys
import types
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from coldstart_cli.config import composition
from coldstart_cli.config.typed import in_quotes
from coldstart_cli.errors import RequestError
from coldstart_cli.experiment import running
from coldstart_cli.files.durable import read_json, write_json
from coldstart_cli.processes.safe_path import safe_path
from coldstart_cli.sweeps.launcher import ENDS, Job, outcome


def launch_by_hydra(jobs: Sequence[Job], overrides: Sequence[str], options: running.Options) -> None:
    """Lets Hydra's launcher run the jobs; each ends with its state and result set.

    Raises:
        RequestError: where the launcher itself cannot be had.
        Stopped: after a signal to a job in this process.
    """
    folder = jobs[0].log.parent.absolute()
    if not any(o.startswith("hydra.sweep.dir=") for o in overrides):
        overrides = [*overrides, f"hydra.sweep.dir={in_quotes(str(folder))}"]

    def work(config: composition.Config) -> None:
        job = next(job for job in jobs if job.config == config)
        said = folder / f"{job.log.stem}.json"
        write_json(said, {"state": "running", "result": "", "log": _log()})
        state, result = outcome(config, options)
        write_json(said, {"state": state, "result": result, "log": _log()})

    broken = None
    try:
        with every_job_awaited(), safe_path():
            composition.run_jobs(overrides, ["-m"], work)
    except RequestError:
        raise
    except Exception as error:  # of the launcher: what its jobs have done is in their files
        broken = f"{type(error).__name__}: {' '.join(str(error).split())[:200]}"
    finally:
        for job in jobs:
            said = folder / f"{job.log.stem}.json"
            if job.state == "waiting":
                _judge(job, said, broken)
            said.unlink(missing_ok=True)


def _judge(job: Job, said: Path, broken: str | None) -> None:
    """Sets how a job ended, by its own word."""
    word: dict[str, Any] = {"state": "waiting", "log": None}
    with contextlib.suppress(RequestError):
        word = read_json(said, "sweep")
    if word["log"]:
        job.log = Path(word["log"])
    if word["state"] in ENDS:
        job.state, job.result = word["state"], word["result"]
    elif word["state"] == "running":
        job.state, job.result = "failed", "ended by a signal, or left without a result"
    else:
        job.state, job.result = "failed", broken or "its launcher did not start it"


def _log() -> str | None:
    """The file that submitit gives this process's output to, where it runs this process."""
    submitit = sys.modules.get("submitit")
    if submitit is None or "SUBMITIT_EXECUTOR" not in os.environ:
        return None
    with contextlib.suppress(RuntimeError, KeyError):
        return str(submitit.JobEnvironment().paths.stderr)
    return None


@contextlib.contextmanager
def every_job_awaited() -> Iterator[None]:
    """submitit's launcher asks one job after another for its result and gives up at the first without one.

    For the length of this block a job without a result has an empty one, so that all are waited for.
    """
    try:
        from submitit import Job as Submitted
        from submitit.core.utils import FailedJobError, UncompletedJobError
    except ImportError:
        yield
        return
    patched: Any = Submitted
    asked = patched.results

    def results(submitted: Any) -> list[Any]:
        try:
            return list(asked(submitted))
        except (FailedJobError, UncompletedJobError):
            return [types.SimpleNamespace(return_value=None)]  # all that Hydra's sweeper asks of it

    patched.results = results
    try:
        yield
    finally:
        patched.results = asked
