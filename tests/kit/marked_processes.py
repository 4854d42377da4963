"""Processes that a test started, and whatever they started, found by a mark in their environment."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import sys
import time
import uuid
from collections.abc import Sequence
from multiprocessing.synchronize import Barrier
from pathlib import Path

MARK = "COLDSTART_TEST_MARK"


def marked(**more: str) -> dict[str, str]:
    """This environment with a mark of its own."""
    return {**os.environ, MARK: uuid.uuid4().hex, **more}


def alive(environment: dict[str, str]) -> list[int]:
    """Process ids of those that were started with it, without zombies."""
    mark, found = f"{MARK}={environment[MARK]}".encode(), []
    for place in Path("/proc").iterdir():
        if place.name.isdigit():
            with contextlib.suppress(OSError):
                if mark in (place / "environ").read_bytes().split(b"\0"):
                    found.append(int(place.name))
    return found


def gone_within(environment: dict[str, str], seconds: float) -> bool:
    """Whether all of them end in time; those that do not are killed."""
    deadline = time.monotonic() + seconds
    while (left := alive(environment)) and time.monotonic() < deadline:
        time.sleep(0.05)
    for process in left:
        with contextlib.suppress(ProcessLookupError):
            os.kill(process, signal.SIGKILL)
    return not left


def main_at_once(barrier: Barrier, folder: Path, argv: Sequence[str], said: Path) -> None:
    """In a process of its own: `coldstart *argv` in a folder, begun when all others are there."""
    from coldstart_cli.cli import main

    os.chdir(folder)
    descriptor = os.open(said, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
    for stream in (1, 2):
        os.dup2(descriptor, stream)
    barrier.wait(120)
    code = main(argv)
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)


def append_at_once(barrier: Barrier, path: Path, number: int, n: int, in_parts: bool) -> None:
    """In a process of its own: n records of up to 30 kB, by the product's writer or as json.dump writes."""
    from coldstart_cli.files.durable import append_jsonl

    barrier.wait(120)
    for i in range(n):
        row = {"process": number, "record": i, "text": "x" * (i % 10 * 3000)}
        if in_parts:
            with open(path, "a") as file:
                json.dump(row, file)
                file.write("\n")
        else:
            append_jsonl(path, row)
