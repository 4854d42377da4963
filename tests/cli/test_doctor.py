"""`coldstart doctor`: a line for each check, and what fails is counted."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from coldstart_cli.cli import doctor, main

pytestmark = pytest.mark.usefixtures("torch_settings")
CHECKS = ["versions", "devices", "threads", "cache", "outputs", "training"]


@pytest.fixture(autouse=True)
def _here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def test_doctor_checks_a_sound_machine_and_leaves_nothing_behind(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["doctor"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[:2] for line in lines] == [["ok", check] for check in CHECKS]
    assert "MAML on sinusoids in" in lines[-1] and "mse" in lines[-1]
    assert list(tmp_path.iterdir()) == []


def test_doctor_goes_on_after_a_check_that_fails(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def breaks() -> str:
        raise RuntimeError("no\n  training")

    monkeypatch.setattr(doctor, "_trains", breaks)
    (tmp_path / "outputs").write_text("a file is no folder")
    assert main(["doctor"]) == 1
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[1] for line in lines if line.startswith("FAIL ")] == ["outputs", "training"]
    assert lines[-1] == "FAIL  training  no training"
    assert (tmp_path / "outputs").read_text() == "a file is no folder"


def test_a_folder_of_outputs_that_was_there_stays(tmp_path: Path) -> None:
    (tmp_path / "outputs" / "run").mkdir(parents=True)
    assert doctor._writes() == f"{tmp_path / 'outputs'} can be written"
    assert [path.name for path in (tmp_path / "outputs").iterdir()] == ["run"]


@pytest.mark.parametrize("device", ["cpu", "cuda", "mps"])
def test_the_device_that_auto_takes_is_named(monkeypatch: pytest.MonkeyPatch, device: str) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: device == "cuda")
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda i: "made up")
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: device == "mps")
    assert doctor._devices().endswith(f"; hardware=auto takes {device}")
