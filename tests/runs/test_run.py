"""The run directory: what it is called, and how it survives crashes, damage and other processes."""

from __future__ import annotations

import copy
import errno
import json
import math
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch

from coldstart_cli.config import composition
from coldstart_cli.errors import RequestError
from coldstart_cli.files.durable import append_jsonl, read_jsonl, truncate, write_bytes
from coldstart_cli.files.locks import held
from coldstart_cli.runs.migrations import FORMAT
from coldstart_cli.runs.run import Run, best_on_validation, evaluation_hash, run_name, write_config

HOLD = """\
import fcntl, os, sys
handle = open(sys.argv[1], "a+")
fcntl.flock(handle, fcntl.LOCK_EX)
handle.truncate(0)
handle.write(str(os.getpid()))
handle.flush()
print("held", flush=True)
sys.stdin.read()
"""


@pytest.fixture(scope="module")
def config() -> dict[str, Any]:
    ((_, config),) = composition.points(["dataset=sinusoid", "model=mlp", "strategy@baseline=scratch"])
    return config


@pytest.fixture
def run(tmp_path: Path, config: dict[str, Any]) -> Run:
    run = Run(tmp_path / "run")
    run.path.mkdir()
    run.create(config, {})
    return run


def changed(config: dict[str, Any], key: str, value: object) -> dict[str, Any]:
    copied = copy.deepcopy(config)
    node = copied
    *above, last = key.split(".")
    for name in above:
        node = node[name]
    node[last] = value
    return copied


def full_disk(*args: object) -> None:
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def state(step: int) -> dict[str, Any]:
    return {"step": step, "weights": torch.full((50,), float(step))}


@pytest.mark.parametrize("call", ["replace", "fsync"])
def test_write_that_fails_leaves_the_old_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, call: str
) -> None:
    path = tmp_path / "file"
    write_bytes(path, b"old")
    monkeypatch.setattr(os, call, full_disk)
    with pytest.raises(RequestError) as caught:
        write_bytes(path, b"twelve bytes")
    monkeypatch.undo()
    assert str(caught.value) == (
        f"{path}: cannot write 12 bytes (No space left on device); make room, or choose outputs=DIR (E53)"
    )
    assert path.read_bytes() == b"old"
    assert [p.name for p in tmp_path.iterdir()] == ["file"]


def test_write_replaces_the_whole_file(tmp_path: Path) -> None:
    write_bytes(tmp_path / "file", b"a long first content")
    write_bytes(tmp_path / "file", b"new")
    assert (tmp_path / "file").read_bytes() == b"new"
    assert len(list(tmp_path.iterdir())) == 1


def test_write_into_a_missing_folder_is_refused(tmp_path: Path) -> None:
    with pytest.raises(RequestError, match=r"cannot write 1 bytes \(No such file or directory\); "):
        write_bytes(tmp_path / "none" / "file", b"x")


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("seed", 1), ("strategy.inner_lr", 0.123), ("model.hidden", [40, 41]), ("optimizer.lr", 0.9),
        ("training.steps", 999), ("training.validation.every", 7), ("dataset.k_shot", 3),
        ("dataset.bank_seed", 5), ("hardware.precision", "bf16"),
    ],
)  # fmt: skip
def test_run_name_depends_on_what_determines_training(
    config: dict[str, Any], key: str, value: object
) -> None:
    assert run_name(changed(config, key, value), "print") != run_name(config, "print")


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("evaluation.k_shots", [3]), ("evaluation", None), ("outputs", "/elsewhere"), ("again", True),
        ("dataset.root", "/data"), ("dataset.delimiter", "tab"), ("dataset.quoted", True),
        ("dataset.header", False), ("dataset.decimal", "comma"), ("dataset.keep", ["x"]),
        ("dataset.target", "class"), ("training.log_every", 77), ("training.checkpoint_seconds", 1.0),
        ("hardware.device", "cuda"), ("hardware.threads", 7), ("hardware.replay", False), ("logger", {}),
        ("baseline", None),
        ("names.baseline", "other"), ("trust", ["them"]),
    ],
)  # fmt: skip
def test_run_name_ignores_what_does_not(config: dict[str, Any], key: str, value: object) -> None:
    assert run_name(changed(config, key, value), "print") == run_name(config, "print")


