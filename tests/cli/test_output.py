"""What a command prints reaches its reader, or ends quietly where there is none."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from coldstart_cli.cli.output import emit

GONE = "import os, sys; from coldstart_cli.cli.output import emit; input(); emit('x\\n' * 100_000)"


def test_a_text_is_printed_as_it_is(capsys: pytest.CaptureFixture[str]) -> None:
    emit("one\ntwo")
    assert capsys.readouterr().out == "one\ntwo"


def test_nothing_is_printed_where_there_is_no_stream(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdout", None)
    emit("x")


def test_a_reader_that_has_gone_is_no_error() -> None:
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    with subprocess.Popen(
        [sys.executable, "-c", GONE],
        env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    ) as process:  # fmt: skip
        assert process.stdin and process.stdout and process.stderr
        process.stdout.close()
        process.stdin.write("\n")
        process.stdin.close()
        assert (process.stderr.read(), process.wait()) == ("", 0)
