"""How a process of a pair ends in test_launch.py. It imports no more than that takes."""

from __future__ import annotations

import os
import signal
import time

from coldstart_cli.errors import JobError, RequestError
from coldstart_cli.processes import ranks


def end(how: str) -> None:
    """The second process ends in one of several ways, while the first waits for it."""
    if ranks.first():
        ranks.largest(0)
        ranks.largest(0)
        time.sleep(60)
    ranks.largest(0)
    if how == "refuses":
        raise RequestError("key: no; yes")
    if how == "fails":
        raise JobError("training: loss is nan")
    if how == "crashes":
        raise ZeroDivisionError("by zero")
    os.kill(os.getpid(), signal.SIGTERM if how == "is asked to stop" else signal.SIGKILL)
    time.sleep(60)
