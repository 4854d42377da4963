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
from coldstart_cli.package import ROOT

SOURCE = ROOT.parent


@pytest.fixture
def shell_environment(tmp_path: Path) -> dict[str, str]:
    """An environment in which `coldstart` is a command on PATH, whatever is installed."""
    program = tmp_path / "bin" / "coldstart"
    program.parent.mkdir()
    program.write_text(f'#!/bin/sh\nPYTHONPATH={SOURCE} exec {sys.executable} -m coldstart_cli "$@"\n')
    program.chmod(0o755)
    return {**os.environ, "PATH": f"{program.parent}:{os.environ['PATH']}", "HOME": str(tmp_path)}


def test_completion_refuses_an_unknown_shell(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["completion", "fsh"]) == 2
    assert capsys.readouterr().err == "completion: 'fsh' is not a valid choice; did you mean fish?\n"


def test_complete_imports_nothing_heavy() -> None:
    code = (
        "import sys; from coldstart_cli.cli import main; main(['_complete', 'train', 'strategy.inn']);"
        "heavy = {'torch', 'hydra', 'omegaconf', 'rich', 'yaml', 'numpy'} & set(sys.modules);"
        "sys.exit(f'imported {heavy}' if heavy else 0)"
    )
    environment = {**os.environ, "PYTHONPATH": str(SOURCE)}
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True)
    assert done.returncode == 0 and "strategy.inner_lr=" in done.stdout, done.stderr


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
        ("coldstart train strategy=meta_s", ["meta_sgd"], ["strategy=meta_sgd"]),
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
