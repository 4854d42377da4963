"""Processes that start together: each has a directory of its own, or is refused; no record is torn."""

from __future__ import annotations

import json
import multiprocessing
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from coldstart_cli.files.durable import read_jsonl
from tests.kit.marked_processes import append_at_once, main_at_once
from tests.kit.reliability import Tries

pytestmark = pytest.mark.fault("R11")
SMALL = (
    "train", "dataset=sinusoid", "model=mlp", "experiment=smoke", "hardware=cpu", "hardware.threads=1",
    "baseline=null", "strategy.inner_lr=0.01", "evaluation.n_tasks=4", "evaluation.n_selection_tasks=2",
    "training.steps=4", "training.log_every=2", "training.validation.every=2",
    "evaluation.timed_seconds=0.01", "--quiet",
)  # fmt: skip


def at_once(function: Any, n: int, *arguments: Any) -> list[int]:
    """Exit codes of n processes that run it together; the arguments may say {i}."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["coldstart_cli.experiment.running", "coldstart_cli.sweeps.sweep"])
    barrier = context.Barrier(n)
    processes = []
    for i in range(n):
        own = [a(i) if callable(a) else a for a in arguments]
        processes.append(context.Process(target=function, args=(barrier, *own)))
        processes[-1].start()
    for process in processes:
        process.join(300)
    return [-1 if process.exitcode is None else process.exitcode for process in processes]


@pytest.mark.timeout(600)
def test_runs_that_start_together_have_directories_of_their_own(tmp_path: Path, tries: Tries) -> None:
    n = len(tries.of(4, 16))
    codes = at_once(
        main_at_once, n, tmp_path, lambda i: (*SMALL, f"seed={i}"), lambda i: tmp_path / f"{i}.txt"
    )
    states = [json.loads(file.read_text())["state"] for file in tmp_path.glob("outputs/*/run.json")]
    if codes != n * [0] or states != n * ["finished"]:
        tries.failures.append(f"exit codes {codes}, states {states}")


@pytest.mark.timeout(600)
def test_one_of_equal_runs_that_start_together_is_made(tmp_path: Path, tries: Tries) -> None:
    n = len(tries.of(4, 16))
    small = [word for word in SMALL if not word.startswith(("training.steps", "training.validation.every"))]
    training = (*small, "training.steps=300", "training.validation.every=300")  # until all have seen the lock
    codes = at_once(main_at_once, n, tmp_path, training, lambda i: tmp_path / f"{i}.txt")
    said = {i: (tmp_path / f"{i}.txt").read_text().strip() for i in range(n)}
    refused = [i for i, code in enumerate(codes) if code == 2]
    if Counter(codes) != {0: 1, 2: n - 1}:
        tries.failures.append(f"exit codes {codes}")
    tries.failures += [
        said[i] for i in refused if " is in progress in process " not in said[i] or "\n" in said[i]
    ]
    assert len(list(tmp_path.glob("outputs/*/run.json"))) == 1


def test_records_of_many_processes_are_whole(tmp_path: Path, tries: Tries) -> None:
    n = len(tries.of(400, 400))
    path = tmp_path / "records.jsonl"
    assert at_once(append_at_once, 8, path, lambda i: i, n, False) == 8 * [0]
    rows = read_jsonl(path)
    assert path.read_bytes().count(b"\n") == 8 * n
    assert {(row["process"], row["record"]) for row in rows} == {(p, i) for p in range(8) for i in range(n)}


def test_records_that_are_written_in_parts_are_torn(tmp_path: Path) -> None:
    path = tmp_path / "records.jsonl"
    for _ in range(20):
        at_once(append_at_once, 8, path, lambda i: i, 100, True)
        if len(read_jsonl(path)) < path.read_bytes().count(b"\n"):
            return
        path.unlink()
    raise AssertionError("no record was torn: append_jsonl need not write a line at once")
