"""`coldstart completion` and `coldstart _complete`, down to a key press in real shells."""

from __future__ import annotations

import os
import pty
import select
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest

from coldstart_cli.cli import main
from coldstart_cli.cli import offers as offering
from coldstart_cli.cli.command_line import commands
from coldstart_cli.package import ROOT

SOURCE = ROOT.parent


def offers(line: str) -> list[str]:
    return offering.candidates(line.split(" "), commands())


@pytest.fixture
def shell_environment(tmp_path: Path) -> dict[str, str]:
    """An environment in which `coldstart` is a command on PATH, whatever is installed."""
    program = tmp_path / "bin" / "coldstart"
    program.parent.mkdir()
    program.write_text(f'#!/bin/sh\nPYTHONPATH={SOURCE} exec {sys.executable} -m coldstart_cli "$@"\n')
    program.chmod(0o755)
    return {**os.environ, "PATH": f"{program.parent}:{os.environ['PATH']}", "HOME": str(tmp_path)}


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("tr", ["train"]),
        ("completion ", ["bash", "fish", "zsh"]),
        ("train --dr", ["--dry-run"]),
        ("train --cfg ", ["all", "hydra", "job"]),
        ("evaluate --dr", []),
        ("train opti", ["optimizer="]),
        ("train strategy=ani", ["strategy=anil"]),
        ("train -m strategy=maml,proton", ["strategy=maml,protonet"]),
        ("train +strategy=ani", ["+strategy=anil"]),
        ("train strategy@baseline=scr", ["strategy@baseline=scratch"]),
        ("train experiment=smo", ["experiment=smoke"]),
        ("train strategy.inn", ["strategy.inner_lr=", "strategy.inner_steps="]),
        ("train strategy=protonet strategy.inn", []),
        ("train strategy=anil strategy.adap", ["strategy.adapted="]),
        ("train strategy=anil strategy.adapted=", [f"strategy.adapted={v}" for v in ("all", "body", "head")]),
        ("train training.validation.k_shot=", ["training.validation.k_shot=null"]),
        ("train sweep.", ["sweep.n_jobs=", "sweep.timeout_minutes="]),
        ("tune tune.pr", ["tune.pruner="]),
        ("tune tune.pruner=", ["tune.pruner=median", "tune.pruner=none"]),
        ("tune strategy=ani", ["strategy=anil"]),
        ("adapt copy_base=", ["copy_base=false", "copy_base=true"]),
        ("adapt bun", ["bundle="]),
        (
            "predict ",
            [
                "batch_size=",
                "bundle=",
                "input=",
                "keep=",
                "on_bad=",
                "output=",
                "probabilities=",
                "threshold=",
                "top_k=",
            ],
        ),
        ("predict on_bad=", ["on_bad=skip", "on_bad=stop"]),
        ("predict probabilities=", ["probabilities=false", "probabilities=true"]),
        ("predict strategy=", []),
        ("export format=o", ["format=onnx"]),
        ("bench ", ["hardware="]),
        ("bench hardware=cp", ["hardware=cpu", "hardware=cpu_x2"]),
        ("bench --", ["--debug", "--help", "--json", "--quick"]),
        ("evaluate strat", []),
        ("compare --", ["--confidence", "--csv", "--debug", "--for", "--help", "--html", "--json", "--zone"]),
        ("diff --", ["--debug", "--help", "--json"]),
        ("data fetch dataset=", ["dataset=banking77", "dataset=clinc150", "dataset=omniglot"]),
        ("explain strategy/ani", ["strategy/anil"]),
        ("explain dataset.n_query dataset=omni", ["dataset=omniglot"]),
        ("doctor ", []),
        ("doctor --", ["--debug", "--help"]),
        ("train strategy.second_order=", ["strategy.second_order=false", "strategy.second_order=true"]),
        ("train training.val", ["training.validation."]),
        ("train training.validation.ev", ["training.validation.every="]),
        ("train nonsense=", []),
        ("data ", ["check", "fetch", "verify"]),
        ("data ch", ["check"]),
        ("data check dataset=omni", ["dataset=omniglot"]),
        ("data check dataset=omniglot dataset.ro", ["dataset.root=", "dataset.rotations="]),
        ("data check --js", ["--json"]),
        ("data check --tasks ", []),
        ("ls strat", ["strategy"]),
        ("cat strategy/ani", ["strategy/anil"]),
        ("cat strategy=ani", ["strategy=anil"]),
    ],
)
def test_complete_offers(line: str, expected: list[str]) -> None:
    assert offers(line) == expected


