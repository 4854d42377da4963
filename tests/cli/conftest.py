"""The command line, called in an empty folder, and a few points that a bundle is made of."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from hydra.core.global_hydra import GlobalHydra

from coldstart_cli.cli import main
from tests.kit.small_runs import Cli


@pytest.fixture
def cli(
    capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    torch_settings: None,
) -> Iterator[Cli]:
    """Runs a command in an empty folder: (exit code, standard output, standard error)."""
    monkeypatch.chdir(tmp_path)
    GlobalHydra.instance().clear()

    def call(*argv: str) -> tuple[int, str, str]:
        capsys.readouterr()
        code = main(list(argv))
        out, err = capsys.readouterr()
        return code, out, err

    yield call
    GlobalHydra.instance().clear()


@pytest.fixture
def points(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, torch_settings: None) -> None:
    """An empty folder with points.npz: five examples of each of two classes with hostile names."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(
        "coldstart_cli.experiment.parts._sources", {}
    )  # kept by path, and paths are relative here
    g = np.random.default_rng(0)
    y = np.repeat(["=cmd()", "b<b>"], 5)
    x = np.stack([g.normal(3.0 if name[0] == "=" else -3.0, 0.5, 4) for name in y]).astype(np.float32)
    np.savez("points.npz", x=x, y=y)
