"""What stands in a process before torch is imported: streams, environment, warnings in one line."""

from __future__ import annotations

import os
import subprocess
import sys
import warnings

import pytest

from coldstart_cli.processes import streams

CLOSED = """
import os
os.close(1)
import sys
sys.stdout = None
from coldstart_cli.processes.streams import open_streams
open_streams()
print("lost")
assert os.open("/dev/null", os.O_RDONLY) > 2, "the next file took the place of standard output"
"""


def test_a_stream_that_is_closed_leads_nowhere() -> None:
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    done = subprocess.run([sys.executable, "-c", CLOSED], env=environment, capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (0, ""), done.stderr


@pytest.fixture
def own_warnings(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(streams, "_shown", set())
    monkeypatch.setattr(warnings, "showwarning", warnings.showwarning)
    monkeypatch.setenv("GOMP_SPINCOUNT", "7")
    streams.set_up()


def test_set_up_leaves_what_the_user_set(own_warnings: None) -> None:
    assert os.environ["GOMP_SPINCOUNT"] == "7"


def test_our_own_warnings_are_one_line_and_said_once(
    own_warnings: None, capsys: pytest.CaptureFixture[str]
) -> None:
    for _ in range(2):
        warnings.showwarning("data: 2 left\n out", RuntimeWarning, "f.py", 1)
    assert capsys.readouterr().err == "data: 2 left out\n"


def test_warnings_of_others_keep_their_place(own_warnings: None, capsys: pytest.CaptureFixture[str]) -> None:
    warnings.showwarning("old", DeprecationWarning, "f.py", 3)
    assert "f.py:3: DeprecationWarning: old" in capsys.readouterr().err
