"""A run is the same wherever it is started: closed streams, another locale, no HOME, a umask."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from tests.kit.marked_processes import gone_within, marked
from tests.kit.reliability import Tries

pytestmark = pytest.mark.fault("R13")
SMALL = (
    "dataset=sinusoid", "model=mlp", "experiment=smoke", "hardware=cpu", "hardware.threads=1",
    "baseline=null", "strategy.inner_lr=0.01", "evaluation.n_tasks=4", "evaluation.n_selection_tasks=2",
    "training.steps=4", "training.log_every=2", "training.validation.every=2",
    "evaluation.timed_seconds=0.01",
)  # fmt: skip


@dataclass(frozen=True)
class Surroundings:
    """What a process finds: variables (None: unset), a shell's redirections, a umask, overrides."""

    variables: Mapping[str, str | None] = field(default_factory=dict)
    redirected: str = ""
    umask: int = 0o022
    overrides: tuple[str, ...] = ()


NO_HOME = {"HOME": None, "XDG_CACHE_HOME": None, "COLDSTART_CACHE": None}
C_LOCALE = {"LC_ALL": "C", "LANG": None, "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}
ALL = {
    "C, no HOME, no colour, another zone, umask 077": Surroundings(
        {**C_LOCALE, **NO_HOME, "NO_COLOR": "1", "TZ": "Asia/Kathmandu", "TERM": None}, umask=0o077
    ),
    "all streams closed": Surroundings(redirected="<&- >&- 2>&-"),
    "a sweep without streams": Surroundings(redirected="<&- >&-", overrides=("-m", "seed=0,1")),
    "locale C": Surroundings(C_LOCALE),
    "no HOME": Surroundings(NO_HOME),
    "a HOME that cannot be written": Surroundings({**NO_HOME, "HOME": "/proc/none"}),
    "a dumb terminal": Surroundings({"TERM": "dumb", "COLUMNS": "20"}),
    "stdout closed": Surroundings(redirected=">&-"),
    "stderr closed": Surroundings(redirected="2>&-"),
    "stdin closed": Surroundings(redirected="<&-"),
    "stdout full": Surroundings(redirected=">/dev/full", overrides=("--quiet",)),
    "a zone that is none": Surroundings({"TZ": "Nowhere/At_all"}),
}
QUICK = 2


def test_runs_do_not_mind_their_surroundings(tmp_path: Path, tries: Tries) -> None:
    told = []
    for i in tries.of(QUICK, len(ALL)):
        name, found = list(ALL.items())[i]
        folder = tmp_path / f"run {i}"  # a space, as folders of people have
        folder.mkdir()
        code, said = started(folder, found)
        histories = [file.read_bytes() for file in folder.glob("outputs/*/history.jsonl")]
        told += histories[:1] if "-m" not in found.overrides else []
        wanted = 2 if "-m" in found.overrides else 1
        summaries = list(folder.glob("outputs/*/evaluations/*/summary.json"))
        if (code, len(summaries), len(histories)) != (0 if "full" not in name else 1, wanted, wanted):
            tries.failures.append(f"{name}: exit code {code}, {len(summaries)} evaluations; {said}")
            continue
        for file in summaries:
            json.loads(file.read_text(encoding="utf-8"))
        if found.umask == 0o077 and any(file.stat().st_mode & 0o077 for file in folder.rglob("*")):
            tries.failures.append(f"{name}: others can read it")
        if "NO_COLOR" in found.variables and "\x1b" in said:
            tries.failures.append(f"{name}: escapes in {said!r}")
    assert len(set(told)) == 1  # the same training everywhere, byte for byte


def started(folder: Path, found: Surroundings) -> tuple[int, str]:
    """(exit code, what was said) of a small training in these surroundings, by a shell."""
    environment = {**marked(), "PYTHONWARNINGS": "default"}
    for name, value in found.variables.items():
        environment.pop(name, None)
        if value is not None:
            environment[name] = value
    command = [sys.executable, "-m", "coldstart_cli", "train", *SMALL, *found.overrides]
    done = subprocess.run(
        ["sh", "-c", f'umask {found.umask:o}; exec "$@" {found.redirected}', "sh", *command],
        cwd=folder, env=environment, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=300,
        encoding="utf-8", errors="replace", check=False,
    )  # fmt: skip
    assert gone_within(environment, 10), "something was left behind"
    return done.returncode, (done.stdout + done.stderr)[-500:]


def test_a_closed_stream_is_open_to_nothing(tmp_path: Path) -> None:
    script = (
        "import os, sys; before = sys.stdout is None; from coldstart_cli.processes import streams; "
        "streams.open_streams(); file = open('kept', 'w'); print('lost'); sys.stdout.flush(); "
        "sys.exit(0 if before and file.fileno() > 2 and os.get_inheritable(1) else 1)"
    )
    done = subprocess.run(["sh", "-c", 'exec "$@" <&- >&- 2>&-', "sh", sys.executable, "-c", script],
                          cwd=tmp_path, env=dict(os.environ), check=False)  # fmt: skip
    assert done.returncode == 0 and (tmp_path / "kept").read_bytes() == b""
