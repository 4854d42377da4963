"""S10: a stranger's folder, in which a command is typed, runs nothing and is imported by no process."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest

from tests.kit.reliability import Tries

SMALL = ("experiment=smoke", "dataset=sinusoid", "model=mlp", "training.steps=2", "evaluation.n_tasks=2",
         "evaluation.n_selection_tasks=2", "evaluation.timed_seconds=0.01", "hardware.threads=1",
         "baseline=null")  # fmt: skip
MODULES = (
    "signal", "socket", "json", "random", "pickle", "logging", "tempfile", "selectors", "struct", "runpy",
    "pkgutil", "multiprocessing", "torch", "numpy", "yaml", "rich", "optuna", "submitit", "cloudpickle",
    "hydra", "hydra_plugins", "sitecustomize", "usercustomize", "evil",
)  # fmt: skip
COMMANDS: dict[str, Sequence[str]] = {
    "a sweep's jobs": ("train", "-m", *SMALL, "seed=1,2", "sweep.n_jobs=2"),
    "two ranks": ("train", *SMALL, "hardware=cpu_x2"),
    "a search's trials": ("tune", *SMALL, "strategy.inner_lr=interval(0.01,0.1)", "tune.n_trials=1"),
    "submitit's jobs": ("train", "-m", *SMALL, "seed=1,2", "hydra/launcher=local"),
    "another sweeper": ("train", "-m", *SMALL, "seed=1,2", "hydra/launcher=basic"),
    "doctor": ("doctor",),
    "configs": ("ls", "strategy"),
}


@pytest.fixture
def hostile(tmp_path: Path) -> Path:
    """A repository with hooks, modules named like Python's own and ours, and settings of libraries."""
    folder = tmp_path / "hostile"
    folder.mkdir()
    (tmp_path / "marks").mkdir()
    for name in (*MODULES, "coldstart_cli"):
        (folder / f"{name}.py").write_text(f"open({str(tmp_path / 'marks' / name)!r}, 'w').close()\n")
    (folder / "matplotlibrc").write_text("backend: module://evil\ntext.usetex: True\n")
    (folder / ".env").write_text(f"COLDSTART_CACHE={tmp_path}/cache\n")
    (folder / "pyproject.toml").write_text("[tool.coldstart]\ntrust = ['evil']\n")
    (folder / "conf" / "strategy").mkdir(parents=True)
    (folder / "conf" / "strategy" / "maml.yaml").write_text("_target_: evil.Thing\n")
    (folder / "conf" / "train.yaml").write_text("trust: [evil]\n")
    program = tmp_path / "program"
    program.write_text(f"#!/bin/sh\ntouch {tmp_path}/marks/program\n")
    program.chmod(0o755)
    git = ["git", "-c", "user.name=a", "-c", "user.email=a@example.org"]
    for words in (["init", "-q"], ["commit", "-q", "--allow-empty", "-m", "x"],
                  ["config", "core.fsmonitor", str(program)]):  # fmt: skip
        subprocess.run([*git, *words], cwd=folder, check=True, capture_output=True)
    return folder


def ran(folder: Path) -> list[str]:
    return sorted(path.name for path in (folder.parent / "marks").iterdir())


@pytest.mark.fault("S10")
@pytest.mark.timeout(600)
def test_no_process_runs_or_imports_a_strangers_folder(hostile: Path, tries: Tries) -> None:
    program = Path(sys.executable).with_name("coldstart")
    names = list(COMMANDS)
    environment = {name: value for name, value in os.environ.items() if not name.startswith("PYTHON")}
    for i in tries.of(2, len(names)):
        done = subprocess.run(
            [program, *COMMANDS[names[i]]],
            cwd=hostile,
            env={**environment, "OMP_NUM_THREADS": "1"},
            capture_output=True,
            text=True,
            check=False,
        )
        if done.returncode or ran(hostile):
            tries.failures.append(
                f"{names[i]}: exit {done.returncode}, ran {ran(hostile)}: {done.stderr[-300:]}"
            )
        for mark in (hostile.parent / "marks").iterdir():
            mark.unlink()


def test_a_child_does_import_this_folder_without_the_guard(hostile: Path) -> None:
    environment = {name: value for name, value in os.environ.items() if not name.startswith("PYTHON")}
    subprocess.run([sys.executable, "-c", "import evil"], cwd=hostile, env=environment, check=True)
    assert ran(hostile) == ["evil"]


def test_plots_read_no_settings_of_this_folder(tmp_path: Path) -> None:
    """A FIFO would hold up the first import of matplotlib for ever."""
    os.mkfifo(tmp_path / "matplotlibrc")
    code = "from coldstart_cli.reports.plots import style\nwith style(): print('drawn')"
    done = subprocess.run(
        [sys.executable, "-P", "-c", code],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    assert done.stdout == "drawn\n"
