"""One child process for each job, so that nothing a job does can end its sweep.

Children are forked from a server that has torch loaded; the server is forked off before any job, so it holds
no state of one. It also ends them where the sweep itself is gone (fork_server.py).
"""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import signal
import sys
import time
import traceback
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from multiprocessing.connection import Connection, wait
from pathlib import Path
from typing import Annotated, Any, Literal, Protocol

from annotated_types import Ge, Gt

from coldstart_cli.errors import JobError, RequestError, Unserved
from coldstart_cli.experiment import running
from coldstart_cli.hardware import usable_cores
from coldstart_cli.processes.safe_path import safe_path
from coldstart_cli.processes.signals import StopOnSignal
from coldstart_cli.runs.run import Run
from coldstart_cli.sweeps.messages import Watcher, heard, tell

State = Literal["waiting", "running", "done", "failed", "not served"]
ENDS = ("done", "failed", "not served")
STOPPED = "the sweep was stopped"
GRACE_SECONDS = 10.0
"""Between asking a job to stop, which saves its state, and killing it; between its result and its end."""


@dataclass(frozen=True, kw_only=True, slots=True)
class SweepPlan:
    """How the jobs of a sweep run.

    Attributes:
        n_jobs: at once; None: as many as the CPU's cores serve with the threads that each asks for, one
            each if it asks for none, which trains small networks fastest; one on a GPU.
        timeout_minutes: of a job, or None.
    """

    n_jobs: Annotated[int, Ge(1)] | None
    timeout_minutes: Annotated[float, Gt(0)] | None


@dataclass(slots=True)
class Job:
    """A point of a sweep and how far it is.

    Attributes:
        run: its run directory; jobs that share one run after one another.
        result: its headline, or why there is none.
        progress: what it is doing, such as `training 300/1000`.
    """

    label: str
    config: Mapping[str, Any]
    run: Path
    log: Path
    state: State = "waiting"
    result: str = ""
    progress: str = ""
    seconds: float = 0.0
    started: float = field(default=0.0, repr=False)


class View(Protocol):
    """Who is told of the jobs while they run."""

    def changed(self, jobs: Sequence[Job], job: Job | None) -> None:
        """`job` began or ended; without one, time has passed."""


