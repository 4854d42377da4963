"""What Trackio keeps of a run, or of one that goes on; where it prints."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest

from coldstart_cli.loggers.trackio import Trackio
from tests.kit.tracked import CONFIG, tell


@pytest.fixture
def trackio_logger(run_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Trackio]:
    trackio = pytest.importorskip("trackio", reason="the extra trackio is not installed")
    home = run_path.parents[1] / "trackio"
    for module in list(sys.modules.values()):  # its folder is read once, where it is imported
        if getattr(module, "__name__", "").startswith("trackio") and hasattr(module, "TRACKIO_DIR"):
            monkeypatch.setattr(module, "TRACKIO_DIR", home)
    monkeypatch.setattr(trackio.Run, "_get_username", lambda self: None)

    def make(*, resumed: bool = False, quiet: bool = True, project: str = "p") -> Trackio:
        return Trackio(quiet, run_path, CONFIG, resumed, project=project, space_id=None)

    return make


def trackio_rows() -> dict[str, list[Mapping[str, Any]]]:
    from trackio.sqlite_storage import SQLiteStorage

    records = SQLiteStorage.get_run_records("p")
    return {r["id"]: SQLiteStorage.get_logs("p", r["name"], run_id=r["id"]) for r in records}


def test_trackio_keeps_curves_and_results_and_a_run_that_goes_on(
    trackio_logger: Callable[..., Trackio], capfd: pytest.CaptureFixture[str]
) -> None:
    tell(trackio_logger(), range(1, 6), finish=False)
    tell(trackio_logger(resumed=True), range(6, 11))
    assert capfd.readouterr() == ("", "")
    ((name, rows),) = trackio_rows().items()
    assert {row["step"]: row["loss"] for row in rows if "loss" in row} == {s: 1 / s for s in range(1, 11)}
    assert [(row["step"], row["1-shot/mse"]) for row in rows if "1-shot/mse" in row] == [(10, 0.25)]
    tell(trackio_logger(resumed=False), range(1, 2))
    assert len(trackio_rows()) == 2
    assert name in trackio_rows()


def test_trackio_prints_on_standard_error_alone(
    trackio_logger: Callable[..., Trackio], capfd: pytest.CaptureFixture[str]
) -> None:
    tell(trackio_logger(quiet=False), range(1, 2))
    out, err = capfd.readouterr()
    assert out == ""
    assert "maml-sinusoid" in err


def test_trackio_refuses_a_project_by_its_key(trackio_logger: Callable[..., Trackio]) -> None:
    with pytest.raises(ValueError, match=r"^project: .*registry-x"):
        trackio_logger(project="registry-x")
