"""Real trainings that are killed, stopped, starved and continued: all end as one that nobody disturbed.

Rows R1 to R3, R6, R8, R15 and R17 of tests/reliability.py.
"""

from __future__ import annotations

import hashlib
import io
import json
import os
import random
import re
import shutil
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

from coldstart_cli.config import composition
from coldstart_cli.files.durable import PARTIAL
from tests.kit.places import STRATEGIES
from tests.kit.processes import Child, Processes
from tests.kit.reliability import Tries

pytestmark = pytest.mark.timeout(1200)  # with all tries; a server that is interrupted answers no more
SMALL = (
    "experiment=smoke", "hardware=cpu", "hardware.threads=1", "baseline=null", "logger=[]",
    "training.steps=40", "training.log_every=1", "training.checkpoint_seconds=0.02",
    "training.validation.every=10", "evaluation.n_tasks=4", "evaluation.n_selection_tasks=2",
)  # fmt: skip
SINES = ("dataset=sinusoid", "model=mlp", "model.hidden=[8]")
GLYPHS = ("dataset=glyphs", "model=mlp", "model.hidden=[8]")
COMMANDS = {
    "maml": ("train", "strategy=maml", *SINES, *SMALL),
    "protonet": ("train", "strategy=protonet", *GLYPHS, *SMALL),
    "distillation": (
        "train", "strategy=distillation", "model@strategy.teacher=mlp", "strategy.teacher.hidden=[8]", *SINES,
        *SMALL,
    ),
    "finetune": ("train", "strategy=finetune", *SINES, *SMALL),
    "coral": ("train", "strategy=coral", *GLYPHS, "dataset.n_unlabelled=5", *SMALL),
}  # fmt: skip


class Undisturbed:
    """What a command leaves behind where nothing disturbs it, and how many seconds it takes."""

    def __init__(self, processes: Processes, folder: Path) -> None:
        self._processes, self._folder = processes, folder
        self._found: dict[str, tuple[dict[str, Any], float]] = {}

    def run(self, name: str) -> Path:
        self.of(name)
        return run_of(self._folder / f"{name}1")

    def of(self, name: str) -> tuple[dict[str, Any], float]:
        """Of the second time, for the first warms up; both must agree."""
        if name not in self._found:
            for place in (self._folder / f"{name}{i}" for i in range(2)):
                place.mkdir()
                before = time.monotonic()
                ended = self._processes.run(COMMANDS[name], place, "slow_disk", [0.002])
                seconds = time.monotonic() - before
                assert ended.code == 0, ended.err
            self._found[name] = (left_behind(run_of(self._folder / f"{name}1")), seconds)
            assert not differences(run_of(self._folder / f"{name}0"), self._found[name][0])
        return self._found[name]


@pytest.fixture(scope="module")
def undisturbed(processes: Processes, tmp_path_factory: pytest.TempPathFactory) -> Undisturbed:
    return Undisturbed(processes, tmp_path_factory.mktemp("undisturbed"))


def run_of(folder: Path) -> Path:
    (run,) = (folder / "outputs").iterdir()
    return run


def plain(value: Any) -> Any:
    """A state with the bytes of its tensors, which compare as nothing else does: NaN equals NaN."""
    if isinstance(value, torch.Tensor):
        return str(value.dtype), tuple(value.shape), value.numpy().tobytes()
    if isinstance(value, dict):
        return {key: plain(item) for key, item in value.items()}
    return [plain(item) for item in value] if isinstance(value, list | tuple) else value


def state_of(path: Path) -> dict[str, Any] | None:
    """A checkpoint's state as coldstart would read it, or None where it is damaged."""
    data = path.read_bytes()
    if hashlib.sha256(data[32:]).digest() != data[:32]:
        return None
    state: dict[str, Any] = torch.load(io.BytesIO(data[32:]), weights_only=True)
    return state


