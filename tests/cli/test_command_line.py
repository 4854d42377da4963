"""The command line: what is refused in which words, and what good commands leave behind."""

from __future__ import annotations

import re
import sys
import warnings
from pathlib import Path

import pytest
import torch

from coldstart_cli.loggers import console
from tests.kit.small_runs import QUICK, SINES, Cli, only_run, read, records

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
    (
        "unlabelled examples of the new task and",
        ("train", "experiment=smoke", "strategy=coral"),
    ),
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
    assert {record["role"] for record in records(run)} == {"strategy", "teacher", "constant"}

    code, out, err = cli("train", "experiment=smoke", "hardware=cpu", "strategy=distillation", teacher)
    assert (code, out, err.count("\n")) == (2, "", 1)
    assert re.match(
        r"strategy\.teacher_run: teachers/\S+ reads inputs of shape \[1\], .* gives \[1, 28, 28\]; name", err
    )
    assert only_run(tmp_path / "outputs") == run


@pytest.mark.parametrize("command", [("train",), ("train", "-m", "seed=0,1"), ("train", "--dry-run")])
def test_cli_refuses_a_tracker_that_is_absent_before_anything(
    cli: Cli, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, command: tuple[str, ...]
) -> None:
    monkeypatch.setitem(sys.modules, "wandb", None)  # type: ignore[arg-type]  # as if it were not installed
    code, out, err = cli(*command, *QUICK, "logger=[console,wandb]")
    assert (code, out) == (2, "")
    assert err.startswith("logger.wandb: the package wandb is not installed; ")
    assert "pip install -e '.[wandb]' in the clone" in err
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
    assert (code, err) == (0, "logger.console: OSError: lost at 0; the run continues without it\n")
    assert read(only_run(tmp_path / "outputs") / "run.json")["state"] == "finished"


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
