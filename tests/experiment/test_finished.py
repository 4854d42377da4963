"""The same command again: when a note counts, and what the answer imports."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

from coldstart_cli.cli import main
from coldstart_cli.experiment import finished
from coldstart_cli.runs.migrations import FORMAT

QUICK = (
    "dataset=sinusoid", "model=mlp", "experiment=smoke", "hardware=cpu", "hardware.threads=1",
    "strategy.inner_lr=0.01", "evaluation.baseline_search.lr=[0.001]", "evaluation.n_tasks=4",
    "evaluation.n_selection_tasks=2", "training.steps=2", "training.log_every=2",
    "training.validation.every=2",
)  # fmt: skip
HEAVY = ("torch", "hydra", "omegaconf", "numpy", "scipy", "matplotlib", "torch._dynamo")
PROGRAM = f"""
import sys
from coldstart_cli.cli import main
code = main(sys.argv[1:])
print(code, sorted(set(sys.modules) & set({HEAVY!r})), file=sys.stderr)
"""

Imports = Callable[..., str]


@pytest.fixture(autouse=True)
def _apart(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A cache and a working folder of its own; torch as it was."""
    threads = torch.get_num_threads()
    monkeypatch.setenv("COLDSTART_CACHE", str(tmp_path / "cache"))
    monkeypatch.chdir(tmp_path)
    yield
    torch.use_deterministic_algorithms(False)
    torch.set_num_threads(threads)


@pytest.fixture
def imported() -> Imports:
    """Runs a command in a process of its own: its exit code and the heavy modules it imported."""

    def call(*arguments: str) -> str:
        done = subprocess.run(
            [sys.executable, "-c", PROGRAM, *arguments],
            env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
            capture_output=True, text=True, timeout=100,
        )  # fmt: skip
        return done.stderr.splitlines()[-1]

    return call


def test_finished_run_is_shown_again_without_heavy_imports(
    imported: Imports, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["train", *QUICK]) == 0
    first = capsys.readouterr()
    assert main(["train", *QUICK]) == 0
    again = capsys.readouterr()
    assert again.out == first.out
    assert again.err.endswith("is finished; this is its result (again=true trains anew)\n")
    assert imported("train", *QUICK) == "0 []"
    run = next(Path("outputs").iterdir())
    (run / "evaluations").rename(run / "lost")  # the note is checked against the run
    assert main(["train", *QUICK, "--quiet"]) == 0
    assert len(list((run / "evaluations").iterdir())) == 1


@pytest.mark.parametrize(
    "command",
    [
        ("--help",),
        ("--version",),
        ("train", "--help"),
        ("ls",),
        ("ls", "strategy", "--json"),
        ("_complete", "3", "coldstart", "train", "strategy="),
        ("completion", "bash"),
        ("cat", "strategy/maml"),
    ],
    ids=" ".join,
)
def test_quick_commands_import_nothing_heavy(imported: Imports, command: tuple[str, ...]) -> None:
    assert imported(*command) == "0 []"


def test_training_imports_no_compiler(imported: Imports) -> None:
    assert imported("train", *QUICK, "--quiet") == f"0 {sorted({*HEAVY} - {'torch._dynamo'})}"


def test_compare_imports_neither_torch_nor_hydra(imported: Imports, make_run: Callable[..., Path]) -> None:
    tasks = {1: {"a": 0.5, "b": 0.7, "c": 0.6}}
    found = imported("compare", str(make_run("one", tasks)), str(make_run("two", tasks, strategy="anil")))
    assert found.startswith("0 ") and "torch" not in found and "hydra" not in found


@pytest.mark.parametrize(
    "override", ["again=true", "hydra.run.dir=x", "outputs=${oc.env:HOME}", "++again=true"]
)
def test_key_is_none_where_the_command_line_does_not_tell_all(override: str) -> None:
    assert finished.key(["seed=1"], []) is not None
    assert finished.key(["seed=1", override], []) is None