def test_complete_offers_all_commands_and_groups() -> None:
    assert offers("") == sorted(commands().commands)
    assert {"strategy=", "dataset=", "seed=", "training."} <= set(offers("train "))
    assert not {"defaults=", "hydra."} & set(offers("train "))
    assert "run=" in offers("evaluate ")


def test_complete_knows_configs_of_ones_own(tmp_path: Path) -> None:
    mine = tmp_path / "strategy" / "mine.yaml"
    mine.parent.mkdir()
    mine.write_text("defaults:\n  - maml\n  - _self_\nshrinkage: 0.5  # a share\n")
    command = f"train --config-dir {tmp_path}"
    assert offers(f"{command} strategy=mi") == ["strategy=mine"]
    assert offers(f"{command} strategy=mine strategy.shr") == ["strategy.shrinkage="]
    assert offers(f"{command} strategy=mine strategy.inner_l") == ["strategy.inner_lr="]
    assert offers(f"train --config-dir {tmp_path}/str") == [f"{tmp_path}/strategy/"]


def test_complete_offers_run_directories(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("maml-glyphs-1", "sweeps/monday/protonet-1", "unfinished"):
        (tmp_path / "outputs" / name).mkdir(parents=True)
    for name in ("maml-glyphs-1", "sweeps/monday/protonet-1"):
        (tmp_path / "outputs" / name / "config.yaml").write_text("dataset:\n  own_key: 1\n")
    monkeypatch.chdir(tmp_path)
    assert offers("evaluate run=") == ["run=outputs/maml-glyphs-1", "run=outputs/sweeps/monday/protonet-1"]
    assert offers("evaluate run=outputs/m") == ["run=outputs/maml-glyphs-1"]
    assert offers("evaluate run=outputs/maml-glyphs-1 dataset.o") == ["dataset.own_key="]


def test_complete_keeps_names_back_that_a_shell_would_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in ("good", "a b", "$(touch x)", "`id`", "line\nbreak", "esc\x1b[31m", "semi;colon"):
        (tmp_path / "outputs" / name).mkdir(parents=True)
        (tmp_path / "outputs" / name / "config.yaml").touch()
    monkeypatch.chdir(tmp_path)
    assert offering.complete(["evaluate", "run="], commands()) == 0
    assert capsys.readouterr().out == "run=outputs/good\n"


def test_complete_says_nothing_rather_than_fail(capsys: pytest.CaptureFixture[str]) -> None:
    for words in (
        [],
        ["train", "--config-dir", "/nowhere/", "x"],
        ["cp", "strategy/maml", "/nowhere/"],
        ["no", ""],
    ):
        assert offering.complete(words, commands()) == 0
    assert capsys.readouterr().err == ""


def test_completion_refuses_an_unknown_shell(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["completion", "fsh"]) == 2
    assert capsys.readouterr().err == "completion: 'fsh' is not a valid choice; did you mean fish?\n"


def test_complete_offers_places_where_a_flag_or_a_key_names_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "omniglot").mkdir()
    (tmp_path / "omni.csv").touch()
    monkeypatch.chdir(tmp_path)
    assert offers("train dataset=omniglot dataset.root=om") == [
        "dataset.root=omni.csv",
        "dataset.root=omniglot/",
    ]
    assert offers("predict input=om") == ["input=omni.csv", "input=omniglot/"]
    assert offers("compare om") == ["omni.csv", "omniglot/"]
    assert offers("compare omniglot --html om") == ["omni.csv", "omniglot/"]
    assert offers("train outputs=om") == ["outputs=omni.csv", "outputs=omniglot/"]
    assert offers("train strategy.inner_lr=om") == []


