"""What `coldstart _complete` offers for a word, and what it keeps back."""

from __future__ import annotations

from pathlib import Path

import pytest

from coldstart_cli.cli import offers as offering
from coldstart_cli.cli.command_line import commands


def offers(line: str) -> list[str]:
    return offering.candidates(line.split(" "), commands())


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
                "decimal=",
                "delimiter=",
                "encoding=",
                "header=",
                "input=",
                "keep=",
                "on_bad=",
                "output=",
                "probabilities=",
                "quoted=",
                "runtime=",
                "sheet=",
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
        (
            "compare --",
            [
                *("--confidence", "--csv", "--debug", "--figure", "--for", "--help", "--html", "--json"),
                *("--latex", "--markdown", "--tasks", "--zone"),
            ],
        ),
        ("diff --", ["--debug", "--help", "--json"]),
        ("runs --sort ", ["accuracy", "seconds", "size", "started"]),
        ("runs state=f", ["state=failed", "state=finished"]),
        ("runs strategy=ani", ["strategy=anil"]),
        ("rm --", ["--debug", "--help", "--yes"]),
        ("cache --", ["--debug", "--help", "--json", "--remove", "--yes"]),
        ("data fetch dataset=", ["dataset=banking77", "dataset=clinc150", "dataset=omniglot"]),
        ("explain strategy/ani", ["strategy/anil"]),
        ("explain E2", [f"E2{n}" for n in range(6)]),
        ("cat E2", []),
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