def test_run_name_reads_names_seed_and_content(config: dict[str, Any]) -> None:
    name = run_name(config, "print")
    assert re.fullmatch(r"maml-sinusoid-mlp-s0-[0-9a-f]{8}", name)
    assert run_name(config, "another") != name
    assert "/" not in run_name(changed(config, "names.strategy", "my/own"), "print")
    shuffled = dict(reversed(config.items()))
    assert run_name(shuffled, "print") == name


def test_evaluation_hash_depends_on_what_is_asked(config: dict[str, Any]) -> None:
    before = evaluation_hash(config, "print")
    for key, value in {
        "evaluation.k_shots": [3],
        "evaluation.coverage": 0.5,
        "baseline.lr": 0.7,
        "dataset.noise": 1.0,
    }.items():
        assert evaluation_hash(changed(config, key, value), "print") != before
    assert evaluation_hash(config, "other") != before
    for key, value in {
        "dataset.root": "/data",
        "hardware.device": "cuda",
        "outputs": "x",
        "evaluation.budget.p95_ms": 3,  # limits are judged, not measured
        "evaluation.beyond": "leave_out",
    }.items():
        assert evaluation_hash(changed(config, key, value), "print") == before


def test_lock_is_refused_while_another_process_holds_it(tmp_path: Path) -> None:
    run = Run(tmp_path / "run")
    with run.locked():
        pass
    command = [sys.executable, "-c", HOLD, str(run.path / ".lock")]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as other:
        assert other.stdout is not None
        assert other.stdout.readline() == "held\n"
        expected = rf"^run: .* is in progress in process {other.pid}; wait for it"
        with pytest.raises(RequestError, match=expected), run.locked():
            pass
        other.kill()  # however the process ends, its lock goes with it
        other.wait()
    with run.locked():
        assert (run.path / ".lock").read_text() == str(os.getpid())


def test_lock_in_a_folder_that_is_a_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with (
        pytest.raises(RequestError, match=r"^outputs: .* cannot be written \(.*\); "),
        Run(tmp_path / "file" / "run").locked(),
    ):
        pass


def test_run_of_a_newer_format_is_refused(run: Run) -> None:
    for version in (FORMAT + 1, "1", None):
        (run.path / "run.json").write_text(json.dumps({"format": version, "state": "finished"}))
        with pytest.raises(
            RequestError, match=rf"^run: .* has format {version}, .*; install a newer one \(E33\)$"
        ):
            _ = run.state


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b"\xff\xfe", b"null", b'{"format": 1'])
def test_run_json_damaged_is_refused(run: Run, content: bytes) -> None:
    (run.path / "run.json").write_bytes(content)
    with pytest.raises(
        RequestError, match=r"^run: .*run\.json is damaged; train again with again=true \(E32\)$"
    ):
        _ = run.state


def test_run_that_is_none_is_refused(tmp_path: Path) -> None:
    run = Run(tmp_path)
    assert not run.exists
    assert not run.finished
    with pytest.raises(RequestError, match=r"^run: .* is not a run directory"):
        _ = run.state
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "is not a run's config"),
        (b"a: [", "is not YAML"),
        (b"\xff\xfe\xfa", "is not UTF-8"),
        (b"- 1", "is not a run's config"),
        (b"seed: 1", "is not a run's config"),
        (b"seed: ${oc.env:HOME}", "holds an interpolation"),
        (b"seed: !!python/object/apply:os.system [true]", "holds a YAML tag"),
        (b'seed: "\\x24{oc.env:HOME}"', "holds an interpolation"),
    ],
)
def test_run_config_damaged_or_hostile_is_refused(run: Run, content: bytes, message: str) -> None:
    (run.path / "config.yaml").write_bytes(content)
    with pytest.raises(RequestError, match=rf"^run: .*config\.yaml {message}.*; ") as caught:
        _ = run.config
    assert "\n" not in str(caught.value)


def test_run_config_missing_is_refused(run: Run) -> None:
    (run.path / "config.yaml").unlink()
    with pytest.raises(RequestError, match="is missing or damaged"):
        _ = run.config


def test_run_config_survives_writing_and_reading(run: Run, config: dict[str, Any]) -> None:
    assert run.config == config
    odd = {**config, "outputs": "a: b # c é\n\t'\"", "seed": 2**40, "optimizer": {"lr": 1e-7}}
    write_config(run.path / "config.yaml", odd)
    assert run.config == odd