def unreadable(run: Path) -> list[str]:
    return [path.name for path in sorted(run.glob("checkpoints/*.ckpt")) if state_of(path) is None]


def left_behind(run: Path) -> dict[str, Any]:
    """All that a run leaves behind and that is no time."""
    newest = max(run.glob("checkpoints/step-*.ckpt"))
    state = state_of(newest)
    assert state is not None
    del state["seconds"], state["lengths"]  # of lines of times; those of history are compared as they are
    facts = json.loads((run / "run.json").read_text())
    del facts["seconds"]
    lines = [
        json.loads(line) for line in next(run.glob("evaluations/*/records.jsonl")).read_text().splitlines()
    ]
    return {
        "files": {str(p.relative_to(run)) for p in run.rglob("*") if p.is_file() and "step-" not in p.name},
        "state": plain(state),
        "best": (run / "checkpoints" / "best.ckpt").read_bytes(),
        "history": (run / "history.jsonl").read_bytes(),
        "run": facts,
        "records": [{name: v for name, v in line.items() if name != "adapt_seconds"} for line in lines],
    }


def differences(run: Path, expected: dict[str, Any]) -> list[str]:
    found = left_behind(run)
    return [name for name in expected if found[name] != expected[name]]


def continued(processes: Processes, name: str, folder: Path, expected: dict[str, Any]) -> str:
    """Repeats a command where it was disturbed: what is wrong then, in words, or nothing."""
    ended = processes.run(COMMANDS[name], folder)
    if ended.code != 0 or "damaged" in ended.err:
        return f"goes on to exit {ended.code}, {ended.err}"
    found = left_behind(run_of(folder))
    wrong = [name for name in expected if found[name] != expected[name]]
    if "files" in wrong:
        wrong += sorted(found["files"] ^ expected["files"])
    return f"leaves other {', '.join(wrong)} behind" if wrong else ""


@pytest.mark.fault("R1")
def test_trainings_killed_at_random_moments_end_as_one_that_was_not(
    processes: Processes, undisturbed: Undisturbed, tmp_path: Path, tries: Tries
) -> None:
    names = list(COMMANDS) if tries.full else ["maml"]
    dice = random.Random(0)
    left: dict[str, list[int]] = {name: [] for name in names}
    for i in tries.of(20, 200):
        left[names[i % len(names)]].append(i)
    for name in names:
        expected, life = undisturbed.of(name)
        for start in range(0, len(left[name]), 5):  # a run is killed five times, and then let be
            folder = tmp_path / f"{name}{start}"
            folder.mkdir()
            for i in left[name][start : start + 5]:
                child = processes.start(COMMANDS[name], folder, "slow_disk", [0.002])
                child.kill(signal.SIGKILL, after=dice.uniform(0, life))
                child.wait()
                for run in folder.glob("outputs/*"):
                    tries.failures += [f"{name}, kill {i}: {file} is unreadable" for file in unreadable(run)]
            if wrong := continued(processes, name, folder, expected):
                tries.failures.append(f"{name}, after kill {i}: {wrong}")
            shutil.rmtree(folder)


@pytest.mark.fault("R1")
def test_checkpoints_written_in_place_are_torn_by_the_same_kills(
    processes: Processes, tmp_path: Path
) -> None:
    dice = random.Random(0)
    for i in range(20):
        folder = tmp_path / str(i)
        folder.mkdir()
        child = processes.start(COMMANDS["maml"], folder, "in_place", [0.01])
        wait_for(child, folder, "checkpoints/step-*.ckpt")
        child.kill(signal.SIGKILL, after=dice.uniform(0, 0.2))
        child.wait()
        if unreadable(run_of(folder)):
            return
    pytest.fail("no checkpoint was torn")


