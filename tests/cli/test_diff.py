"""`coldstart diff`: the keys that differ, as text and as JSON."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from coldstart_cli.cli import main

Make = Callable[..., Path]
GOOD = {1: {f"t{i}": 0.8 + i / 100 for i in range(8)}, 5: {f"t{i}": 0.9 for i in range(8)}}


def call(capsys: pytest.CaptureFixture[str], *argv: object) -> tuple[int, str, str]:
    code = main([str(a) for a in argv])
    out, err = capsys.readouterr()
    return code, out, err


def test_diff_shows_where_two_runs_differ(
    tmp_path: Path, make_run: Make, capsys: pytest.CaptureFixture[str]
) -> None:
    a = make_run("a", GOOD, settings={"inner_lr": 0.1})
    b = make_run("b", GOOD, settings={"inner_lr": 0.4, "extra": True})
    code, out, _ = call(capsys, "diff", a, b)
    assert code == 0 and out.count("\n") == 3
    assert "strategy.inner_lr" in out and "(absent)" in out
    code, out, _ = call(capsys, "diff", a, b, "--json")
    assert json.loads(out)["differs"] == {
        "strategy.inner_lr": [0.1, 0.4], "strategy.extra": ["(absent)", True]
    }  # fmt: skip
    assert call(capsys, "diff", a, a)[1].startswith("no difference")
    assert call(capsys, "diff", a) == (
        2, "", "diff: takes two run directories, not 1; coldstart diff RUN RUN\n"
    )  # fmt: skip
