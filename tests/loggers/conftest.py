"""Trackers with stores on this machine, and nothing that leaves it."""

from __future__ import annotations

import socket
from pathlib import Path
from typing import Any

import pytest


@pytest.fixture(autouse=True)
def _at_home(monkeypatch: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory) -> None:
    """Nothing leaves the machine, and nothing is written beside the test's own folders."""
    home = tmp_path_factory.mktemp("home")
    for name in (
        "HF_TOKEN", "TRACKIO_SPACE_ID", "TRACKIO_SERVER_URL", "WANDB_API_KEY", "WANDB_MODE", "MLFLOW_RUN_ID",
        "MLFLOW_TRACKING_URI",
    ):  # fmt: skip
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("MLFLOW_DISABLE_TELEMETRY", "true")
    monkeypatch.setenv("WANDB_ERROR_REPORTING", "false")
    for name in ("WANDB_CONFIG_DIR", "WANDB_CACHE_DIR", "WANDB_DATA_DIR", "HF_HOME", "TRACKIO_DIR"):
        monkeypatch.setenv(name, str(home / name))
    connect = socket.socket.connect

    def at_home(self: socket.socket, address: Any) -> None:
        assert self.family == socket.AF_UNIX or address[0] in ("127.0.0.1", "::1"), f"calls {address}"
        connect(self, address)

    monkeypatch.setattr(socket.socket, "connect", at_home)


@pytest.fixture
def run_path(tmp_path: Path) -> Path:
    path = tmp_path / "outputs" / "maml-sinusoid"
    path.mkdir(parents=True)
    return path