def n_at_once(plan: SweepPlan, config: Mapping[str, Any], n_jobs: int) -> int:
    """Jobs at once: what the plan says, or as many as the hardware of `config` serves."""
    import torch

    if plan.n_jobs is not None:
        return min(plan.n_jobs, n_jobs)
    hardware = config["hardware"]
    if hardware["device"] in ("cuda", "mps") or (hardware["device"] == "auto" and torch.cuda.is_available()):
        return 1
    if sys.platform != "linux":
        return 1
    taken = (hardware["threads"] or 1) * (hardware["processes"] or 1)
    return max(1, min(usable_cores() // taken, n_jobs))


def launch(jobs: Sequence[Job], plan: SweepPlan, options: running.Options, view: View) -> None:
    """Runs the waiting jobs; each ends with its state and result set.

    Raises:
        Stopped: after a signal; the children have saved their state and are gone.
    """
    waiting = [job for job in jobs if job.state == "waiting"]
    if not waiting:
        return
    # Of all jobs, not of those that are missing: a run that goes on keeps its number of threads.
    at_once = n_at_once(plan, waiting[0].config, len(jobs))
    start = children(options, at_once)
    running: list[Child] = []
    limit = None if plan.timeout_minutes is None else 60 * plan.timeout_minutes
    with StopOnSignal() as stop:
        try:
            while waiting or running:
                while len(running) < at_once and (job := _next(waiting, running)) is not None:
                    waiting.remove(job)
                    running.append(start(job))
                    view.changed(jobs, job)
                wait([c.sentinel for c in running] + [c.messages for c in running], timeout=0.25)
                for child in list(running):
                    child.read()
                    if limit is not None and time.monotonic() - child.job.started > limit:
                        child.stop(f"longer than {plan.timeout_minutes:g} minutes (sweep.timeout_minutes)")
                    if child.ended:
                        running.remove(child)
                        child.close()
                        view.changed(jobs, child.job)
                view.changed(jobs, None)
                stop.check()
        finally:
            stop_all(running)


def children(options: running.Options, at_once: int) -> Callable[[Job], Child]:
    """What starts a job in a process of its own, each on its share of the CPU's threads."""
    threads = max(1, usable_cores() // at_once)
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(
        ["coldstart_cli.sweeps.fork_server", "torch", "coldstart_cli.experiment.running"]
    )
    return lambda job: Child(context, job, options, threads)


def _next(waiting: Sequence[Job], running: Sequence[Child]) -> Job | None:
    """The first job whose run directory no other job is writing."""
    taken = {child.job.run for child in running}
    return next((job for job in waiting if job.run not in taken), None)


def stop_all(running: Sequence[Child]) -> None:
    for child in running:
        child.stop(STOPPED)
    for child in running:
        child.process.join(GRACE_SECONDS)
        if child.process.is_alive():
            child.process.kill()
            child.process.join()
        child.close()


class Child:
    """A job in a process of its own, seen from the sweep."""

    def __init__(self, context: Any, job: Job, options: running.Options, threads: int) -> None:
        self.job, self._stopping = job, 0.0
        self._validations: list[tuple[int, float]] = []
        self.messages, theirs = context.Pipe(duplex=False)
        # start() opens this process's main module again in the child, as "spawn" does: nothing of ours runs
        # there but _work, which is imported by name.
        arguments = (dict(job.config), options, str(job.log), theirs, threads)
        self.process = context.Process(target=_work, args=arguments, daemon=False)
        job.state, job.started = "running", time.monotonic()
        with _without_main(), safe_path():  # the first start also starts the fork server
            self.process.start()
        theirs.close()
        self.sentinel = self.process.sentinel

    @property
    def ended(self) -> bool:
        return self.process.exitcode is not None

    def read(self) -> None:
        """Takes what the child has said; where it said nothing of its end, its exit code says it."""
        job, ended = self.job, self.ended
        job.seconds = time.monotonic() - job.started
        for kind, value in heard(self.messages):
            if kind == "progress":
                job.progress = str(value)
            elif kind == "validation":
                self._validations.append((int(value[0]), float(value[1])))
            elif kind in ENDS and not self._stopping:
                job.state, job.result = kind, str(value)  # type: ignore[assignment]
                self._stopping = time.monotonic()  # it has nothing left to do but to end
        if self._stopping and not ended and time.monotonic() > self._stopping + GRACE_SECONDS:
            self.process.kill()
        if ended and job.state == "running":
            job.state, job.result = "failed", _death(self.process.exitcode or 0)

    def validations(self) -> list[tuple[int, float]]:
        """(step, value) of the source-validation tasks since it was asked last."""
        found, self._validations = self._validations, []
        return found

    def stop(self, reason: str) -> None:
        if not self._stopping and not self.ended:
            self._stopping = time.monotonic()
            self.job.state, self.job.result = "failed", reason
            self.process.terminate()

    def close(self) -> None:
        self.read()
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(self.process.pid, signal.SIGKILL)  # what the job started and left behind
        if self.job.state == "failed" and self.job.result != STOPPED:
            Run(self.job.run).failed(self.job.result)
        self.messages.close()


def _death(code: int) -> str:
    """What an exit code says of a process that did not say it itself."""
    if code < 0:
        with contextlib.suppress(ValueError):
            return f"ended by {signal.Signals(-code).name}"
        return f"ended by signal {-code}"
    server = ", as where its fork server was killed" if code == 255 else ""
    return f"left with exit code {code} and no result{server}"


def outcome(config: Mapping[str, Any], options: running.Options) -> tuple[State, str]:
    """Trains and evaluates here; how that ended and its headline, or why there is none.

    Raises:
        Stopped: after a signal.
    """
    try:
        return "done", running.train(config, options).line
    except Unserved as error:
        return "not served", str(error)
    except (RequestError, JobError) as error:
        print(error, file=sys.stderr)
        return "failed", str(error)
    except SystemExit as error:  # not this process's end, but what a job's code takes for its own
        return "failed", f"left with exit code {error.code} and no result"
    except Exception as error:
        traceback.print_exc()
        return "failed", f"{type(error).__name__}: {' '.join(str(error).split())[:200]}"


@contextlib.contextmanager
def _without_main() -> Iterator[None]:
    """Children import what they need by name; they need not run the parent's main module again."""
    main = sys.modules["__main__"]
    spec, file = getattr(main, "__spec__", None), main.__dict__.pop("__file__", None)
    main.__spec__ = None
    try:
        yield
    finally:
        main.__spec__ = spec
        if file is not None:
            main.__file__ = file


def _work(
    config: dict[str, Any], options: running.Options, log: str, messages: Connection, threads: int
) -> None:
    """The child: trains, and says how far it is and how it ended. Its output goes to the log.

    It leads a group of its own (fork_server.py): what it starts is ended with it, and a terminal's Ctrl-C
    reaches the sweep alone.
    """
    descriptor = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o666)
    for stream in (1, 2):
        os.dup2(descriptor, stream)
    os.close(descriptor)
    if config["hardware"]["threads"] is None:
        each = max(1, threads // (config["hardware"]["processes"] or 1))
        config = {**config, "hardware": {**config["hardware"], "threads": each}}
    try:
        tell(messages, *outcome(config, replace(options, quiet=False, watcher=Watcher(messages))))
    except KeyboardInterrupt as error:
        sys.exit(128 + getattr(error, "number", int(signal.SIGINT)))
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
