"""S12: what is no file, or has no end, stands in place of a file; no command waits for it."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import socket
import time
import types
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from tests.kit.reliability import Tries
from tests.trust.conftest import DATA, SMALL, TRAINED, Stage, said

PATIENCE = 30
"""Seconds until a command counts as waiting; on a quiet machine each answers within two."""


def fifo(place: Path) -> None:
    os.mkfifo(place)


def unix_socket(place: Path) -> None:
    with contextlib.chdir(place.parent), socket.socket(socket.AF_UNIX) as bound:
        bound.bind(place.name)  # relative: a socket's address has at most 107 bytes


def device(place: Path) -> None:
    place.symlink_to("/dev/zero")


def endless(place: Path) -> None:
    with place.open("wb") as file:
        file.truncate(1 << 43)


def loop(place: Path) -> None:
    place.symlink_to(place.parent, target_is_directory=True)


def folder(place: Path) -> None:
    place.mkdir()


KINDS: Sequence[Callable[[Path], None]] = (fifo, unix_socket, device, endless, loop, folder)
RUN = ("evaluate", "run={run}", "again=true")
COMPARE = ("compare", "{run}")
PREDICT = ("predict", "bundle=b", "input=points.npz")
CONFIGS = ("train", *SMALL, *DATA, "strategy=mine", "--config-dir", "cd", "--cfg", "job")
# what is replaced, and the command that reads it
PLACES: list[tuple[str, Sequence[str]]] = [
    ("{run}/config.yaml", RUN),
    ("{run}/run.json", RUN),
    ("{run}/environment.json", COMPARE),
    ("{run}/checkpoints/*.ckpt", RUN),
    ("{run}/history.jsonl", ("train", *TRAINED)),
    ("{run}/added", RUN),
    ("{run}/evaluations/*/summary.json", COMPARE),
    ("{run}/evaluations/*/records.jsonl", COMPARE),
    ("{run}/evaluations/*/config.yaml", COMPARE),
    ("b/card.json", PREDICT),
    ("b/weights-*.safetensors", PREDICT),
    ("b/added.json", PREDICT),
    ("points.npz", PREDICT),
    ("points.npz", ("data", "check", *SMALL, *DATA)),
    ("rows.csv", ("adapt", *SMALL, "dataset=tabular", "dataset.root=rows.csv", "bundle=new")),
    ("rows.jsonl", ("adapt", *SMALL, "dataset=tabular", "dataset.root=rows.jsonl", "bundle=new")),
    ("cd/strategy/mine.yaml", CONFIGS),
    ("cd/strategy/other.yaml", CONFIGS),
    ("cd/strategy/mine.yaml", ("cat", "strategy/mine", "--config-dir", "cd")),
    ("cd/strategy/mine.yaml", ("explain", "strategy/mine", "--config-dir", "cd")),
    ("images/a/1.png", ("data", "check", *SMALL, "dataset=image_folder", "dataset.root=images")),
    ("images/a/more", ("data", "check", *SMALL, "dataset=image_folder", "dataset.root=images")),
]  # fmt: skip


class Waits(BaseException):
    """A command did not come back."""


@contextlib.contextmanager
def patience() -> Iterator[None]:
    def give_up(number: int, frame: types.FrameType | None) -> None:
        raise Waits

    before = signal.signal(signal.SIGALRM, give_up)
    signal.alarm(PATIENCE)
    try:
        yield
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)


@pytest.fixture
def many_files(stage: Stage) -> Stage:
    """The stage with tables, images and a folder of configs beside the run and the bundle."""
    rows = [f"{i % 2},{i},{'ab'[i % 2]}" for i in range(8)]
    (stage.folder / "rows.csv").write_text("x,z,label\n" + "\n".join(rows) + "\n")
    (stage.folder / "rows.jsonl").write_text('{"x": 1, "label": "a"}\n{"x": 2, "label": "b"}\n')
    (stage.folder / "cd" / "strategy").mkdir(parents=True)
    mine = Path(__file__).parents[2] / "conf" / "strategy" / "protonet.yaml"
    shutil.copy(mine, stage.folder / "cd" / "strategy" / "mine.yaml")
    for name in "ab":
        (stage.folder / "images" / name).mkdir(parents=True)
        for i in range(3):
            Image.fromarray(np.full((8, 8), 20 * i, np.uint8)).save(
                stage.folder / "images" / name / f"{i}.png"
            )
    original = Path(f"{stage.folder}-original")
    shutil.rmtree(original)
    shutil.copytree(stage.folder, original)
    return stage


def tried(stage: Stage, pattern: str, command: Sequence[str], kind: Callable[[Path], None]) -> str | None:
    """What is wrong with how a command ended where such a thing stands in place of its file."""
    run = str(stage.run)
    inside = pattern.format(run=run)
    places = list(stage.folder.glob(inside)) if "*" in inside else [stage.folder / inside]
    for place in places:
        place.unlink(missing_ok=True)
        kind(place)
    before = time.process_time()
    try:
        with patience():
            ended = said(*(word.format(run=run) for word in command))
    except Waits:
        return f"waits for more than {PATIENCE} s"
    seconds = time.process_time() - before
    if seconds > 10:
        return f"computes for {seconds:.0f} s"
    optional = "added" in pattern or "more" in pattern or "history" in pattern or "other" in pattern
    if ended.code == 0 and (optional or command[0] in ("explain", "train")):
        return None  # what a command does not read may be anything
    if ended.code == 0 and kind is loop and command[0] == "adapt":
        return None  # a link to a folder of tables is a folder of tables, read once
    return ended.last.wrong


@pytest.mark.fault("S12")
@pytest.mark.timeout(900)
def test_no_command_waits_for_what_is_no_file(many_files: Stage, tries: Tries) -> None:
    cases: list[tuple[str, Sequence[str], Any]] = [(*place, kind) for kind in KINDS for place in PLACES]
    for i in tries.of(len(cases) // 5, len(cases)):
        pattern, command, kind = cases[i if tries.full else (i * 7) % len(cases)]
        wrong = tried(many_files, pattern, command, kind)
        if wrong:
            tries.failures.append(f"{kind.__name__} at {pattern} for {command[0]}: {wrong}")
        many_files.fresh()


def test_a_fifo_does_hold_up_who_opens_it(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "x")
    before = signal.signal(signal.SIGALRM, lambda number, frame: (_ for _ in ()).throw(Waits()))
    signal.setitimer(signal.ITIMER_REAL, 0.2)
    try:
        with pytest.raises(Waits):
            (tmp_path / "x").read_bytes()
    finally:
        signal.signal(signal.SIGALRM, before)
