"""Children look for no modules in the folder where a command was typed."""

from __future__ import annotations

import multiprocessing
import os
import sys
from pathlib import Path

import pytest

from coldstart_cli.processes.safe_path import VARIABLE, leave_out_this_folder, safe_path
from coldstart_cli.processes.streams import set_up


def test_safe_path_leaves_the_environment_as_it_was(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(VARIABLE, raising=False)
    with safe_path():
        assert os.environ[VARIABLE] == "1"
    assert VARIABLE not in os.environ
    monkeypatch.setenv(VARIABLE, "yes")
    with safe_path():
        assert os.environ[VARIABLE] == "1"
    assert os.environ[VARIABLE] == "yes"


def test_set_up_holds_for_every_later_child(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(VARIABLE, "")
    monkeypatch.setattr("warnings.showwarning", None)
    set_up()
    assert os.environ[VARIABLE] == "1"


def test_leave_out_this_folder_takes_out_what_python_m_put_in(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.chdir(tmp_path)
    for first in ("", str(tmp_path)):
        monkeypatch.setattr(sys, "path", [first, "/elsewhere"])
        leave_out_this_folder()
        assert sys.path == ["/elsewhere"]
    leave_out_this_folder()  # what is first now is not this folder
    assert sys.path == ["/elsewhere"]


def test_a_spawned_process_takes_no_module_of_this_folder(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [place for place in sys.path if place])
    Path("signal.py").write_text("open('ran', 'w').close()\nraise ImportError\n")
    with safe_path():
        child = multiprocessing.get_context("spawn").Process(target=os.getpid)
        child.start()
        child.join()
    assert child.exitcode == 0
    assert not Path("ran").exists()
