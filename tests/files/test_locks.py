from __future__ import annotations

import fcntl
import os
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from coldstart_cli.errors import RequestError
from coldstart_cli.files.locks import held, is_held, locked

HOLD = """
import sys, pathlib
from coldstart_cli.files.locks import held
with held(pathlib.Path(sys.argv[1]), str):
    print("held", flush=True)
    sys.stdin.read()
"""


def test_held_lock_names_its_process_and_goes_with_it(tmp_path: Path) -> None:
    path = tmp_path / ".lock"
    with subprocess.Popen(
        [sys.executable, "-c", HOLD, str(path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as other:
        assert other.stdout is not None and other.stdout.readline() == "held\n"
        with (
            pytest.raises(RequestError, match=f"^in use by {other.pid}$"),
            held(path, lambda process: f"in use by {process}"),
        ):
            pass
        other.kill()
        other.wait()
    with held(path, str):
        assert path.read_text() == str(os.getpid())


def test_held_lock_of_a_folder_that_is_missing_is_an_error_of_the_system(tmp_path: Path) -> None:
    with pytest.raises(OSError), held(tmp_path / "none" / ".lock", str):
        pass


def test_locked_waits_for_the_other(tmp_path: Path) -> None:
    order = []

    def second() -> None:
        with locked(tmp_path / ".lock"):
            order.append("second")

    with locked(tmp_path / ".lock"):
        thread = threading.Thread(target=second)  # its own open file has a lock of its own
        thread.start()
        time.sleep(0.1)
        order.append("first")
    thread.join()
    assert order == ["first", "second"]


def test_locked_goes_on_where_there_can_be_no_lock(tmp_path: Path) -> None:
    with locked(tmp_path / "none" / ".lock"):
        pass
    assert not list(tmp_path.iterdir())


def test_whether_a_lock_is_held_is_seen_without_taking_it(tmp_path: Path) -> None:
    path = tmp_path / ".lock"
    assert not is_held(path) and not path.exists()
    with held(path, str):
        assert is_held(path)
    assert not is_held(path)
    os.mkfifo(tmp_path / "fifo")
    assert not is_held(tmp_path / "fifo")


def test_who_only_looks_at_a_lock_does_not_have_another_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / ".lock"
    looking = path.open("a")
    fcntl.flock(looking, fcntl.LOCK_SH)
    monkeypatch.setattr(time, "sleep", lambda seconds: looking.close())  # the instant is over
    with held(path, str):
        assert looking.closed and path.read_text() == str(os.getpid())
