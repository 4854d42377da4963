"""States of a training: each whole or not at all, each checked when read."""

from __future__ import annotations

import contextlib
import errno
import os
import random
import shutil
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

from coldstart_cli.errors import RequestError
from coldstart_cli.runs import checkpoints
from coldstart_cli.runs.checkpoints import Checkpoints
from tests.kit.reliability import Tries


def full_disk(*args: object) -> None:
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def state(step: int) -> dict[str, Any]:
    return {"step": step, "weights": torch.full((50,), float(step))}


def test_checkpoints_keep_the_last_two_and_the_best(tmp_path: Path) -> None:
    checkpoints = Checkpoints(tmp_path)
    assert checkpoints.latest() is None
    checkpoints.save_best(state(1))
    for step in (1, 2, 10, 100):
        checkpoints.save(state(step), step)
    assert sorted(p.name for p in tmp_path.iterdir()) == [
        "best.ckpt",
        "step-000000010.ckpt",
        "step-000000100.ckpt",
    ]
    latest = checkpoints.latest()
    assert latest is not None
    assert latest["step"] == 100
    assert torch.equal(latest["weights"], state(100)["weights"])
    assert checkpoints.best()["step"] == 1


def test_checkpoint_write_that_fails_keeps_the_others(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    checkpoints = Checkpoints(tmp_path)
    checkpoints.save(state(1), 1)
    checkpoints.save(state(2), 2)
    monkeypatch.setattr(os, "replace", full_disk)
    with pytest.raises(RequestError, match=r"step-000000003\.ckpt: cannot write \d+ bytes"):
        checkpoints.save(state(3), 3)
    monkeypatch.undo()
    assert len(list(tmp_path.iterdir())) == 2
    latest = checkpoints.latest()
    assert latest is not None
    assert latest["step"] == 2


@pytest.fixture(scope="module")
def intact(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("intact")
    for step in (1, 2):
        Checkpoints(folder).save(state(step), step)
    return folder


def latest_and_warnings(folder: Path) -> tuple[Any, list[str]]:
    with warnings.catch_warnings(record=True) as warned:
        warnings.simplefilter("always")
        latest = Checkpoints(folder).latest()
    return latest, [str(warning.message) for warning in warned]


def flips(path: Path, n: range) -> Iterator[int]:
    """Flips one random bit of a file at a time, and mends it."""
    whole, dice = path.read_bytes(), random.Random(4)
    for _ in n:
        damaged, place = bytearray(whole), dice.randrange(len(whole))
        damaged[place] ^= 1 << dice.randrange(8)
        path.write_bytes(bytes(damaged))
        yield place
    path.write_bytes(whole)


@pytest.mark.fault("R4")
def test_checkpoint_with_a_flipped_bit_is_passed_over(intact: Path, tries: Tries) -> None:
    path = intact / "step-000000002.ckpt"
    for place in flips(path, tries.of(30, 300)):
        latest, warned = latest_and_warnings(intact)
        if latest is None or latest["step"] != 1 or warned != [f"{path}: damaged; skipped"]:
            tries.failures.append(f"byte {place}: step {latest and latest['step']}, {warned}")


@pytest.mark.fault("R4")
def test_flipped_bit_is_not_seen_without_the_digest(intact: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = intact / "step-000000002.ckpt"
    monkeypatch.setattr(checkpoints, "whole_digest", lambda parts: path.read_bytes()[: checkpoints.N_BYTES])
    seen = 0
    for _ in flips(path, range(30)):
        with contextlib.suppress(Exception):  # what torch itself makes of it
            latest, warned = latest_and_warnings(intact)
            seen += latest is not None and latest["step"] == 2 and not warned
    assert seen > 15


@pytest.mark.fault("R5")
def test_checkpoint_cut_short_is_passed_over(intact: Path, tmp_path: Path, tries: Tries) -> None:
    folder = tmp_path / "cut"
    shutil.copytree(intact, folder)
    path = folder / "step-000000002.ckpt"
    whole, dice = path.read_bytes(), random.Random(5)
    for i in tries.of(7, 56):
        known = [0, 1, 31, 32, 33, 500, len(whole) - 1]
        length = known[i] if i < len(known) else dice.randrange(len(whole))
        path.write_bytes(whole[:length])
        latest, warned = latest_and_warnings(folder)
        if latest is None or latest["step"] != 1 or warned != [f"{path}: damaged; skipped"]:
            tries.failures.append(f"{length} bytes: step {latest and latest['step']}, {warned}")


@pytest.mark.fault("R5")
def test_checkpoint_that_is_a_folder_is_passed_over_and_cleared_away(tmp_path: Path) -> None:
    checkpoints = Checkpoints(tmp_path)
    checkpoints.save(state(1), 1)
    (tmp_path / "step-000000002.ckpt" / "deeper").mkdir(parents=True)
    latest, warned = latest_and_warnings(tmp_path)
    assert latest is not None
    assert (latest["step"], len(warned)) == (1, 1)
    for step in (3, 4):
        checkpoints.save(state(step), step)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["step-000000003.ckpt", "step-000000004.ckpt"]


def test_checkpoints_all_damaged_are_none(tmp_path: Path) -> None:
    checkpoints = Checkpoints(tmp_path)
    for step in (1, 2):
        checkpoints.save(state(step), step)
        (tmp_path / f"step-{step:09d}.ckpt").write_bytes(b"")
    with pytest.warns(RuntimeWarning) as warned:
        assert checkpoints.latest() is None
    assert len(warned) == 2


def test_best_checkpoint_damaged_or_missing_is_refused(tmp_path: Path) -> None:
    checkpoints = Checkpoints(tmp_path)
    for content in (None, b"", b"x" * 100):
        if content is not None:
            (tmp_path / "best.ckpt").write_bytes(content)
        with (
            pytest.warns(RuntimeWarning, match="damaged"),
            pytest.raises(RequestError, match=r"^run: .*best\.ckpt is missing or damaged; "),
        ):
            checkpoints.best()
