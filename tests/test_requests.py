"""What bad requests get: exit code 2 and one line that names the key and says what to do."""

from __future__ import annotations

import signal
import subprocess
import sys
from pathlib import Path

import pytest

from coldstart_cli.cli import main

SMALL = ["experiment=smoke", "dataset=sinusoid", "model=mlp"]

BAD = {
    "strategy": ["train", "strategy=mamll"],
    "strategy.inner_lrr": ["train", "strategy.inner_lrr=1"],
    "strategy.inner_lr": ["train", "strategy.inner_lr=abc"],
    "strategy.inner_steps": ["train", "strategy.inner_steps=0"],
    "seed": ["train", "seed=-1"],
    "foo": ["train", "foo=1"],
    "dataset.root": ["train", "dataset=omniglot", "dataset.root=/nowhere"],
    "dataset": ["train", "dataset.k_shot=400"],
    "dataset ": ["train", "dataset.n_way=500"],
    "evaluation": ["train", "evaluation.k_shots=[40]"],
    "hardware.device": ["train", "hardware=mps" if sys.platform == "linux" else "hardware=cuda"],
    "model": ["train", "dataset=sinusoid"],
    "model.norm": ["train", "model.norm=batch"],
    "strategy ": ["train", "evaluation.n_way=7"],
    "strategy  ": ["train", "strategy=protonet", "dataset=sinusoid", "model=mlp"],
    "baseline": ["train", "strategy@baseline=finetune"],
    "run": ["evaluate", "run=/"],
    "run ": ["evaluate", "evaluation.n_tasks=3"],
    "trane": ["trane"],
    "--foo": ["train", "--foo"],
    "ls": ["ls", "strategi"],
    "evaluation.confidence": ["train", "evaluation.confidence=1"],
    "dataset  ": ["train", "-m", "seed=0,1", "dataset.k_shot=1,50"],
}


