"""`coldstart explain`: a config's keys, and a key as each config has it."""

from __future__ import annotations

import pytest

from coldstart_cli.cli import main


@pytest.mark.parametrize(
    ("argv", "expected"),
    [
        (["strategy/maml"], "strategy.learned_rates=false"),
        (["strategy=maml"], "strategy.learned_rates=false"),
        (["train"], "training.steps=1000"),
        (["strategy.inner_lr"], "strategy/reptile\n  strategy.inner_lr=0.01"),
        (["dataset.n_query", "dataset=omniglot"], "k_shot + n_query <= 20"),
        (["training.validation"], "training.validation.every=200"),
        (["baseline.lr", "strategy=scratch"], "baseline.lr=0.05"),
        (["seed"], "whole number >= 0"),
    ],
)
def test_explain_tells_a_config_or_a_key(
    argv: list[str], expected: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["explain", *argv]) == 0
    assert expected in capsys.readouterr().out


def test_explain_tells_once_what_is_equal(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["explain", "strategy.inner_lr"]) == 0
    assert capsys.readouterr().out.startswith("strategy/anil, strategy/boil, ")
    assert main(["explain", "dataset.n_query", "dataset=omniglot"]) == 0
    assert capsys.readouterr().out.count("dataset/") == 1


@pytest.mark.parametrize(
    ("argv", "line"),
    [
        (["strategy/mamll"], "strategy/mamll: there is no such config; did you mean strategy/maml?"),
        (["strategy.inner_lrr"], "strategy.inner_lrr: there is no such key; did you mean strategy.inner_lr?"),
        (["strategy"], "strategy: there is no such config; "),
        (["seed", "dataset=omniglo"], "dataset=omniglo: chooses no config; "),
        ([], "explain: the following arguments are required: CONFIG-OR-KEY; see coldstart explain --help"),
    ],
)
def test_explain_refuses_in_one_line(argv: list[str], line: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["explain", *argv]) == 2
    err = capsys.readouterr().err
    assert err.startswith(line) and err.count("\n") == 1