def test_run_created_anew_forgets_the_training_before(run: Run, config: dict[str, Any]) -> None:
    run.checkpoints.save(state(1), 1)
    run.write_evaluation("abc", config, [{"a": 1}], {"b": 2})
    append_jsonl(run.path / "history.jsonl", {"step": 1})
    run.mark("finished", steps=3)
    assert run.finished
    run.create(config, {"python": "3"})
    assert not run.finished
    assert run.checkpoints.latest() is None
    assert not run.evaluation("abc").exists()
    assert not (run.path / "history.jsonl").exists()


def test_evaluation_appears_whole_or_not_at_all(
    run: Run, config: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    run.write_evaluation("abc", config, [{"a": 1}, {"a": 2}], {"b": 2})
    folder = run.evaluation("abc")
    assert sorted(p.name for p in folder.iterdir()) == ["config.yaml", "records.jsonl", "summary.json"]
    assert [json.loads(line) for line in (folder / "records.jsonl").read_text().splitlines()] == [
        {"a": 1},
        {"a": 2},
    ]
    monkeypatch.setattr("coldstart_cli.runs.run.write_json", full_disk)
    with pytest.raises(OSError, match="No space left"):
        run.write_evaluation("abc", config, [], {"b": 3})
    assert json.loads((folder / "summary.json").read_text()) == {"b": 2}
    with pytest.raises(OSError, match="No space left"):
        run.write_evaluation("new", config, [], {})
    assert not run.evaluation("new").exists()


def test_history_is_cut_to_what_a_checkpoint_knows(tmp_path: Path) -> None:
    path = tmp_path / "history.jsonl"
    length = append_jsonl(path, {"step": 1, "loss": 0.1})
    whole = path.read_bytes()
    assert length == len(whole)
    append_jsonl(path, {"step": 2, "loss": 0.2})
    truncate(path, length)
    assert path.read_bytes() == whole
    truncate(tmp_path / "new.jsonl", 0)
    assert (tmp_path / "new.jsonl").read_bytes() == b""


def test_lines_are_read_without_what_a_crash_left_of_the_last(tmp_path: Path) -> None:
    path = tmp_path / "history.jsonl"
    assert read_jsonl(path) == []
    append_jsonl(path, {"step": 1, "loss": math.inf})
    append_jsonl(path, {"step": 2, "loss": 0.5})
    with path.open("ab") as file:
        file.write(b'{"step": 3, "lo')
    assert read_jsonl(path) == [{"step": 1, "loss": None}, {"step": 2, "loss": 0.5}]


def test_best_on_validation_follows_the_direction_of_the_metric(tmp_path: Path) -> None:
    assert best_on_validation(tmp_path, "validation_mse", False) is None
    rows = [{"step": 1, "loss": 2.0}, {"step": 1, "validation_mse": 3.0}, {"step": 2, "validation_mse": 1.5},
            {"step": 3, "validation_mse": None}]  # fmt: skip
    (tmp_path / "history.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    assert best_on_validation(tmp_path, "validation_mse", False) == 1.5
    assert best_on_validation(tmp_path, "validation_mse", True) == 3.0


def test_a_run_of_an_earlier_design_says_so(tmp_path: Path) -> None:
    ((_, config),) = composition.points(["strategy=film"])
    before = run_name(config, "print", {})
    assert before != run_name(config, "print")
    earlier = r"^run: .* was trained by an earlier film, .* train it anew$"
    for name, text in ((before, earlier), ("x", "holds another run")):
        run = Run(tmp_path / name)
        run.path.mkdir()
        run.create(config, {"fingerprint": "print"})
        with pytest.raises(RequestError, match=text):
            run.check_name()


def test_a_failure_is_noted_until_the_next_attempt_begins(run: Run) -> None:
    noted = run.path / "failure.json"
    with pytest.raises(ValueError), run.locked():
        raise ValueError("loss is\nnan")
    assert json.loads(noted.read_text()) == {"reason": "loss is nan"}
    for no_failure in (KeyboardInterrupt(), RequestError("logger: is not there")):
        with pytest.raises(type(no_failure)), run.locked():
            assert not noted.exists()
            raise no_failure
        assert not noted.exists()
    run.failed("killed")
    run.failed("a second reason")
    assert json.loads(noted.read_text()) == {"reason": "killed"}


def test_a_failure_is_not_noted_of_a_run_that_another_process_is_at(run: Run) -> None:
    with held(run.path / ".lock", str):
        run.failed("in progress in process 7")
    assert not (run.path / "failure.json").exists()
    run.mark("finished", steps=1)
    run.failed("too late")
    assert not (run.path / "failure.json").exists()