@pytest.mark.fault("R1")
def test_what_a_killed_process_left_half_written_is_gone_after_the_next(
    processes: Processes, tmp_path: Path
) -> None:
    child = processes.start(COMMANDS["maml"], tmp_path, "slow_disk", [600])
    wait_for(child, tmp_path, f".*{PARTIAL}")
    child.kill(signal.SIGKILL)
    child.wait()
    assert list((tmp_path / "outputs").rglob(f".*{PARTIAL}"))
    assert processes.run(COMMANDS["maml"], tmp_path).code == 0
    assert not list((tmp_path / "outputs").rglob(f".*{PARTIAL}"))


def wait_for(child: Child, folder: Path, pattern: str) -> Path:
    """Waits until a child's run directory has a file that is not empty, or fails after a minute."""
    for _ in range(30_000):
        for path in folder.glob(f"outputs/*/{pattern}"):
            if path.stat().st_size or not pattern.endswith(".jsonl"):
                return path
        time.sleep(0.002)
    child.kill(signal.SIGKILL)
    pytest.fail(f"no {pattern} in a minute: {child.wait()}")


ASKED = 76
"""How often SMALL asks for a stop: 41 times beside steps, at 20 validation tasks and 10 others."""


@pytest.mark.fault("R2")
def test_trainings_stopped_anywhere_continue_byte_for_byte(
    processes: Processes, undisturbed: Undisturbed, tmp_path: Path, tries: Tries
) -> None:
    expected, _ = undisturbed.of("maml")
    stopped_in = set()
    for i in tries.of(6, 25):
        folder = tmp_path / f"stop{i}"
        folder.mkdir()
        after = 1 + i * (ASKED - 1) // (24 if tries.full else 5)
        ended = processes.run(COMMANDS["maml"], folder, "stop_after", [after])
        run = run_of(folder)
        stopped_in.add(json.loads((run / "run.json").read_text())["state"])
        if ended.code != 143 or ended.err.count("\n") != 1:
            tries.failures.append(f"check {after}: exit {ended.code}, {ended.err}")
        if wrong := continued(processes, "maml", folder, expected):
            tries.failures.append(f"check {after}: {wrong}")
    assert stopped_in == {"unfinished", "finished"}  # in training, and in the evaluation
    assert processes.run(COMMANDS["maml"], tmp_path, "stop_after", [ASKED + 1]).code == 0


@pytest.mark.fault("R3")
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_stops_a_training_within_a_step_and_it_continues(
    processes: Processes,
    undisturbed: Undisturbed,
    tmp_path: Path,
    tries: Tries,
    number: signal.Signals,
) -> None:
    expected, life = undisturbed.of("maml")
    dice = random.Random(int(number))
    for i in tries.of(3, 20):
        folder = tmp_path / f"signal{i}"
        folder.mkdir()
        child = processes.start(COMMANDS["maml"], folder, "slow_disk", [0.002])
        history = wait_for(child, folder, "history.jsonl")
        child.kill(signal.SIGSTOP, after=dice.uniform(0, life / 10))  # while it trains
        before = len(history.read_bytes().splitlines())
        child.kill(number)
        child.kill(signal.SIGCONT)
        ended = child.wait()
        after = len(history.read_bytes().splitlines())
        if ended.code != 128 + number or ended.err != "stopped: the same command goes on from here\n":
            tries.failures.append(f"{number.name} {i}: exit {ended.code}, {ended.err}")
        elif after > before + 2:  # the step that is being made, and its validation
            tries.failures.append(f"{number.name} {i}: {after - before} lines of history more")
        if alive(child):
            tries.failures.append(f"{number.name} {i}: left a process behind")
        if wrong := continued(processes, "maml", folder, expected):
            tries.failures.append(f"{number.name} {i}: {wrong}")


def alive(child: Child) -> bool:
    """Whether anyone of the session that a child leads is left."""
    try:
        os.killpg(child.pid, 0)
    except ProcessLookupError:
        return False
    return True


