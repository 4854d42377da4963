"""What the parser of every command does to words before a command sees them."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from coldstart_cli.cli.command_line import commands, main


def test_words_of_hydra_are_quoted_and_others_are_left() -> None:
    parser, words = commands().found(["evaluate", "run=a,ä=b", "dataset.root=a,ä=b", "seed=1"])
    assert parser.read(words).overrides == ["run=a,ä=b", "dataset.root='a,ä=b'", "seed=1"]
    parser, words = commands().found(["predict", "bundle=a,ä=b", "input=ü/x"])
    assert parser.read(words).overrides == ["bundle=a,ä=b", "input=ü/x"]
    parser, words = commands().found(["train", "-m", "strategy=maml,anil", "outputs=ä/o"])
    assert parser.read(words).overrides == ["strategy=maml,anil", "outputs='ä/o'"]


def test_a_choice_is_made_once(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["train", "strategy=maml", "strategy=anil"]) == 2
    assert capsys.readouterr().err == ("strategy: the key is given twice, as maml and anil; leave one out\n")


def test_the_value_that_counts_is_said(capsys: pytest.CaptureFixture[str]) -> None:
    parser, words = commands().found(["train", "training.steps=4", "training.steps=5"])
    parser.read(words)
    assert "the key is given twice, as 4 and 5; the last counts" in capsys.readouterr().err


def test_a_reader_that_is_gone_is_no_success(tmp_path: Path) -> None:
    code = (
        "import os, sys\n"
        "from coldstart_cli.cli import command_line, configs\n"
        "def print_much(arguments):\n"
        "    print('x' * 10**6)\n"
        "configs.run_cat = print_much\n"
        "sys.exit(command_line.main(['cat', 'strategy/maml']))\n"
    )
    with subprocess.Popen(
        [sys.executable, "-P", "-c", code], stdout=subprocess.PIPE, stderr=subprocess.PIPE, cwd=tmp_path
    ) as process:
        assert process.stdout is not None and process.stderr is not None
        process.stdout.read(1)
        process.stdout.close()
        said = process.stderr.read()
    assert (process.returncode, said) == (141, b"")


def test_a_dry_run_of_a_sweep_writes_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    small = ["experiment=smoke", "dataset=sinusoid", "model=mlp", "hardware.threads=1", "baseline=null"]
    for more in ([], ["hydra/launcher=basic"]):
        assert main(["train", "-m", "--dry-run", *small, "seed=1,2", *more]) == 0
        assert list(tmp_path.iterdir()) == []
