"""`coldstart train`: a run, a sweep, a plan, a config, and how they end."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

from tests.kit.small_runs import QUICK, Cli, only_run, read, records


def test_cli_sweep_states_what_is_not_served(cli: Cli) -> None:
    code, out, _ = cli(
        "train", "-m", *(o for o in QUICK if not o.startswith("strategy")), "strategy=maml,protonet"
    )
    assert code == 0
    assert "2 jobs, 0 failed, 1 not served" in out
    rows = [line for line in out.splitlines() if line.startswith("  strategy=")]
    assert "mse" in rows[0]
    assert "not served: strategy: it tells classes apart" in rows[1]


def test_cli_cfg_prints_the_config_and_stops(cli: Cli, tmp_path: Path) -> None:
    code, out, _ = cli("train", *QUICK, "seed=7", "--cfg", "job")
    assert code == 0
    assert "seed: 7" in out
    assert "inner_lr: 0.01" in out
    assert list(tmp_path.iterdir()) == []


def test_cli_dry_run_writes_nothing(cli: Cli, tmp_path: Path) -> None:
    code, out, _ = cli("train", *QUICK, "--dry-run")
    assert code == 0
    assert "(new)" in out
    for word in ("parameters 1,761", "FLOPs", "seconds", "disk"):
        assert word in out
    assert list(tmp_path.iterdir()) == []


def test_cli_train_evaluate_and_come_back(cli: Cli, tmp_path: Path) -> None:
    """One run and all that is asked of it afterwards."""
    code, out, err = cli("train", *QUICK, "strategy@baseline=scratch")
    assert code == 0, err
    run = only_run(tmp_path / "outputs")
    files = {p.relative_to(run).as_posix() for p in run.rglob("*") if p.is_file() and p.name != ".lock"}
    (first,) = run.glob("evaluations/*")
    assert files == {
        "run.json", "config.yaml", "environment.json", "history.jsonl", "timings.jsonl",
        "checkpoints/best.ckpt", "checkpoints/step-000000006.ckpt",
        *(f"evaluations/{first.name}/{name}" for name in ("config.yaml", "records.jsonl", "summary.json")),
        "plots/training.png", f"plots/{first.name}-learning_curve.png",
    }  # fmt: skip
    for heading in ("Cross-task", "Learning curve", "Transfer performance", "Inference time"):
        assert heading in out
    assert f"Run directory: outputs/{run.name}" in out
    assert f"Curves: outputs/{run.name}/plots/ (training.png, {first.name}-learning_curve.png)\n" in out
    assert {r["role"] for r in records(run)} == {"strategy", "baseline", "constant"}  # of a regression
    history = [json.loads(line) for line in (run / "history.jsonl").read_text().splitlines()]
    assert [row["step"] for row in history] == [0, 2, 3, 4, 6, 6]
    assert read(run / "run.json")["state"] == "finished"
    assert read(run / "environment.json")["command_line"][:2] == ["coldstart", "train"]

    stamps = {name: (run / name).stat().st_mtime_ns for name in ("run.json", "history.jsonl")}
    code, again, err = cli("train", *QUICK, "strategy@baseline=scratch")
    assert (code, again) == (0, out)
    assert "is finished; this is its result" in err

    code, _, err = cli("train", *QUICK, "strategy@baseline=scratch", "evaluation.n_tasks=3")
    assert code == 0
    assert "training" not in err
    assert len(list(run.glob("evaluations/*"))) == 2

    code, out, err = cli("evaluate", f"run=outputs/{run.name}", "evaluation.k_shots=[5]")
    assert code == 0, err
    assert "5 points" in out
    assert len(list(run.glob("evaluations/*"))) == 3
    code, same, err = cli("evaluate", f"run=outputs/{run.name}", "evaluation.k_shots=[5]")
    assert (code, same) == (0, out)
    assert "this evaluation is finished" in err

    code, out, err = cli("evaluate", f"run=outputs/{run.name}", "--quiet")
    assert (code, out, err) == (0, f"outputs/{run.name}\n", "")
    for override in ("strategy.inner_lr=1", "evaluation.k_shot=1", "evaluation.n_way=7"):
        code, _, err = cli("evaluate", f"run=outputs/{run.name}", override)
        assert (code, err.count("\n"), err.count(";") > 0) == (2, 1, True)
    assert stamps == {name: (run / name).stat().st_mtime_ns for name in stamps}

    before = (run / "history.jsonl").read_bytes()
    code, _, err = cli("train", *QUICK, "strategy@baseline=scratch", "again=true", "--quiet")
    assert (code, err) == (0, "")
    assert (run / "run.json").stat().st_mtime_ns != stamps["run.json"]
    assert (run / "history.jsonl").read_bytes() == before
    assert len(list(run.glob("evaluations/*"))) == len(list(run.glob("plots/*-learning_curve.png"))) == 1


def test_cli_job_that_fails_leaves_its_curve(cli: Cli, tmp_path: Path) -> None:
    code, _, err = cli("train", *QUICK, "optimizer.lr=1e5", "training.steps=200", "training.log_every=1")
    assert code == 1, err
    assert [path.name for path in only_run(tmp_path / "outputs").glob("plots/*")] == ["training.png"]


def test_cli_quiet_prints_the_run_directory_alone(cli: Cli, tmp_path: Path) -> None:
    code, out, err = cli("train", *QUICK, "--quiet")
    assert (code, err) == (0, "")
    assert out == f"outputs/{only_run(tmp_path / 'outputs').name}\n"


def test_cli_same_seed_gives_the_same_records(cli: Cli, tmp_path: Path) -> None:
    for outputs, seed in (("one", 0), ("two", 0), ("three", 1)):
        code, _, err = cli("train", *QUICK, f"outputs={outputs}", f"seed={seed}", "--quiet")
        assert code == 0, err
    one, two, three = (records(only_run(tmp_path / name)) for name in ("one", "two", "three"))
    assert one == two
    assert [r["value"] for r in one] != [r["value"] for r in three]
    assert [r["task_hash"] for r in one] == [r["task_hash"] for r in three]  # every seed sees the same tasks


def test_cli_sweep_runs_every_point_and_prints_a_table(cli: Cli, tmp_path: Path) -> None:
    code, out, err = cli("train", "-m", *QUICK, "seed=0,1")
    assert code == 0, err
    runs = [p.name for p in (tmp_path / "outputs").iterdir() if p.name != "sweeps"]
    assert len(runs) == 2
    table = out[out.index("2 jobs, 0 failed") :].splitlines()
    assert [line.split()[0] for line in table[1:3]] == ["seed=0", "seed=1"]
    assert all("mse" in line for line in table[1:3])
    (sweep,) = (tmp_path / "outputs" / "sweeps").iterdir()
    listed = json.loads((sweep / "runs.json").read_text())["runs"]
    assert [(row["label"], row["state"], Path(row["path"]).name in runs) for row in listed] == [
        ("seed=0", "done", True), ("seed=1", "done", True)
    ]  # fmt: skip
    assert (sweep / "summary.csv").read_text().startswith("setting,")
    assert (sweep / "report.html").exists()
    assert cli("train", "-m", *QUICK, "seed=0,1")[0] == 0  # nothing is missing: no job runs
    again = max((tmp_path / "outputs" / "sweeps").iterdir())
    assert again != sweep and not list(again.glob("*.log"))


def test_cli_sweep_goes_on_after_a_job_that_fails(cli: Cli, tmp_path: Path) -> None:
    code, out, err = cli("train", "-m", *QUICK, "optimizer.lr=1e30,0.001")
    assert code == 3, err
    table = out[out.index("2 jobs, 1 failed") :].splitlines()
    assert table[1].split()[:2] == ["optimizer.lr=1e+30", "failed:"]
    assert "lower optimizer.lr" in table[1]
    assert "mse" in table[2]
    assert "Traceback" not in err


def test_cli_job_that_fails_exits_with_1(cli: Cli) -> None:
    code, _, err = cli("train", *QUICK, "optimizer.lr=1e30", "--quiet")
    assert (code, err.count("\n")) == (1, 1)
    assert err.startswith("training: ")
    assert ";" in err


def interrupted(arguments: list[str], folder: Path, number: signal.Signals) -> tuple[int | None, str]:
    """Starts a training, sends a signal after its first line of history: (exit code, standard error)."""
    command = [sys.executable, "-m", "coldstart_cli", *arguments]
    deadline = time.monotonic() + 60
    with subprocess.Popen(
        command, cwd=folder, stderr=subprocess.PIPE, stdout=subprocess.DEVNULL, text=True
    ) as child:
        try:
            while time.monotonic() < deadline and child.poll() is None:
                with contextlib.suppress(OSError, ValueError):
                    if (only_run(folder / "outputs") / "history.jsonl").stat().st_size:
                        os.kill(child.pid, number)
                        break
                time.sleep(0.002)
            _, err = child.communicate(timeout=30)
        finally:
            child.kill()
        return child.returncode, err


def test_cli_interrupted_training_goes_on_byte_for_byte(cli: Cli, tmp_path: Path) -> None:
    arguments = [
        "train",
        *QUICK,
        "training.steps=300",
        "training.log_every=1",
        "training.validation.every=100",
    ]
    code, err = interrupted([*arguments, "outputs=outputs"], tmp_path, signal.SIGINT)
    run = only_run(tmp_path / "outputs")
    assert code == 130, err
    assert err.splitlines()[-1] == "stopped: the same command goes on from here"
    assert "Traceback" not in err
    assert read(run / "run.json")["state"] == "unfinished"
    part = (run / "history.jsonl").read_bytes()
    assert part

    code, _, err = cli(*arguments, "outputs=outputs")
    assert code == 0, err
    assert "continues after step" in err
    assert cli(*arguments, "outputs=whole", "--quiet")[0] == 0
    whole = only_run(tmp_path / "whole")
    history = (whole / "history.jsonl").read_bytes()
    assert (run / "history.jsonl").read_bytes() == history
    assert history.startswith(part)
    assert len(part) < len(history)
    assert records(run) == records(whole)


def test_cli_leaves_out_shots_beyond_the_data_and_says_so(cli: Cli) -> None:
    shots = ("experiment=smoke", "evaluation.k_shots=[1,60]", "evaluation.beyond=leave_out")
    code, out, _ = cli("train", *shots, "hardware=cpu", "hardware.threads=1", "--dry-run")
    assert code == 0
    assert "left out   k=60: glyphs: " in out
