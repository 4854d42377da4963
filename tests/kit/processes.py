"""Real processes that start in milliseconds: a server imports torch once, and forks for each command.

    with Processes(folder) as processes:
        child = processes.start(["train", ...], cwd=folder)
        os.kill(child.pid, signal.SIGKILL)
        child.wait()

The server has one thread, so a fork is safe; a child runs `coldstart_cli.cli.main` in a session of its own.
To save time a command line is composed once, and nothing is drawn.
"""

from __future__ import annotations

import contextlib
import functools
import gc
import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from tests.kit.places import REPOSITORY


@dataclass(frozen=True, slots=True)
class Ended:
    """How a child ended: exit code, or minus the signal; what it wrote; seconds of a core it took."""

    code: int
    out: str
    err: str
    seconds: float


@dataclass(frozen=True, slots=True)
class Child:
    pid: int
    _server: Processes
    _folder: Path

    def kill(self, number: signal.Signals, after: float = 0.0) -> None:
        """Sends a signal after so many seconds; it does nothing to a child that has ended by then."""
        time.sleep(after)
        os.kill(self.pid, number)  # not waited for yet, so its number is still its own

    def wait(self) -> Ended:
        told = self._server.ask({"wait": self.pid})
        out, err = ((self._folder / f"{self.pid}.{name}") for name in ("out", "err"))
        ended = Ended(told["code"], out.read_text(), err.read_text(), told["seconds"])
        out.unlink()
        err.unlink()
        return ended


class Processes:
    """The server, from the side of a test.

    Args:
        folder: for what children write.
        environment: beyond this process's own, such as PYTHONHASHSEED.
    """

    def __init__(self, folder: Path, environment: Mapping[str, str] | None = None) -> None:
        self._folder = folder
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tests.kit.processes"],
            cwd=REPOSITORY,
            # A command that ran in this process sets it for its children, who would not find the tests.
            env={
                **{name: value for name, value in os.environ.items() if name != "PYTHONSAFEPATH"},
                "OMP_NUM_THREADS": "1",
                "MKL_NUM_THREADS": "1",
                **(environment or {}),
            },
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.close()
        self._process.stdout.close()
        self._process.wait()

    def ask(self, request: Mapping[str, Any]) -> dict[str, Any]:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(json.dumps(request) + "\n")
        self._process.stdin.flush()
        told: dict[str, Any] = json.loads(self._process.stdout.readline())
        return told

    def start(
        self,
        arguments: Sequence[str],
        cwd: Path,
        fault: str = "",
        values: Sequence[Any] = (),
        environment: Mapping[str, str] | None = None,
    ) -> Child:
        """A command in a child.

        Args:
            fault: what is broken in the child before the command, a function of `tests.kit.faults`.
            values: its arguments.
            environment: beyond the server's own.
        """
        request = {"arguments": list(arguments), "cwd": str(cwd), "fault": fault, "values": list(values),
                   "environment": dict(environment or {})}  # fmt: skip
        pid = self.ask({**request, "folder": str(self._folder)})["pid"]
        return Child(pid, self, self._folder)

    def run(self, arguments: Sequence[str], cwd: Path, fault: str = "", values: Sequence[Any] = ()) -> Ended:
        return self.start(arguments, cwd, fault, values).wait()


def _serve() -> None:
    """Forks a child for each request, and waits for the one that is asked about."""
    from coldstart_cli.processes import streams

    streams.set_up()
    answers = os.fdopen(os.dup(1), "w")  # what a command prints is no answer
    os.dup2(2, 1)
    warm_up()
    for line in sys.stdin:
        request = json.loads(line)
        if "wait" in request:
            pid = request["wait"]
            _, status, used = os.wait4(pid, 0)
            answer = {"code": os.waitstatus_to_exitcode(status), "seconds": used.ru_utime + used.ru_stime}
        else:
            if request["arguments"][0] == "train":
                _composed(tuple(o for o in request["arguments"][1:] if not o.startswith("-")))
            gc.freeze()  # else each child's first collection copies all that was imported
            pid = os.fork()
            if pid == 0:
                code = _child(request)
                for thread in threading.enumerate()[1:]:
                    thread.join()
                sys.stdout.flush()
                sys.stderr.flush()
                os._exit(code)  # what a server has imported takes a second to tear down
            answer = {"pid": pid}
        print(json.dumps(answer), file=answers, flush=True)


def warm_up() -> None:
    """Imports what a command imports, and starts no thread."""
    import torch

    from coldstart_cli.bundles import bundle  # noqa: F401
    from coldstart_cli.experiment import running  # noqa: F401

    torch.set_num_threads(1)


@functools.cache
def _composed(overrides: tuple[str, ...]) -> dict[str, Any]:
    from coldstart_cli.config import composition
    from coldstart_cli.errors import RequestError
    from coldstart_cli.experiment import assembly

    ((_, config),) = composition.points(overrides)
    with contextlib.suppress(RequestError):
        assembly.assemble(config)  # imports what it names
    return config


def _shortened(arguments: Sequence[str]) -> None:
    """Takes composition and pictures out of a training, and any refusal of its words with them."""
    from coldstart_cli.config import composition
    from coldstart_cli.reports import plots

    if arguments[0] == "train":
        config = _composed(tuple(o for o in arguments[1:] if not o.startswith("-")))
        composition.run_jobs = lambda overrides, flags, job: job(config)
    plots.draw = lambda run, evaluation=None: None


def _child(request: Mapping[str, Any]) -> int:
    os.setsid()
    os.chdir(request["cwd"])
    os.environ.update(request["environment"])
    for descriptor, name in ((1, "out"), (2, "err")):
        file = os.open(Path(request["folder"]) / f"{os.getpid()}.{name}", os.O_WRONLY | os.O_CREAT)
        os.dup2(file, descriptor)
    os.close(0)
    sys.stdout, sys.stderr = (os.fdopen(number, "w", closefd=False) for number in (1, 2))
    from coldstart_cli.cli import main
    from tests.kit import faults

    _shortened(request["arguments"])
    if request["fault"]:
        inject: Callable[..., None] = getattr(faults, request["fault"])
        inject(*request["values"])
    return main(request["arguments"])


if __name__ == "__main__":
    _serve()