@pytest.mark.parametrize("key", BAD)
def test_bad_request_gets_one_line_and_exit_code_2(
    key: str, capfd: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(BAD[key]) == 2
    lines = capfd.readouterr().err.splitlines()
    assert len(lines) == 1, lines
    assert lines[0].startswith(f"{key.strip()}:")
    assert "; " in lines[0] and len(lines[0]) <= 400
    assert not list(tmp_path.rglob("run.json")), "something was trained"


def test_output_folder_that_cannot_be_written_is_refused(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "file").touch()
    assert main(["train", *SMALL, f"outputs={tmp_path / 'file'}"]) == 2
    assert "cannot be written" in capfd.readouterr().err


def test_debug_shows_the_stack(capfd: pytest.CaptureFixture[str]) -> None:
    assert main(["train", "--debug", "strategy=mamll"]) == 2
    assert "Traceback" in capfd.readouterr().err


def test_run_goes_through_its_life(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    command = ["train", *SMALL, f"outputs={tmp_path}"]
    assert main([*command, "--dry-run"]) == 0
    assert not list(tmp_path.iterdir())
    assert main(command) == 0
    shown = capfd.readouterr().out
    for heading in (
        "Cross-task",
        "Learning curve",
        "Transfer performance",
        "Inference time",
        "Run directory",
    ):
        assert heading in shown
    (run,) = tmp_path.iterdir()
    names = {"run.json", "config.yaml", "environment.json", "history.jsonl", "timings.jsonl", "checkpoints"}
    assert names | {"evaluations"} <= {p.name for p in run.iterdir()}
    trained = (run / "checkpoints" / "best.ckpt").stat().st_mtime_ns
    assert main(command) == 0
    assert "is finished" in capfd.readouterr().err
    assert main([*command, "evaluation.n_tasks=10"]) == 0
    assert main(["evaluate", f"run={run}", "evaluation.k_shots=[5]"]) == 0
    assert len(list((run / "evaluations").iterdir())) == 3
    assert (run / "checkpoints" / "best.ckpt").stat().st_mtime_ns == trained
    capfd.readouterr()
    assert main([*command, "again=true", "--quiet"]) == 0
    assert capfd.readouterr().out.strip() == str(run)
    assert (run / "checkpoints" / "best.ckpt").stat().st_mtime_ns != trained
    assert len(list((run / "evaluations").iterdir())) == 1


def test_evaluate_refuses_what_belongs_to_the_training(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    assert main(["train", *SMALL, f"outputs={tmp_path}", "--quiet"]) == 0
    run = capfd.readouterr().out.strip()
    assert main(["evaluate", f"run={run}", "strategy.inner_lr=3"]) == 2
    assert "belongs to the training" in capfd.readouterr().err
    (Path(run) / "run.json").write_text('{"format": 99, "state": "finished"}')
    assert main(["evaluate", f"run={run}"]) == 2
    assert "has format 99" in capfd.readouterr().err


def test_sweep_runs_every_point_and_a_failing_one_stops_no_other(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    command = ["train", "-m", *SMALL, f"outputs={tmp_path}", "optimizer.lr=1e30,0.001,0.002", "--quiet"]
    assert main(command) == 3
    shown = capfd.readouterr().out
    assert "3 jobs, 1 failed" in shown and "loss is" in shown
    assert len(list(tmp_path.glob("maml-*/evaluations/*/summary.json"))) == 2


def test_interrupted_command_continues_to_the_same_bytes(tmp_path: Path) -> None:
    def command(folder: str) -> list[str]:
        settings = ["training.steps=1500", "training.log_every=1", "training.validation.every=700"]
        outputs = f"outputs={tmp_path / folder}"
        return [
            sys.executable,
            "-m",
            "coldstart_cli",
            "train",
            *SMALL,
            *settings,
            outputs,
            "hardware.threads=1",
        ]

    process = subprocess.Popen(command("stopped"), stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
    history = None
    while history is None or history.stat().st_size < 4000:
        history = next((tmp_path / "stopped").glob("*/history.jsonl"), None)
        assert process.poll() is None
    process.send_signal(signal.SIGINT)
    _, error = process.communicate(timeout=60)
    assert process.returncode == 130
    assert error.decode().strip().splitlines()[-1] == "stopped: the same command goes on from here"
    for folder in ("stopped", "whole"):
        subprocess.run(command(folder), check=True, capture_output=True, timeout=100)
    one, two = (next((tmp_path / f).glob("*/history.jsonl")).read_bytes() for f in ("stopped", "whole"))
    assert one == two


def test_run_in_progress_elsewhere_is_refused(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    assert main(["train", *SMALL, f"outputs={tmp_path}", "--quiet"]) == 0
    run = capfd.readouterr().out.strip()
    holder = (
        "import sys, time; from pathlib import Path; from coldstart_cli.runs import Run\n"
        "with Run(Path(sys.argv[1])).locked():\n    print('locked', flush=True); time.sleep(60)"
    )
    process = subprocess.Popen([sys.executable, "-c", holder, run], stdout=subprocess.PIPE)
    try:
        assert process.stdout is not None and process.stdout.readline()
        assert main(["train", *SMALL, f"outputs={tmp_path}", "again=true"]) == 2
    finally:
        process.kill()
        process.communicate()
    assert f"is in progress in process {process.pid}" in capfd.readouterr().err


def test_same_seed_gives_same_numbers(tmp_path: Path) -> None:
    import json

    values = []
    for folder in ("one", "two"):
        assert main(["train", *SMALL, "dataset=glyphs", "model=conv4", f"outputs={tmp_path / folder}"]) == 0
        (path,) = (tmp_path / folder).glob("*/evaluations/*/records.jsonl")
        rows = [json.loads(line) for line in path.read_text().splitlines()]
        values.append([{k: v for k, v in row.items() if k != "adapt_seconds"} for row in rows])
    assert values[0] == values[1]