def test_complete_is_quick_and_imports_nothing_heavy() -> None:
    code = (
        "import sys; from coldstart_cli.cli import main; main(['_complete', 'train', 'strategy.inn']);"
        "heavy = {'torch', 'hydra', 'omegaconf', 'rich', 'yaml', 'numpy'} & set(sys.modules);"
        "sys.exit(f'imported {heavy}' if heavy else 0)"
    )
    seconds = []
    for _ in range(3):
        start = time.perf_counter()
        command = [sys.executable, "-c", code]
        done = subprocess.run(
            command, env={**os.environ, "PYTHONPATH": str(SOURCE)}, capture_output=True, text=True
        )
        seconds.append(time.perf_counter() - start)
        assert done.returncode == 0 and "strategy.inner_lr=" in done.stdout, done.stderr
    assert min(seconds) < 0.6  # .07 s on an idle machine; tests share theirs


BASH = """\
source <(coldstart completion bash)
COMP_WORDBREAKS=$1
COMP_LINE=$2 COMP_POINT=${#2}
_coldstart coldstart
printf '%s\\n' "${COMPREPLY[@]}"
"""


@pytest.mark.parametrize(
    ("line", "with_equals", "without"),
    [
        ("coldstart train strategy=me", ["meta_sgd"], ["strategy=meta_sgd"]),
        ("coldstart train strategy.inner_l", ["strategy.inner_lr="], ["strategy.inner_lr="]),
        ("coldstart train -m seed=0,1 strategy=maml,proton", ["maml,protonet"], ["strategy=maml,protonet"]),
        ("coldstart tr", ["train"], ["train"]),
    ],
)
def test_bash_completes(
    line: str, with_equals: list[str], without: list[str], shell_environment: dict[str, str]
) -> None:
    for breaks, expected in ((" \t\n\"'><=;|&(:", with_equals), (" \t\n\"'><;|&(:", without)):
        command = ["bash", "--norc", "-c", BASH, "bash", breaks, line]
        done = subprocess.run(command, env=shell_environment, capture_output=True, text=True)
        assert done.stdout.split() == expected, done.stderr


# Ctrl-A and `echo got: ` turn the completed line into a command that prints it.
KEYS = "coldstart train strategy=ani\tseed=0\x01echo got: \r"
GOT = "got: coldstart train strategy=anil seed=0"


def test_bash_completes_at_a_key_press(shell_environment: dict[str, str]) -> None:
    setup = "source <(coldstart completion bash); PS1=READY:\r"
    shown = typed_into(["bash", "--norc", "--noprofile", "-i"], setup, KEYS, shell_environment)
    assert GOT in shown


def test_zsh_completes_at_a_key_press(shell_environment: dict[str, str]) -> None:
    need("zsh")
    setup = "autoload -Uz compinit; compinit -u -D; source <(coldstart completion zsh); PS1=READY:\r"
    shown = typed_into(["zsh", "-f", "-i"], setup, KEYS, shell_environment)
    assert GOT in shown


def test_fish_completes(shell_environment: dict[str, str]) -> None:
    need("fish")
    script = "coldstart completion fish | source; complete -C 'coldstart train strategy=me'"
    done = subprocess.run(["fish", "-N", "-c", script], env=shell_environment, capture_output=True, text=True)
    assert done.stdout.split() == ["strategy=meta_sgd"], done.stderr


def need(shell: str) -> None:
    if shutil.which(shell) is None:
        pytest.skip(f"{shell} is not installed")


def typed_into(command: list[str], setup: str, keys: str, environment: dict[str, str]) -> str:
    """What a terminal shows when `setup` and then `keys` are typed into a shell."""
    terminal, far_end = pty.openpty()
    process = subprocess.Popen(
        command,
        stdin=far_end,
        stdout=far_end,
        stderr=far_end,
        env={**environment, "TERM": "dumb"},
        start_new_session=True,
    )
    os.close(far_end)
    try:
        time.sleep(0.3)  # until the line editor listens
        os.write(terminal, setup.encode())
        shown = shown_until("\nREADY:", terminal)
        os.write(terminal, keys.encode())
        return shown + shown_until(f"\n{GOT}", terminal)
    finally:
        process.kill()
        process.wait()
        os.close(terminal)


def shown_until(awaited: str, terminal: int, seconds: float = 10) -> str:
    shown = ""
    deadline = time.monotonic() + seconds
    while awaited not in shown.replace("\r", "\n") and time.monotonic() < deadline:
        if select.select([terminal], [], [], 0.1)[0]:
            shown += os.read(terminal, 4096).decode(errors="replace")
    return shown
