"""Weights & Biases takes no settings from the folder where a command was typed."""

from __future__ import annotations

import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from coldstart_cli.loggers.wandb import WandB


class _Run(SimpleNamespace):
    def define_metric(self, *names: str, step_metric: str) -> None:
        pass


def test_wandb_is_set_up_in_the_run_directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A `wandb/settings` of a stranger's folder would name the server that the key is sent to."""
    done: dict[str, Any] = {}

    def init(**words: Any) -> _Run:
        done["init"] = words
        return _Run(id="x")

    fake = SimpleNamespace(
        Settings=dict,
        setup=lambda settings: done.update(folder=Path.cwd(), setup=settings),
        init=init,
    )
    monkeypatch.setitem(sys.modules, "wandb", fake)
    monkeypatch.chdir(tmp_path)
    (tmp_path / "run").mkdir()
    WandB(True, Path("run"), {}, False, project="p", entity=None, mode="offline")
    assert done["folder"] == tmp_path / "run"
    assert Path.cwd() == tmp_path
    assert done["setup"]["disable_git"] is done["init"]["settings"]["disable_git"] is True
