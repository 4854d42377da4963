"""The laws as pytest tries them on a file that somebody names."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from coldstart_cli.package import ROOT
from coldstart_cli.testing import test_strategy as tried  # by name, its hook would be one of this file
from tests.kit.plugin import NEAREST, OUTSIDE, TRUST


def run_pytest(*words: str, cwd: Path) -> tuple[int, str]:
    command = [sys.executable, "-m", "pytest", "-q", "-p", "coldstart_cli.testing.plugin"]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(ROOT.parent), str(OUTSIDE)])}
    done = subprocess.run(
        [*command, *words], cwd=cwd, env=environment, capture_output=True, text=True, check=False
    )
    return done.returncode, done.stdout + done.stderr


def test_pytest_tries_the_laws_on_a_file_and_names_the_broken_one(tmp_path: Path) -> None:
    laws = ("-k", "adapt_changes_nothing or prediction_is_inductive")
    code, out = run_pytest(
        "--pyargs", "coldstart_cli.testing", "--strategy", NEAREST, "--override", TRUST,
        "--override", "strategy.broken=changes_self", *laws, cwd=tmp_path,
    )  # fmt: skip
    assert code == 1 and "1 failed, 1 passed" in out
    assert (
        "nearest: adapt changes nothing of the strategy (adapt_changes_nothing), but it changed calls" in out
    )
    assert "Traceback" not in out


@pytest.mark.parametrize(
    ("strategies", "line"),
    [
        ([], "--strategy: nothing is named; give the YAML file of a strategy"),
        (["no/such.yaml"], "no/such.yaml: there is no such file; name a YAML file or a config"),
    ],
)
def test_what_cannot_be_tried_is_a_wrong_use_of_pytest(strategies: list[str], line: str) -> None:
    options = {"--strategy": strategies, "--dataset": None, "--override": []}
    metafunc: Any = SimpleNamespace(config=SimpleNamespace(getoption=options.get))
    with pytest.raises(pytest.UsageError) as caught:
        tried.pytest_generate_tests(metafunc)
    assert str(caught.value).startswith(line)
