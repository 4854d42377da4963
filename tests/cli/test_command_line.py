"""The command line: what is refused in which words, and what good commands leave behind."""

from __future__ import annotations

import contextlib
import json
import os
import re
import signal
import subprocess
import sys
import time
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from hydra.core.global_hydra import GlobalHydra

from coldstart_cli.cli import main
from coldstart_cli.loggers import console

SINES = ("dataset=sinusoid", "model=mlp", "experiment=smoke", "hardware=cpu", "hardware.threads=1")
QUICK = (
    *SINES, "strategy.inner_lr=0.01", "evaluation.baseline_search.lr=[0.001]", "evaluation.n_tasks=4",
    "evaluation.n_selection_tasks=2", "training.steps=6", "training.log_every=2",
    "training.validation.every=3",
)  # fmt: skip

Cli = Callable[..., tuple[int, str, str]]


@pytest.fixture(autouse=True)
def _process_settings() -> Iterator[None]:
    threads = torch.get_num_threads()
    GlobalHydra.instance().clear()
    yield
    GlobalHydra.instance().clear()
    torch.use_deterministic_algorithms(False)
    torch.set_num_threads(threads)


@pytest.fixture
def cli(capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Cli:
    """Runs a command in an empty folder: (exit code, standard output, standard error)."""
    monkeypatch.chdir(tmp_path)

    def call(*argv: str) -> tuple[int, str, str]:
        capsys.readouterr()
        code = main(list(argv))
        out, err = capsys.readouterr()
        return code, out, err

    return call


def only_run(outputs: Path) -> Path:
    (run,) = [path for path in outputs.iterdir() if path.name != "sweeps"]
    return run


def read(path: Path) -> Any:
    return json.loads(path.read_text())


def records(run: Path) -> list[dict[str, Any]]:
    """All records of a run's evaluations, without times."""
    return [
        {name: value for name, value in json.loads(line).items() if name != "adapt_seconds"}
        for path in sorted(run.glob("evaluations/*/records.jsonl"))
        for line in path.read_text().splitlines()
    ]


BAD: list[tuple[str, tuple[str, ...]]] = [
    ("strategy:", ("train", "strategy=mamll")),
    ("strategy.inner_lrr:", ("train", *SINES, "strategy.inner_lrr=1")),
    ("strategy.inner_lr:", ("train", *SINES, "strategy.inner_lr=abc")),
    ("strategy.inner_lr:", ("train", *SINES, "strategy.inner_lr=nan")),
    ("strategy.inner_lr:", ("train", *SINES, "strategy.inner_lr=null")),
    ("strategy._target_:", ("train", *SINES, "strategy._target_=os.system")),
    ("dataset.n_way:", ("train", *SINES, "dataset.n_way=5")),
    ("dataset.k_shot:", ("train", *SINES, "dataset.k_shot=0")),
    ("dataset.amplitude:", ("train", *SINES, "dataset.amplitude=[1]")),
    ("dataset.root:", ("train", "dataset=omniglot", "dataset.root=/nope")),
    ("k_shot", ("train", "experiment=smoke", "dataset.k_shot=400")),
    ("n_way", ("train", "experiment=smoke", "dataset.n_way=500")),
    ("model:", ("train", *SINES, "model=conv4")),
    ("foo:", ("train", *SINES, "foo=1")),
    ("seed:", ("train", *SINES, "seed=-1")),
    ("seed:", ("train", *SINES, "seed=1.5")),
    ("seed=0,1", ("train", *SINES, "seed=0,1")),
    ("training.steps:", ("train", *SINES, "training.steps=0")),
    ("again:", ("train", *SINES, "again=1")),
    ("trust:", ("train", *SINES, "trust=os")),
    ("model=null", ("train", SINES[0], *SINES[2:], "model=null")),
    ("experiment:", ("train", "experiment=nope")),
    ("logger/nope:", ("train", *SINES, "logger=[nope]")),
    ("evaluation.k_shots:", ("train", *SINES, "evaluation.k_shots=[]")),
    ("evaluation.k_shots:", ("train", *SINES, "evaluation.k_shots=5")),
    ("evaluation:", ("train", *SINES, "evaluation.n_way=7")),
    ("n_way=7", ("train", "experiment=smoke", "strategy=maml", "evaluation.n_way=7")),
    ("optimizer.nesterov:", ("train", *SINES, "optimizer=sgd", "optimizer.momentum=0")),
    ("strategy:", ("train", *SINES, "strategy=protonet")),
    ("baseline", ("train", *SINES, "strategy@baseline=maml")),
    ("n_unlabelled is 0", ("train", "experiment=smoke", "strategy=coral")),
    ("k_shot is 0", ("train", "experiment=smoke", "strategy=protonet", "evaluation.k_shots=[0]")),
    ("strategy.rank: 10 is above", ("train", "experiment=smoke", "strategy=lora", "strategy.rank=10")),
    (
        "strategy.teacher_run:",
        ("train", "experiment=smoke", "strategy=distillation", "strategy.teacher_run=nope"),
    ),
    ("dataset.new: Sans is", ("train", "dataset=glyph_shift", "dataset.new=Sans")),
    ("dataset.root: digits", ("train", "dataset=digits")),
    ("outputs:", ("train", *SINES, "outputs=file")),
    ("outputs:", ("train", *SINES, "outputs=file/below")),
    ("a b:", ("train", *SINES, "a b")),
    ("trian:", ("trian",)),
    ("--dryrun:", ("train", "--dryrun")),
    ("--cfg:", ("train", "--cfg")),
    ("--cfg:", ("train", "--cfg", "jobs")),
    ("--config-dir:", ("train", "--config-dir", "nowhere")),
    ("run:", ("evaluate",)),
    ("run:", ("evaluate", "run=empty")),
    ("run:", ("evaluate", "run=nowhere")),
    ("run:", ("evaluate", "run=file")),
    ("run:", ("evaluate", "run=a", "run=b")),
    ("-m", ("evaluate", "run=empty", "-m")),
    ("seed:", ("train", "-m", *SINES, "seed=0,-1")),
    ("strategy.inner_lr:", ("train", "-m", *SINES, "strategy.inner_lr=0.01,abc")),
    ("strategy:", ("train", "-m", *SINES, "strategy=maml,mamll")),
    ("regression; choose", ("train", "-m", *SINES[:4], "strategy=protonet", "seed=0,1")),
]


@pytest.mark.parametrize(
    ("key", "argv"), BAD, ids=[f"{i}-{' '.join(a[-1:])}" for i, (_, a) in enumerate(BAD)]
)
def test_cli_refuses_in_one_line_and_writes_nothing(
    cli: Cli, tmp_path: Path, key: str, argv: tuple[str, ...]
) -> None:
    (tmp_path / "file").write_text("")
    (tmp_path / "empty").mkdir()
    code, out, err = cli(*argv)
    assert code == 2
    assert err.count("\n") == 1
    assert err.endswith("\n")
    assert "Traceback" not in err
    assert ";" in err
    assert key in err
    assert out == ""
    assert sorted(p.name for p in tmp_path.iterdir()) == ["empty", "file"]
    assert list((tmp_path / "empty").iterdir()) == []


@pytest.mark.parametrize(
    "override",
    [
        "~seed", "~model", "strategy=[maml]", "seed=${nope}", "seed=${oc.env:NO_SUCH_VARIABLE}",
        "seed=99999999999999999999", "evaluation.baseline_search.lr=[]",
    ],
)  # fmt: skip
def test_cli_refuses_with_2_what_only_the_libraries_notice(cli: Cli, override: str) -> None:
    code, _, err = cli("train", *SINES, override, "--quiet")
    assert (code, err.count("\n")) == (2, 1)


def test_cli_sweep_states_what_is_not_served(cli: Cli) -> None:
    code, out, _ = cli(
        "train", "-m", *(o for o in QUICK if not o.startswith("strategy")), "strategy=maml,protonet"
    )
    assert code == 0
    assert "2 jobs, 0 failed, 1 not served" in out
    rows = [line for line in out.splitlines() if line.startswith("  strategy=")]
    assert "mse" in rows[0]
    assert "not served: strategy: it tells classes apart" in rows[1]


def test_cli_evaluate_refuses_data_of_another_kind(cli: Cli, tmp_path: Path) -> None:
    assert cli("train", *QUICK, "--quiet")[0] == 0
    run = only_run(tmp_path / "outputs")
    code, _, err = cli("evaluate", f"run=outputs/{run.name}", "dataset=glyphs", "evaluation.n_query=5")
    assert (code, err.count("\n")) == (2, 1)
    assert err.startswith("dataset: the weights of outputs/")


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_cli_refuses_hardware_that_is_absent(cli: Cli) -> None:
    code, _, err = cli("train", *SINES[:3], "hardware=cuda")
    assert (code, err.count("\n")) == (2, 1)
    assert err.startswith("hardware.device: this machine has no cuda; choose ")


def test_cli_debug_shows_the_stack_above_the_line(cli: Cli) -> None:
    code, _, err = cli("train", *SINES, "seed=-1", "--debug")
    assert code == 2
    assert "Traceback" in err
    assert err.splitlines()[-1].startswith("seed: -1 is out of range; ")


@pytest.mark.parametrize("argv", [(), ("--help",), ("help",), ("train", "--help"), ("evaluate", "-h")])
def test_cli_help_is_on_standard_output(cli: Cli, argv: tuple[str, ...]) -> None:
    code, out, err = cli(*argv)
    assert (code, err) == (0, "")
    command = f"coldstart {argv[0]}" if len(argv) > 1 else "coldstart COMMAND"
    assert out.startswith(f"usage: {command} ") and "\nexamples:\n  coldstart " in out


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


TEACHER = ("strategy=distillation", "model@strategy.teacher=mlp")
DISTILLED = (*(o for o in QUICK if not o.startswith("strategy.")), *TEACHER)


def test_cli_warns_in_one_line_and_once(cli: Cli) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("default")  # as outside of tests
        code, _, err = cli(
            "train", "-m", *DISTILLED, "strategy.teacher.hidden=[3]", "seed=0,1", "--dry-run", "--quiet"
        )
    assert code == 0
    assert err.count("\n") == 1
    assert err.startswith("strategy.teacher: has 10 parameters, fewer than its student's 1,761; choose ")


def test_cli_takes_a_teacher_from_a_run_on_inputs_of_the_same_shape(cli: Cli, tmp_path: Path) -> None:
    options = [o for o in QUICK if not o.startswith("strategy.")]
    assert cli("train", *options, "strategy=finetune", "baseline=null", "--quiet", "outputs=teachers")[0] == 0
    teacher = f"strategy.teacher_run=teachers/{only_run(tmp_path / 'teachers').name}"
    code, out, err = cli("train", *DISTILLED, "baseline=null", teacher, "model.hidden=[8]", "--quiet")
    assert code == 0, err
    history = (tmp_path / out.strip() / "history.jsonl").read_text()
    assert '"loss"' in history
    assert "teacher_loss" not in history  # all steps are the student's
    run = only_run(tmp_path / "outputs")
    assert {record["role"] for record in records(run)} == {"strategy", "teacher"}

    code, out, err = cli("train", "experiment=smoke", "hardware=cpu", "strategy=distillation", teacher)
    assert (code, out, err.count("\n")) == (2, "", 1)
    assert re.match(
        r"strategy\.teacher_run: teachers/\S+ reads inputs of shape \[1\], .* gives \[1, 28, 28\]; name", err
    )
    assert only_run(tmp_path / "outputs") == run


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
    assert {r["role"] for r in records(run)} == {"strategy", "baseline"}
    history = [json.loads(line) for line in (run / "history.jsonl").read_text().splitlines()]
    assert [row["step"] for row in history] == [2, 3, 4, 6, 6]
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


@pytest.mark.parametrize("command", [("train",), ("train", "-m", "seed=0,1"), ("train", "--dry-run")])
def test_cli_refuses_a_tracker_that_is_absent_before_anything(
    cli: Cli, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, command: tuple[str, ...]
) -> None:
    monkeypatch.setitem(sys.modules, "wandb", None)  # type: ignore[arg-type]  # as if it were not installed
    code, out, err = cli(*command, *QUICK, "logger=[console,wandb]")
    assert (code, out) == (2, "")
    assert err.startswith("logger.wandb: the package wandb is not installed; ")
    assert "pip install 'coldstart-cli[wandb]'" in err
    assert err.count("\n") == 1
    assert not (tmp_path / "outputs").exists()


def test_cli_logger_that_cannot_be_opened_is_refused_and_costs_no_run(
    cli: Cli, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    code, _, err = cli("train", *QUICK, "--quiet")
    assert code == 0, err
    run = only_run(tmp_path / "outputs")
    before = {path: path.read_bytes() for path in run.rglob("*") if path.is_file()}

    def opened(
        self: console.Console, quiet: bool, run_path: Path, *, every_seconds: float, curve_rows: int
    ) -> None:
        raise OSError("no route\nto host")

    monkeypatch.setattr(console.Console, "__init__", opened)
    code, _, err = cli("train", *QUICK, "again=true")
    assert code == 2
    assert err == (
        "logger.console: OSError: no route to host; fix it, or train without it (logger=[console])\n"
    )
    assert {path: path.read_bytes() for path in run.rglob("*") if path.is_file()} == before


def test_cli_logger_that_fails_is_named_and_the_run_goes_on(
    cli: Cli, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def metrics(self: console.Console, step: int, values: dict[str, float]) -> None:
        raise OSError(f"lost at {step}")

    monkeypatch.setattr(console.Console, "metrics", metrics)
    with warnings.catch_warnings():
        warnings.simplefilter("default")  # as outside of tests
        code, _, err = cli("train", *QUICK, "--quiet")
    assert (code, err) == (0, "logger.console: OSError: lost at 2; the run continues without it\n")
    assert read(only_run(tmp_path / "outputs") / "run.json")["state"] == "finished"


def test_cli_tells_loggers_the_results_by_names_that_do_not_mix_evaluations(
    cli: Cli, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    told: list[tuple[int, dict[str, float]]] = []
    monkeypatch.setattr(console.Console, "summary", lambda self, step, values: told.append((step, values)))
    code, _, err = cli("train", *QUICK)
    assert code == 0, err
    run = only_run(tmp_path / "outputs")
    (own,) = run.glob("evaluations/*")
    code, _, err = cli("evaluate", f"run=outputs/{run.name}", "evaluation.n_tasks=3")
    assert code == 0, err
    (other,) = set(run.glob("evaluations/*")) - {own}
    (first, mine), (second, theirs) = told
    assert (first, second) == (6, 6)
    assert mine["1-shot/mse"] == read(own / "summary.json")["shots"]["1"]["new"]["after"]["mean"]
    name = f"{other.name}/1-shot/mse"
    assert theirs[name] == read(other / "summary.json")["shots"]["1"]["new"]["after"]["mean"]
    assert all(key.startswith(f"{other.name}/") for key in theirs)


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


def test_cli_evaluate_refuses_a_run_that_is_not_finished(cli: Cli, tmp_path: Path) -> None:
    assert cli("train", *QUICK, "optimizer.lr=1e30", "--quiet")[0] == 1
    run = only_run(tmp_path / "outputs")
    code, _, err = cli("evaluate", f"run=outputs/{run.name}")
    assert (code, err.count("\n")) == (2, 1)
    assert err.startswith("run: ")
    assert "not finished" in err


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


BOUND = "evaluation.budget.p95_ms=1e-9"


def test_cli_budget_judges_a_finished_evaluation_and_fails_only_where_it_is_enforced(
    cli: Cli, tmp_path: Path
) -> None:
    code, out, err = cli("train", *QUICK, "evaluation.budget.parameters=5000")
    assert code == 0, err
    assert "parameters 1,761, limit 5,000: kept" in out
    run = only_run(tmp_path / "outputs")
    code, out, err = cli("evaluate", f"run=outputs/{run.name}", BOUND)
    assert code == 0
    assert "this evaluation is finished" in err
    assert re.search(r"  p95 at batch 1 \S+ ms, limit 1e-09 ms: BROKEN\n", out)
    assert "limit 5,000: kept" in out
    code, out, err = cli("train", *QUICK, BOUND, "evaluation.budget.enforce=true", "--quiet")
    assert (code, out, err.count("\n")) == (1, f"outputs/{run.name}\n", 1)
    assert re.match(r"evaluation\.budget\.p95_ms: \S+ is above 1e-09; raise the limit, ", err)
    assert len(list(run.glob("evaluations/*"))) == 1
    (summary,) = run.glob("evaluations/*/summary.json")
    assert read(summary)["budgets"]["parameters"] == {"limit": 5000, "measured": 1761, "kept": True}
    assert read(summary)["training"]["examples"] == read(run / "run.json")["examples"] > 0


def test_cli_budget_broken_in_a_sweep_is_seen_in_its_table(cli: Cli) -> None:
    code, out, _ = cli("train", "-m", *QUICK, BOUND, "evaluation.budget.enforce=true,false")
    assert code == 3
    rows = [line for line in out.splitlines() if line.startswith("  evaluation.budget.enforce=")]
    assert "failed: evaluation.budget.p95_ms: " in rows[0]
    assert rows[1].endswith(", over budget: p95_ms")


def test_cli_evaluate_reads_a_run_of_format_1(cli: Cli, tmp_path: Path) -> None:
    assert cli("train", *QUICK, "--quiet")[0] == 0
    run = only_run(tmp_path / "outputs")
    state = read(run / "run.json")
    del state["examples"]
    (run / "run.json").write_text(json.dumps({**state, "format": 1}))
    config = yaml.safe_load((run / "config.yaml").read_text())
    for key in ("beyond", "coverage", "timed_seconds", "budget"):
        del config["evaluation"][key]
    (run / "config.yaml").write_text(yaml.safe_dump(config))
    code, out, err = cli("evaluate", f"run=outputs/{run.name}", "evaluation.budget.parameters=1")
    assert code == 0, err
    assert "parameters 1,761, limit 1: BROKEN" in out
    assert "; source examples not counted" in out


def test_cli_says_where_the_times_of_a_finished_evaluation_were_measured(cli: Cli, tmp_path: Path) -> None:
    assert cli("train", *QUICK, "--quiet")[0] == 0
    name = only_run(tmp_path / "outputs").name
    code, _, err = cli("evaluate", f"run=outputs/{name}", "hardware.threads=2")
    assert code == 0
    assert re.search(r"its times are of other hardware \(cpu: .*, 1 threads, fp32\); .*again=true", err)
    assert "other hardware" not in cli("evaluate", f"run=outputs/{name}")[2]


def test_cli_leaves_out_shots_beyond_the_data_and_says_so(cli: Cli) -> None:
    shots = ("experiment=smoke", "evaluation.k_shots=[1,60]", "evaluation.beyond=leave_out")
    code, out, _ = cli("train", *shots, "hardware=cpu", "hardware.threads=1", "--dry-run")
    assert code == 0
    assert "left out   k=60: glyphs: " in out
