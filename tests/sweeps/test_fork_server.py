"""No job outlives its sweep, not even one that runs no Python, nor what it started."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.kit.marked_processes import alive, gone_within, marked
from tests.kit.reliability import Tries

pytestmark = [
    pytest.mark.fault("R10"),
    pytest.mark.skipif(sys.platform != "linux", reason="looks for processes in /proc"),
]
JOBS = '''
import ctypes, os, signal, subprocess, sys, threading, time

def hold():
    """Blocks in C and never gives the interpreter's lock back; has a child of its own."""
    subprocess.Popen(["sleep", "60"])
    threading.Thread(target=watch, daemon=True).start()
    open(f"{os.getpid()}.here", "w").close()
    ctypes.PyDLL(None).sleep(60)

def watch():  # what would end it, if a thread of it could run
    while os.getppid() != 1:
        time.sleep(0.1)
    os._exit(1)

def save():
    """Needs a second to save its state when it is asked to stop."""
    def stop(number, frame):
        time.sleep(1)
        open(f"{os.getpid()}.saved", "w").close()
        sys.exit(0)
    signal.signal(signal.SIGTERM, stop)
    open(f"{os.getpid()}.here", "w").close()
    time.sleep(60)
'''
SWEEP = """
import multiprocessing, sys, time
import jobs
context = multiprocessing.get_context("forkserver")
context.set_forkserver_preload([m for m in sys.argv[2:] if m])
for _ in range(2):
    context.Process(target=getattr(jobs, sys.argv[1]), daemon=False).start()
from multiprocessing import forkserver
print(forkserver._forkserver._forkserver_pid, flush=True)
time.sleep(60)
"""


def begun(folder: Path, job: str, preload: str) -> tuple[subprocess.Popen[str], dict[str, str], int]:
    """A process that plays the sweep, in a group of its own, once its two jobs run; the fork server's id."""
    (folder / "jobs.py").write_text(JOBS)
    environment = marked(PYTHONPATH=str(folder))
    sweep = subprocess.Popen(
        [sys.executable, "-c", SWEEP, job, preload],
        cwd=folder, env=environment, stdout=subprocess.PIPE, text=True, start_new_session=True,
    )  # fmt: skip
    assert sweep.stdout is not None
    server = int(sweep.stdout.readline())
    deadline = time.monotonic() + 60
    while len(list(folder.glob("*.here"))) < 2 and time.monotonic() < deadline:
        time.sleep(0.05)
    return sweep, environment, server


def over(sweep: subprocess.Popen[str]) -> None:
    """Waits for its end; its output may still be held by what it started."""
    assert sweep.stdout is not None
    sweep.wait()
    sweep.stdout.close()


@pytest.mark.parametrize(("preload", "ended"), [("coldstart_cli.sweeps.fork_server", True), ("", False)])
def test_a_job_that_holds_the_interpreter_ends_with_its_sweep(
    tmp_path: Path, tries: Tries, preload: str, ended: bool
) -> None:
    for _ in tries.of(1, 5 if ended else 1):
        sweep, environment, _ = begun(tmp_path, "hold", preload)
        sweep.kill()
        over(sweep)
        if gone_within(environment, 5 if ended else 2) is not ended:
            tries.failures.append(f"preload {preload!r}: gone is {not ended}")
        for file in tmp_path.glob("*.here"):
            file.unlink()


def test_jobs_of_a_sweep_that_is_gone_have_time_to_save(tmp_path: Path, tries: Tries) -> None:
    tries.of(1, 1)
    sweep, environment, _ = begun(tmp_path, "save", "coldstart_cli.sweeps.fork_server")
    sweep.kill()
    over(sweep)
    assert gone_within(environment, 5) and len(list(tmp_path.glob("*.saved"))) == 2


def test_a_killed_fork_server_takes_its_jobs_with_it(tmp_path: Path, tries: Tries) -> None:
    tries.of(1, 1)
    sweep, environment, server = begun(tmp_path, "hold", "coldstart_cli.sweeps.fork_server")
    jobs = [int(file.stem) for file in tmp_path.glob("*.here")]
    os.kill(server, signal.SIGKILL)
    deadline = time.monotonic() + 5
    while set(jobs) & set(alive(environment)) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not set(jobs) & set(alive(environment))
    sweep.kill()
    over(sweep)
    gone_within(environment, 0)


def test_a_signal_to_the_sweeps_group_spares_server_and_jobs(tmp_path: Path, tries: Tries) -> None:
    tries.of(1, 1)
    sweep, environment, server = begun(tmp_path, "hold", "coldstart_cli.sweeps.fork_server")
    jobs = {int(file.stem) for file in tmp_path.glob("*.here")}
    os.killpg(sweep.pid, signal.SIGINT)
    os.killpg(sweep.pid, signal.SIGUSR1)  # the sweep itself dies of it
    over(sweep)
    assert {server, *jobs} <= set(alive(environment))
    assert gone_within(environment, 5)