@pytest.mark.fault("R3")
def test_a_second_interrupt_ends_a_step_that_does_not(processes: Processes, tmp_path: Path) -> None:
    child = processes.start(COMMANDS["maml"], tmp_path, "endless_step")
    wait_for(child, tmp_path, "in_step")
    child.kill(signal.SIGINT)
    child.kill(signal.SIGINT, after=0.1)
    ended = child.wait()
    assert ended.code == 130
    assert ended.err == "stopped: the same command goes on from here\n"
    assert not alive(child)


LINE = r"{path}: cannot write \d+ bytes \({reason}\); make room, or choose outputs=DIR \(E53\)\n"


@pytest.mark.fault("R6")
def test_a_file_that_does_not_fit_is_named_with_its_bytes(
    processes: Processes, undisturbed: Undisturbed, tmp_path: Path, tries: Tries
) -> None:
    expected, _ = undisturbed.of("maml")
    sizes = sorted({p.stat().st_size for p in undisturbed.run("maml").rglob("*") if p.is_file()} - {0})
    limits = [limit for size in sizes for limit in (size // 2, size - 1) if limit > 400]  # its line must fit
    for i in tries.of(4, 20):
        limit = limits[i * len(limits) // (20 if tries.full else 4)]
        folder = tmp_path / f"limit{i}"
        folder.mkdir()
        ended = processes.run(COMMANDS["maml"], folder, "file_size", [limit])
        if ended.code != 2 or not re.fullmatch(LINE.format(path=r"\S+", reason="File too large"), ended.err):
            tries.failures.append(f"{limit} bytes: exit {ended.code}, {ended.err}")
        if wrong := continued(processes, "maml", folder, expected):
            tries.failures.append(f"{limit} bytes: {wrong}")


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Callable[[str], Path]]:
    """Mounts a disk of its own for a test, or mounts it again with other options."""
    folder = tmp_path / "disk"
    folder.mkdir()

    def mounted(options: str) -> Path:
        again = "remount," if folder.is_mount() else ""
        command = ["mount", "-t", "tmpfs", "-o", f"{again}{options}", "tmpfs", str(folder)]
        if os.geteuid() != 0 or subprocess.run(command, check=False, capture_output=True).returncode != 0:
            pytest.skip("no right to mount a small disk")
        return folder

    yield mounted
    if folder.is_mount():
        subprocess.run(["umount", "--lazy", str(folder)], check=True)


@pytest.mark.fault("R6")
def test_a_disk_that_fills_up_is_named_and_with_more_room_the_run_continues(
    processes: Processes, undisturbed: Undisturbed, disk: Callable[[str], Path], tries: Tries
) -> None:
    expected, _ = undisturbed.of("maml")
    for i in tries.of(1, 6):
        pages = (12, 4, 6, 8, 10, 11)[i]
        folder = disk(f"size={4096 * pages}")
        ended = processes.run(COMMANDS["maml"], folder)
        if ended.code != 2 or not re.fullmatch(LINE.format(path=r"\S+", reason="No space .*"), ended.err):
            tries.failures.append(f"{pages} pages: exit {ended.code}, {ended.err}")
        tries.failures += [f"{pages} pages: {name} is unreadable" for name in unreadable(run_of(folder))]
        disk("size=4m")
        if wrong := continued(processes, "maml", folder, expected):
            tries.failures.append(f"{pages} pages: {wrong}")
        shutil.rmtree(folder / "outputs")


@pytest.mark.fault("R6")
def test_a_disk_that_can_only_be_read_is_named(
    processes: Processes, undisturbed: Undisturbed, disk: Callable[[str], Path]
) -> None:
    expected, _ = undisturbed.of("maml")
    folder = disk("size=4m")
    assert processes.run(COMMANDS["maml"], folder, "stop_after", [20]).code == 143
    disk("ro,size=4m")
    ended = processes.run(COMMANDS["maml"], folder)
    assert ended.code == 2
    assert re.fullmatch(r"outputs: \S+ cannot be written \(Read-only file system\); .*\n", ended.err)
    disk("rw,size=4m")
    assert not continued(processes, "maml", folder, expected)


@pytest.mark.fault("R6")
@pytest.mark.parametrize("place", [".", "checkpoints"])
def test_a_folder_without_permission_is_named(
    processes: Processes, undisturbed: Undisturbed, tmp_path: Path, place: str
) -> None:
    expected, _ = undisturbed.of("maml")
    processes.run(COMMANDS["maml"], tmp_path, "stop_after", [20])
    run = run_of(tmp_path)
    (run / place).chmod(0o555)
    ended = processes.run(COMMANDS["maml"], tmp_path, "permissions_bind")
    (run / place).chmod(0o755)
    assert ended.code == 2
    assert ended.err.splitlines()[-1].startswith(f"{Path('outputs', run.name, place)}")
    assert "(Permission denied)" in ended.err.splitlines()[-1]
    assert not unreadable(run)
    assert not continued(processes, "maml", tmp_path, expected)


@pytest.mark.fault("R8")
@pytest.mark.parametrize(
    "large", ["model.hidden=[9000,9000]", "strategy.meta_batch_size=3000000", "dataset.n_query=90000000"]
)
def test_memory_that_runs_out_is_said_in_a_line_with_a_hint(
    processes: Processes, tmp_path: Path, large: str
) -> None:
    key = large.partition("=")[0]
    words = [word for word in COMMANDS["maml"] if word.partition("=")[0] != key]
    ended = processes.run([*words, large], tmp_path, "memory", [100 << 20])
    assert ended.code == 1, ended.err
    assert re.fullmatch(r"memory: not enough; lower \S+.*\n", ended.err)


FILES = (
    "run.json", "config.yaml", "environment.json", "history.jsonl", "timings.jsonl", "checkpoints/best.ckpt",
    "checkpoints/step-*.ckpt", "checkpoints", "evaluations/*/summary.json", "evaluations/*/records.jsonl",
    "evaluations/*/config.yaml",
)  # fmt: skip


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def emptied(path: Path) -> None:
    path.write_bytes(b"")


def missing(path: Path) -> None:
    shutil.rmtree(path) if path.is_dir() else path.unlink()


def folder_instead(path: Path) -> None:
    path.unlink()
    path.mkdir()


@pytest.mark.fault("R5")
@pytest.mark.parametrize("finished", [False, True])
def test_a_file_that_is_damaged_is_done_without_or_named(
    processes: Processes, undisturbed: Undisturbed, tmp_path: Path, tries: Tries, finished: bool
) -> None:
    expected, _ = undisturbed.of("maml")
    made = tmp_path / "made"
    made.mkdir()
    processes.run(COMMANDS["maml"], made, "" if finished else "stop_after", [] if finished else [30])
    cases = [
        (name, damage)
        for name in FILES[: None if finished else 8]
        for damage in (cut, emptied, missing, folder_instead)
        if (damage is missing or name != "checkpoints")
    ]
    for i in tries.of(3, len(cases)):
        name, damage = cases[i if tries.full else 5 * i + 2]
        folder = tmp_path / f"case{i}"
        shutil.copytree(made, folder)
        run = run_of(folder)
        paths = sorted(run.glob(name))
        for path in paths:
            damage(path)
        command = ["evaluate", f"run=outputs/{run.name}"] if finished else COMMANDS["maml"]
        ended = processes.run(command, folder)
        if ended.code == 0:
            keep = {"records", "best", "state"} if "step" not in name else {"records"}
            wrong = [] if finished else [d for d in differences(run, expected) if d in keep]
        else:
            line = ended.err.splitlines()[-1] if ended.err else ""
            wrong = [] if ended.code == 2 and str(run.relative_to(folder)) in line else ["refusal"]
        if wrong or "Traceback" in ended.err:
            tries.failures.append(f"{name} {damage.__name__}: {ended.code}, {wrong}, {ended.err}")
        shutil.rmtree(folder)


@pytest.mark.fault("R15")
def test_each_strategy_learns_the_same_in_any_process(
    processes: Processes, tmp_path: Path, tries: Tries
) -> None:
    names = STRATEGIES if tries.full else STRATEGIES[::17]
    tries.n += len(names)
    with Processes(tmp_path, {"PYTHONHASHSEED": "4321"}) as others:  # of the first it is drawn
        for name in names:
            ours = trained(processes, name, tmp_path / name)
            theirs = trained(others, name, tmp_path / f"{name} again")
            if wrong := [part for part in ours if ours[part] != theirs[part]]:
                tries.failures.append(f"{name}: other {', '.join(wrong)}")


def trained(processes: Processes, name: str, folder: Path) -> dict[str, Any]:
    """What a strategy leaves behind on small images with unlabelled ones."""
    folder.mkdir()
    ((_, config),) = composition.points([f"strategy={name}"])
    taught = "teacher" in config["strategy"]
    teacher = ("model@strategy.teacher=conv4", "strategy.teacher.hidden=4") if taught else ()
    images = ("dataset.n_way=3", "dataset.n_unlabelled=3", "dataset.n_query=4", "model.hidden=4")
    fewer = ("training.steps=8", "training.log_every=1", "training.checkpoint_seconds=60")
    ended = processes.run(["train", f"strategy={name}", *teacher, *SMALL, *images, *fewer], folder)
    if ended.code != 0:
        return {"refused": ended.err}
    return left_behind(run_of(folder))


@pytest.mark.fault("R16")
def test_a_run_of_format_1_is_read_and_a_newer_one_named(
    processes: Processes, repository: Path, tmp_path: Path
) -> None:
    shutil.copytree(repository / "tests" / "data" / "run_format_1", tmp_path / "old")
    for command in (
        ["evaluate", "run=old", "evaluation.n_tasks=3"],
        ["evaluate", "run=old"],
        ["compare", "old"],
    ):
        ended = processes.run(command, tmp_path)
        assert (ended.code, ended.err.count("Traceback")) == (0, 0), ended.err
    facts = json.loads((tmp_path / "old" / "run.json").read_text())
    assert facts["format"] == 1  # it is read as it is
    (tmp_path / "old" / "run.json").write_text(json.dumps({**facts, "format": 99}))
    ended = processes.run(["evaluate", "run=old"], tmp_path)
    assert ended.code == 2
    assert ended.err == "run: old has format 99, this coldstart reads up to 2; install a newer one (E33)\n"


@pytest.mark.fault("R17")
def test_long_runs_grow_in_nothing(processes: Processes, tmp_path: Path, tries: Tries) -> None:
    steps, tasks = (10_000, 1_000) if tries.full else (300, 40)
    every = steps // 10
    tries.n += steps + 2 * tasks
    long = (
        f"training.steps={steps}", "training.log_every=10", "training.checkpoint_seconds=0.1",
        "training.validation.every=100", f"evaluation.n_tasks={tasks}",
    )  # fmt: skip
    ended = processes.run([*COMMANDS["maml"], *long], tmp_path, "watched", [every, tasks // 5])
    assert ended.code == 0, ended.err
    rows = [json.loads(line) for line in (tmp_path / "watched.jsonl").read_text().splitlines()]
    for phase, least in (("training", 10), ("evaluation", 10)):
        told = [row for row in rows if row["phase"] == phase]
        assert len(told) >= least
        warm, last = told[1:4], told[-3:]  # a median of three: one slow moment of the machine is no growth
        # Seconds in full alone: those of 8 tasks are half a millisecond, which a busy neighbour doubles.
        for what, share in [("memory", 1.05), ("files", 1.0), *([("seconds", 1.25)] if tries.full else [])]:
            before, after = (sorted(row[what] for row in part)[1] for part in (warm, last))
            if after > share * before:
                tries.failures.append(f"{phase}: {what} grew from {before} to {after}")
