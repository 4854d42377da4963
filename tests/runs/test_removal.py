"""Runs removed: all of them, and nothing else."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from coldstart_cli.errors import RequestError
from coldstart_cli.files.locks import held
from coldstart_cli.runs import removal
from coldstart_cli.runs.removal import check_removable, remove_run

Make = Callable[..., Path]
VALUES = {1: {"a": 0.5, "b": 0.75}}


def test_a_run_goes_and_what_its_links_lead_to_stays(tmp_path: Path, make_run: Make) -> None:
    run, other = make_run("outputs/one", VALUES), make_run("outputs/two", VALUES, seed=1)
    (tmp_path / "precious").mkdir()
    (tmp_path / "precious" / "file").write_text("x")
    (run / "plots").symlink_to(tmp_path / "precious")
    (run / "evaluations" / "link").symlink_to(other)
    remove_run(run)
    assert not run.exists() and (tmp_path / "precious" / "file").exists() and (other / "run.json").exists()


@pytest.mark.parametrize("lost", ["run.json", "config.yaml", "environment.json"])
def test_a_damaged_run_can_be_removed(make_run: Make, lost: str) -> None:
    run = make_run("one", VALUES)
    (run / lost).unlink()
    remove_run(run)
    assert not run.exists()


def test_what_is_no_run_and_what_holds_more_is_refused(tmp_path: Path, make_run: Make) -> None:
    run = make_run("one", VALUES)
    (tmp_path / "link").symlink_to(run)
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder" / "run.json").write_text("{}")
    for place, why in (("link", "is a link"), ("folder", "is not a run directory"), ("gone", "is not a run")):
        with pytest.raises(RequestError, match=rf"^rm: .*{place} {why}"):
            remove_run(tmp_path / place)
    (run / "notes.txt").write_text("mine")
    with pytest.raises(
        RequestError, match=r"holds what no run writes \(notes.txt\); move it elsewhere first$"
    ):
        remove_run(run)
    assert (run / "run.json").exists() and (tmp_path / "folder" / "run.json").exists()


def test_a_run_in_progress_stays(make_run: Make) -> None:
    run = make_run("one", VALUES)
    with held(run / ".lock", str):
        for refuse in (check_removable, remove_run):
            with pytest.raises(RequestError, match="is in progress"):
                refuse(run)
    assert (run / "config.yaml").exists()


def test_what_an_interruption_left_is_no_run_and_can_be_removed(
    make_run: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = make_run("one", VALUES)
    taken: list[str] = []

    def interrupted(path: Path) -> None:
        if len(taken) == 2:
            raise KeyboardInterrupt
        taken.append(path.name)
        remove(path)

    remove = removal.remove
    monkeypatch.setattr(removal, "remove", interrupted)
    with pytest.raises(KeyboardInterrupt):
        remove_run(run)
    assert taken[0] == "run.json" and os.listdir(run)
    monkeypatch.undo()
    remove_run(run)
    assert not run.exists()
