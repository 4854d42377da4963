"""What a run directory says of where it was made."""

from __future__ import annotations

import json
import platform
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from coldstart_cli.experiment.assembly import Experiment
from coldstart_cli.experiment.environment import environment


def test_environment_is_json_with_versions_hardware_and_the_command(
    small_experiment: Callable[..., Experiment], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.chdir(tmp_path)  # a folder without git
    made = small_experiment()
    found = environment(made, ["coldstart", "train"])
    assert json.loads(json.dumps(found)) == found
    assert (found["python"], found["git"]) == (platform.python_version(), None)
    assert found["packages"]["torch"] == torch.__version__ and found["command_line"] == ["coldstart", "train"]
    assert (found["fingerprint"], found["input_shape"]) == (made.source.fingerprint, [1])
    assert found["vectorize"] in ("vmap", "loop") and found["facts"]["n_way"] is None
    assert found["hardware"]["device"] == "cpu" and found["recipe"] == {}


def test_the_commit_is_of_the_folder_of_the_command_and_git_is_not_needed(
    small_experiment: Callable[..., Experiment], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    commit = "0123456789abcdef" * 2 + "01234567"
    (tmp_path / ".git").mkdir()
    (tmp_path / ".git" / "HEAD").write_text(f"{commit}\n")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PATH", "")
    assert environment(small_experiment(), [])["git"] == commit