def test_key_follows_configs_of_ones_own_and_refuses_those_that_compute(tmp_path: Path) -> None:
    mine = tmp_path / "conf" / "strategy" / "mine.yaml"
    mine.parent.mkdir(parents=True)
    keys = []
    for text in ("inner_lr: 0.1", "inner_lr: 0.2", "inner_lr: ${seed}"):
        mine.write_text(text)
        keys.append(finished.key([], [str(tmp_path / "conf")]))
    assert None not in keys and len(set(keys)) == 3
    mine.write_text("inner_lr: ${oc.env:RATE}")
    assert finished.key([], [str(tmp_path / "conf")]) is None


@pytest.fixture
def note(tmp_path: Path, make_run: Callable[..., Path], monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """A finished run with a note, for data at tmp_path/data."""
    monkeypatch.setattr("coldstart_cli.reports.evaluation_table.headline", lambda summary: "")
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "a.png").write_text("one")
    for folder in ("pretrained", "teacher"):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "weights").write_text("one")
    run = make_run("run", {1: {"a": 0.5, "b": 0.7}})
    (run / "run.json").write_text(json.dumps({"format": FORMAT, "state": "finished"}))
    limits = ("p50_ms", "p95_ms", "adaptation_ms", "parameters", "flops", "peak_memory_mib")
    budget = {"_target_": "coldstart_cli.metrics.Budget", **dict.fromkeys(limits), "enforce": False}
    config = {
        "dataset": {"_target_": "coldstart_cli.x", "root": str(tmp_path / "data"), "other": ["no file"]},
        "model": {"path": str(tmp_path / "pretrained")},
        "strategy": {"teacher_run": str(tmp_path / "teacher")},
        "evaluation": {"budget": budget},
        "again": False,
    }
    hardware = json.loads((run / "evaluations/0123abcd/summary.json").read_text())["hardware"]
    seen = finished.files_of(config)
    assert seen is not None
    finished.remember("name", seen, config, run, "0123abcd", hardware)
    return {"run": run, "config": config, "hardware": hardware, "seen": seen}


@pytest.mark.parametrize("file", ["data/a.png", "pretrained/weights", "teacher/weights", "run/config.yaml"])
def test_note_counts_until_a_file_of_data_model_teacher_or_run_changes(
    note: dict[str, Any], tmp_path: Path, capsys: pytest.CaptureFixture[str], file: str
) -> None:
    assert finished.answered("name", show="path") and not finished.answered("other", show="path")
    assert capsys.readouterr().out == f"{note['run']}\n"
    (tmp_path / file).write_text("two")
    assert not finished.answered("name", show="path")


@pytest.mark.parametrize("state", ["unfinished", "gone", "damaged note"])
def test_note_does_not_count_without_its_run(note: dict[str, Any], tmp_path: Path, state: str) -> None:
    run = Path(note["run"])
    if state == "unfinished":
        (run / "run.json").write_text(json.dumps({"format": FORMAT, "state": "unfinished"}))
    elif state == "gone":
        run.rename(tmp_path / "elsewhere")
    else:
        next((tmp_path / "cache" / "finished").iterdir()).write_text('{"run": 1}')
    assert not finished.answered("name", show="path")


def test_remember_leaves_none_for_times_of_other_hardware(note: dict[str, Any]) -> None:
    hardware = {**note["hardware"], "threads": 99}
    finished.remember("slower", note["seen"], note["config"], note["run"], "0123abcd", hardware)
    assert not finished.answered("slower", show="path")


def test_files_of_data_read_by_a_class_of_ones_own_are_not_known() -> None:
    assert finished.files_of({"dataset": {"_target_": "mine.data"}}) is None
    known = {"dataset": {"_target_": "coldstart_cli.datasets.x", "root": None}, "strategy": {}, "model": {}}
    assert finished.files_of(known) is not None
