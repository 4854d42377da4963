"""What the fork server of a sweep does beside forking: it sees to it that no job outlives its sweep.

The server preloads this module before any other, and nothing else imports it: importing it changes the
process. A job that computes in C with the interpreter's lock held runs no Python, neither a signal's handler
nor a thread that watches its parent, so the end of a job must come from outside: from the server, which
notices that the sweep is gone, and from the kernel where the server itself was killed.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import signal
import sys
import time
import types
from typing import Literal

ORPHAN_SECONDS = 3.0
"""Between asking the jobs of a sweep that is gone to stop, which saves their state, and killing them."""
LOOK_SECONDS = 0.5
"""Between two looks whether the sweep is still there."""
_PR_SET_PDEATHSIG = 1  # prctl(2)
_SERVER, _SWEEP = os.getpid(), os.getppid()
_BORN, _BEARS = os.pipe()  # every job writes its process id, four bytes


def _begin_job() -> None:
    """In a process that was just forked, before anything of the job: a session of its own, ended with us."""
    if os.getppid() != _SERVER:  # a process that a job forked
        return
    signal.signal(signal.SIGALRM, signal.SIG_DFL)
    os.setsid()
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, int(signal.SIGKILL), 0, 0, 0)
    with contextlib.suppress(BlockingIOError):  # after 16,000 jobs the kernel's signal must do
        os.write(_BEARS, os.getpid().to_bytes(4, "little"))


def _look(number: int, frame: types.FrameType | None) -> None:
    """Ends the jobs and the server once the sweep is gone."""
    if os.getppid() == _SWEEP:
        return
    signal.setitimer(signal.ITIMER_REAL, 0)
    os.set_blocking(_BORN, False)
    born = b""
    with contextlib.suppress(BlockingIOError):
        while part := os.read(_BORN, 65536):
            born += part
    jobs = [int.from_bytes(born[i : i + 4], "little") for i in range(0, len(born), 4)]
    jobs = [job for job in jobs if _state(job) != "gone"]
    for job in jobs:
        os.kill(job, signal.SIGTERM)  # saves the state, between two steps
    deadline = time.monotonic() + ORPHAN_SECONDS
    while time.monotonic() < deadline and any(_state(job) == "running" for job in jobs):
        time.sleep(0.05)
    for job in jobs:
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(job, signal.SIGKILL)  # with what it started
    os._exit(0)


def _state(job: int) -> Literal["running", "ended", "gone"]:
    """Of a child; one that ended keeps its number, and so its group's, until it is waited for."""
    try:
        found = os.waitid(os.P_PID, job, os.WEXITED | os.WNOHANG | os.WNOWAIT)
    except ChildProcessError:
        return "gone"
    return "running" if found is None else "ended"


# A session of its own: a signal to the sweep's group, as a terminal sends it, is for the sweep to judge.
os.setsid()
os.set_blocking(_BEARS, False)
signal.signal(signal.SIGALRM, _look)
signal.setitimer(signal.ITIMER_REAL, LOOK_SECONDS, LOOK_SECONDS)
os.register_at_fork(after_in_child=_begin_job)
