"""Processes that a test started, and whatever they started, found by a mark in their environment."""

from __future__ import annotations

import contextlib
import os
import signal
import time
import uuid
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
