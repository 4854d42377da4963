"""Faults put into a process before its command runs (processes.py), and what guards taken away do."""

from __future__ import annotations

import builtins
import os
import resource
import time
from pathlib import Path
from typing import Any

PIECE = 1024


class _Slow:
    """A file on a slow disk: what is written arrives piece by piece."""

    def __init__(self, file: Any, seconds: float) -> None:
        self._file, self._seconds = file, seconds

    def __enter__(self) -> _Slow:
        return self

    def __exit__(self, *error: object) -> None:
        self._file.close()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._file, name)

    def write(self, data: bytes | memoryview) -> int:
        for start in range(0, len(data), PIECE):
            self._file.write(data[start : start + PIECE])
            self._file.flush()
            time.sleep(self._seconds)
        return len(data)


def slow_disk(seconds: float) -> None:
    """Every piece of a file that is written whole takes so long: a kill meets half of one."""
    from coldstart_cli.files import durable

    def slow_open(path: Any, mode: str = "r", *rest: Any, **options: Any) -> Any:
        file = builtins.open(path, mode, *rest, **options)  # noqa: SIM115
        return _Slow(file, seconds) if mode == "wb" else file

    durable.open = slow_open  # type: ignore[attr-defined]


def in_place(seconds: float) -> None:
    """Without the guard: a checkpoint is written over, or into, its own name."""
    from coldstart_cli.files import durable
    from coldstart_cli.runs import checkpoints

    slow_disk(seconds)

    def write_in_place(path: Path, data: bytes | memoryview) -> None:
        with durable.open(path, "wb") as file:  # type: ignore[attr-defined]
            file.write(data)

    checkpoints.write_bytes = write_in_place  # type: ignore[attr-defined]


def no_digest() -> None:
    """Without the guard: a checkpoint's content is not checked."""
    from coldstart_cli.runs import checkpoints

    checkpoints.whole_digest = lambda parts: bytes(32)  # type: ignore[attr-defined]


def file_size(limit: int) -> None:
    """No file may grow beyond so many bytes, as on a disk that is full."""
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))


def memory(limit: int) -> None:
    """The process may take so many bytes more of address space than it has."""
    with open("/proc/self/statm", encoding="utf-8") as statm:
        has = int(statm.read().split()[0]) * os.sysconf("SC_PAGE_SIZE")
    resource.setrlimit(resource.RLIMIT_AS, (has + limit, has + limit))


def stop_after(checks: int) -> None:
    """A SIGTERM comes when loops have asked so often whether one has: between two steps, or two tasks."""
    import signal

    from coldstart_cli.processes.signals import StopOnSignal

    left = checks

    def asked(self: StopOnSignal) -> bool:
        nonlocal left
        left -= 1
        if left <= 0:
            self._received = signal.SIGTERM
        return self._received is not None

    def check(self: StopOnSignal) -> None:
        if asked(self):
            from coldstart_cli.processes.signals import Stopped

            raise Stopped(signal.SIGTERM)

    StopOnSignal.requested = property(asked)  # type: ignore[assignment,method-assign]
    StopOnSignal.check = check  # type: ignore[method-assign]


def killed_at(folder: str, number: int) -> None:
    """SIGKILL right before the process opens for writing, renames, makes or removes something in `folder`.

    Args:
        folder: part of the path of what is written.
        number: of the change that is not made any more, from 0.
    """
    import signal
    import sys

    left = number
    changes = ("os.rename", "os.link", "os.remove", "os.mkdir", "os.rmdir", "shutil.rmtree")

    def hook(event: str, arguments: tuple[Any, ...]) -> None:
        nonlocal left
        written = event == "open" and arguments[2] & (os.O_WRONLY | os.O_RDWR | os.O_CREAT)
        if not (written or event in changes) or f"/{folder}" not in f"/{os.fsdecode(arguments[0])}":
            return
        if left == 0:
            os.kill(os.getpid(), signal.SIGKILL)
        left -= 1

    sys.addaudithook(hook)


def rewrites(source: str, target: str, times: int, number: int | None) -> None:
    """In place of the command: writes a bundle anew as `target`, so often; `number` as of `killed_at`.

    Two earlier versions are kept, as `adapt` keeps some.
    """
    from coldstart_cli.bundles.kept import folder

    contents = folder.read(Path(source), lambda found: found)
    if number is not None:
        killed_at(target, number)
    for _ in range(times):
        folder.write(Path(target), contents.card, contents.weights, contents.base, rows=contents.rows, keep=2)
    os._exit(0)


def endless_step() -> None:
    """A step that takes longer than anyone waits."""
    from coldstart_cli.experiment.trainer import Training

    def one_step(self: Training, steps: object) -> None:
        (self.run.path / "in_step").touch()
        time.sleep(3600)

    Training._one_step = one_step  # type: ignore[method-assign,assignment]


def permissions_bind() -> None:
    """Takes from root the right to write where permissions forbid it (Linux: CAP_DAC_OVERRIDE)."""
    import ctypes

    header = (ctypes.c_uint32 * 2)(0x20080522, 0)  # _LINUX_CAPABILITY_VERSION_3, this process
    sets = (ctypes.c_uint32 * 6)()  # effective, permitted, inheritable; then their upper halves
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.capget(header, sets) != 0:
        raise OSError(ctypes.get_errno(), "capget")
    sets[0] &= ~(1 << 1)
    if libc.capset(header, sets) != 0:
        raise OSError(ctypes.get_errno(), "capset")


def watched(steps: int, tasks: int) -> None:
    """Writes memory, open files and median seconds of so many steps, or tasks, to watched.jsonl."""
    import json

    from coldstart_cli.evaluation import loop
    from coldstart_cli.experiment.trainer import Training

    one_step, records = Training._one_step, loop._records
    seconds: dict[str, list[float]] = {"training": [], "evaluation": []}

    def timed(phase: str, every: int, call: Any) -> Any:
        before = time.process_time()
        value = call()
        seconds[phase].append(time.process_time() - before)
        if len(seconds[phase]) == every:
            statm = Path("/proc/self/statm").read_text().split()
            row = {
                "phase": phase,
                "seconds": sorted(seconds[phase])[every // 2],
                "memory": int(statm[1]) * os.sysconf("SC_PAGE_SIZE"),
                "files": len(os.listdir("/proc/self/fd")),
            }
            with Path("watched.jsonl").open("a") as file:
                file.write(json.dumps(row) + "\n")
            seconds[phase].clear()
        return value

    def each_record(*arguments: Any) -> Any:
        rows = records(*arguments)
        while (row := timed("evaluation", tasks, lambda: next(rows, None))) is not None:
            yield row

    Training._one_step = lambda self, given: timed(  # type: ignore[method-assign]
        "training", steps, lambda: one_step(self, given)
    )
    loop._records = each_record  # type: ignore[assignment]
