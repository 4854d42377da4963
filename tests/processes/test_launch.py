"""How a run of several processes begins and ends, as its user sees it."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from coldstart_cli.cli import main
from coldstart_cli.config import composition
from coldstart_cli.errors import JobError, RequestError
from coldstart_cli.experiment.assembly import assemble
from coldstart_cli.processes import launch
from coldstart_cli.processes.signals import Stopped
from tests.kit import endings

QUICK = [
    "experiment=smoke", "dataset=sinusoid", "model=mlp", "model.hidden=[8]", "hardware.threads=1",
    "baseline=null", "evaluation.n_tasks=4", "evaluation.n_selection_tasks=2", "strategy.inner_lr=0.01",
    "evaluation.timed_seconds=0.01", "training.log_every=10", "training.validation.every=500",
]  # fmt: skip
LAST = "; the others were stopped, the same command goes on from the last checkpoint"


@pytest.mark.parametrize(
    ("how", "error", "message"),
    [
        ("refuses", RequestError, "key: no; yes"),
        pytest.param("fails", JobError, "training: loss is nan", marks=pytest.mark.slow),  # as a refusal
        ("crashes", JobError, f"process 1 of the run: ZeroDivisionError: by zero{LAST}"),
        ("is asked to stop", Stopped, "SIGTERM"),
        ("is killed", JobError, f"process 1 of the run: was ended by SIGKILL{LAST}"),
    ],
)
def test_launch_says_how_a_process_ended(how: str, error: type[BaseException], message: str) -> None:
    handlers = [signal.getsignal(number) for number in launch.HANDLED]
    with pytest.raises(error) as caught:
        launch.launch(endings.end, (how,), 2)
    assert str(caught.value) == message
    assert [signal.getsignal(number) for number in launch.HANDLED] == handlers


@pytest.mark.usefixtures("torch_settings")
@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (
            ["strategy=protonet", "strategy.meta_batch_size=1"],
            "strategy.meta_batch_size: 1 cannot be shared among 2 processes; give "
            "strategy.meta_batch_size=2 or more, or fewer processes (hardware.processes=1)",
        ),
        (
            ["strategy=guarded", "hardware.processes=65"],
            "strategy.transfer.batch_size: 64 cannot be shared among 65 processes; give "
            "strategy.transfer.batch_size=65 or more, or fewer processes (hardware.processes=64)",
        ),
    ],
)
def test_more_processes_than_tasks_or_examples_are_refused(overrides: list[str], message: str) -> None:
    ((_, config),) = composition.points(["experiment=smoke", "hardware=cpu_x2", *overrides])
    with pytest.raises(RequestError) as caught:
        assemble(config)
    assert str(caught.value) == message


def train(outputs: Path, *overrides: str) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "coldstart_cli", "train", *QUICK, f"outputs={outputs}", *overrides]
    process = subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True
    )
    _started.append(process)
    return process


@pytest.fixture(autouse=True)
def nothing_is_left() -> Iterator[None]:
    yield
    for process in _started:
        if process.poll() is None:
            process.kill()
            process.communicate()
    _started.clear()


_started: list[subprocess.Popen[str]] = []


def done(outputs: Path, *overrides: str) -> tuple[int, str]:
    process = train(outputs, *overrides)
    _, said = process.communicate(timeout=240)
    return process.returncode, said


def processes_of(parent: int) -> list[int]:
    """Those that the elastic agent started, by age."""
    listed = ["ps", "-wweo", "pid,ppid,args"]
    found = subprocess.run(listed, capture_output=True, text=True, check=True).stdout
    rows = [line.split(None, 2) for line in found.splitlines()[1:]]
    return sorted(int(r[0]) for r in rows if int(r[1]) == parent and "spawn_main" in r[2])


def wait_for(found: Callable[[], bool]) -> None:
    until = time.monotonic() + 120
    while not found():
        assert time.monotonic() < until
        time.sleep(0.05)


def state_of(outputs: Path) -> Path:
    (run,) = outputs.glob("maml-*")
    return run


@pytest.mark.usefixtures("torch_settings")
def test_absent_gpus_are_refused_in_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    import torch

    if torch.cuda.is_available():
        pytest.skip("this machine has a GPU")
    assert main(["train", *QUICK, f"outputs={tmp_path}", "hardware=gpus"]) == 2
    said = capsys.readouterr().err
    assert re.fullmatch(r"hardware.device: this machine has no cuda; choose auto or one of: .*\n", said)
    assert not list(tmp_path.iterdir())


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_a_run_of_two_processes_is_that_of_one_and_goes_on_exactly(tmp_path: Path) -> None:
    """Stopped by a signal to one process, continued, it ends as the run that nobody stopped."""
    steps = "training.steps=3000"  # some seconds: the signal is to come in the midst of them
    assert done(tmp_path / "one", "hardware=cpu", steps)[0] == 0
    assert done(tmp_path / "two", "hardware=cpu_x2", steps)[0] == 0
    stopped = train(tmp_path / "stopped", "hardware=cpu_x2", steps)
    history = tmp_path / "stopped"
    wait_for(lambda: any(path.stat().st_size > 100 for path in history.glob("maml-*/history.jsonl")))
    os.kill(processes_of(stopped.pid)[1], signal.SIGTERM)
    _, said = stopped.communicate(timeout=60)
    assert stopped.returncode == 143
    assert said.splitlines()[-1] == "stopped: the same command goes on from here"
    assert json.loads((state_of(history) / "run.json").read_text())["state"] == "unfinished"
    code, said = done(history, "hardware=cpu_x2", steps)
    assert code == 0
    assert "continues after step" in said
    one, two, again = (
        (state_of(tmp_path / name) / "history.jsonl").read_text() for name in ("one", "two", "stopped")
    )
    assert again == two
    for ours, theirs in zip(two.splitlines(), one.splitlines(), strict=True):
        assert json.loads(ours) == pytest.approx(json.loads(theirs), rel=1e-2)
    code, said = done(tmp_path / "two", "hardware=cpu_x2", steps)
    assert code == 0
    assert "is finished; this is its result" in said


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_a_run_goes_on_with_another_number_of_processes_and_says_so(tmp_path: Path) -> None:
    process = train(tmp_path, "hardware=cpu_x2", "training.steps=600", "training.checkpoint_seconds=.1")
    wait_for(lambda: bool(list(tmp_path.glob("maml-*/checkpoints/step-*"))))
    process.send_signal(signal.SIGTERM)
    process.communicate(timeout=60)
    assert process.returncode == 143
    code, said = done(tmp_path, "hardware=cpu", "training.steps=600")
    assert code == 0
    assert "was trained on 2 processes and continues with 1" in said


@pytest.mark.slow
@pytest.mark.timeout(600)
@pytest.mark.parametrize("rank", [0, 1])
def test_a_process_that_dies_ends_the_others_and_the_run_can_go_on(tmp_path: Path, rank: int) -> None:
    process = train(tmp_path, "hardware=cpu_x2", "training.steps=100000", "training.checkpoint_seconds=.1")
    wait_for(lambda: bool(list(tmp_path.glob("maml-*/checkpoints/step-*"))))
    ranks = processes_of(process.pid)
    os.kill(ranks[rank], signal.SIGKILL)
    _, said = process.communicate(timeout=20)
    assert process.returncode == 1
    assert said.splitlines()[-1] == f"process {rank} of the run: was ended by SIGKILL{LAST}"
    assert not [pid for pid in ranks if Path(f"/proc/{pid}").exists()]
    again = train(tmp_path, "hardware=cpu_x2", "training.steps=100000")
    assert again.stderr is not None
    assert "continues after step" in again.stderr.readline()
    again.send_signal(signal.SIGTERM)
    again.communicate(timeout=30)


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_no_process_outlives_the_command(tmp_path: Path) -> None:
    process = train(tmp_path, "hardware=cpu_x2", "training.steps=100000", "training.checkpoint_seconds=.1")
    wait_for(lambda: bool(list(tmp_path.glob("maml-*/checkpoints/step-*"))))
    ranks = processes_of(process.pid)
    process.kill()
    process.communicate(timeout=20)
    wait_for(lambda: not [pid for pid in ranks if Path(f"/proc/{pid}").exists()])


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_a_group_of_torchrun_is_joined(tmp_path: Path) -> None:
    arguments = [*QUICK, "training.steps=10", "hardware=cpu", f"outputs={tmp_path}", "--quiet"]
    command = [sys.executable, "-m", "torch.distributed.run", "--nproc-per-node=2", "--standalone", "-m"]
    ran = subprocess.run(
        [*command, "coldstart_cli", "train", *arguments], capture_output=True, text=True, timeout=240
    )
    assert ran.returncode == 0, ran.stderr
    assert ran.stdout.strip() == str(state_of(tmp_path))  # one speaks for all
    (summary,) = state_of(tmp_path).glob("evaluations/*/summary.json")
    assert json.loads(summary.read_text())["hardware"]["processes"] == 2
