"""Bundles of each layout, small enough to be made by a test."""

from __future__ import annotations

from pathlib import Path

import pytest

from coldstart_cli.bundles.bundle import Bundle
from tests.kit.places import REPOSITORY


@pytest.fixture(autouse=True)
def _here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, torch_settings: None) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("coldstart_cli.experiment.parts._sources", {})  # kept by relative path


@pytest.fixture
def table() -> Bundle:
    """Columns a and b, labels x and y."""
    return Bundle.load(REPOSITORY / "tests" / "data" / "flat_layout" / "bundle")
