"""Exit codes and variables: what the source returns and reads is what is told, no more and no less."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from coldstart_cli.cli import main
from coldstart_cli.cli.surroundings import EXIT_CODES, VARIABLES
from coldstart_cli.package import ROOT
from coldstart_cli.processes.signals import SAVING

PLACES = (*(ROOT / "cli").glob("*.py"), ROOT / "sweeps" / "sweep.py", ROOT / "sweeps" / "search.py")
OF_OTHERS = {"HF_TOKEN", "MLFLOW_TRACKING_URI", "WANDB_API_KEY"}
"""Read by libraries; configs name them."""
INDIRECT = {"COLDSTART_TOKEN", "RANK", "WORLD_SIZE", "LOCAL_RANK", "LOCAL_WORLD_SIZE"}
"""Read under a name that another line gives them."""


def returned(path: Path) -> Iterator[int]:
    """Whole numbers that functions return as an exit code, or hand to what ends the command."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.FunctionDef) and node.returns and ast.unparse(node.returns) == "int":
            ends = [one.value for one in ast.walk(node) if isinstance(one, ast.Return) and one.value]
        elif isinstance(node, ast.Call) and getattr(node.func, "id", "") == "_failed":
            ends = node.args
        else:
            continue
        for end in ends:
            for part in (end.body, end.orelse) if isinstance(end, ast.IfExp) else (end,):
                if isinstance(part, ast.Constant) and type(part.value) is int:
                    yield part.value


def test_every_exit_code_that_is_returned_is_told() -> None:
    found = {code for path in PLACES for code in returned(path)}
    assert found == {code for code in EXIT_CODES if code < 128}
    assert {128 + number for number in SAVING} | {141} == {code for code in EXIT_CODES if code >= 128}
    assert all(EXIT_CODES.values())


def test_every_variable_that_is_read_is_told() -> None:
    text = "\n".join(path.read_text(encoding="utf-8") for path in ROOT.rglob("*.py"))
    asked = re.findall(r'environ\.(?:get|setdefault)\(\s*"([A-Z_]+)"', text)
    set_for_others = re.findall(r'environ\.setdefault\(\s*"((?:MLFLOW|WANDB)_[A-Z_]+)"', text)
    assert {*asked} - {*set_for_others} | INDIRECT | OF_OTHERS == {*VARIABLES}
    assert all(f'"{name}"' in text for name in INDIRECT)
    assert all(VARIABLES.values())


def test_the_programs_page_tells_the_exit_codes(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--help"]) == 0
    assert re.search(r"^    3  some jobs of a sweep failed$", capsys.readouterr().out, re.M)
    assert main(["data", "--help"]) == 0
    assert "exit codes:" not in capsys.readouterr().out
