"""The laws, tried on a plug-in: kept by what keeps them, and each broken with a sentence of its own."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest

from coldstart_cli.errors import RequestError
from coldstart_cli.package import ROOT
from coldstart_cli.testing.checking import LAWS, check_strategy, laws_for
from coldstart_cli.testing.trial import Trial

OUTSIDE = Path(__file__).parent / "outside"
NEAREST = str(OUTSIDE / "strategy" / "nearest.yaml")
TRUST = "trust=[own_strategies]"


@pytest.fixture(autouse=True)
def importable(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(OUTSIDE)


def broken(trial: Trial, *names: str) -> dict[str, str]:
    """Law -> what it says, of those of `names` that are broken."""
    said = {law.name: law.broken_by(trial) for law in laws_for(trial) if law.name in names or not names}
    return {name: words for name, words in said.items() if words}


def test_a_plugin_that_keeps_every_law_passes() -> None:
    assert check_strategy(NEAREST, overrides=[TRUST]) == []


@pytest.mark.parametrize(
    ("how", "law", "seen", "mend"),
    [
        ("changes_self", "adapt_changes_nothing", "it changed calls", "Adapted.changed"),
        ("reads_batch", "prediction_is_inductive", "an input alone gets an output", "`transductive`"),
        ("reads_order", "order_of_the_support_does_not_matter", "in another order", "sums or means"),
        ("forgets", "stopped_training_goes_on_alike", "after a stop at step 1 of 4", "(seed, step)"),
        ("notes", "distance_is_noted_by_who_says_so", "notes one and says nothing", "lowers_distance_by"),
        ("notes", "adaptations_are_replayed", "it cannot be recorded", "replayable = False"),
    ],
)
def test_a_plugin_that_breaks_a_law_is_told_which_and_what_to_do(
    how: str, law: str, seen: str, mend: str
) -> None:
    trial = Trial(NEAREST, overrides=[TRUST, f"strategy.broken={how}"])
    words = broken(trial, law)[law]
    sentence = next(one.sentence for one in LAWS if one.name == law)
    assert words.startswith(f"nearest: {sentence} ({law}), but ") and seen in words and mend in words
    assert "\n" not in words


def test_a_law_that_does_not_concern_a_strategy_is_not_tried() -> None:
    names = {law.name for law in laws_for(Trial("finetune"))}
    assert not names & {"vectorised_step_equals_looped_step", "distance_falls_during_adapt"}
    assert {"adapt_changes_nothing", "stopped_training_goes_on_alike"} <= names


def test_another_data_set_is_taken() -> None:
    trial = Trial("r2d2", "sinusoid", ["model=mlp"])
    assert "regression_is_served_or_refused" not in {law.name for law in laws_for(trial)}
    assert broken(trial, "adapt_changes_nothing", "prediction_is_inductive") == {}


def test_a_file_outside_a_folder_of_strategies_is_taken(tmp_path: Path) -> None:
    file = tmp_path / "mine.yaml"
    file.write_text(Path(NEAREST).read_text())
    assert Trial(str(file), overrides=[TRUST]).strategy.needs_classes


@pytest.mark.parametrize(
    ("strategy", "overrides", "line"),
    [
        ("no/such.yaml", [TRUST], r"^no/such.yaml: there is no such file; name a YAML file"),
        (NEAREST, [], r"^strategy._target_: 'own_strategies.Nearest' is not trusted; .*trust="),
    ],
)
def test_what_cannot_be_built_is_refused_in_one_line(
    strategy: str, overrides: Sequence[str], line: str
) -> None:
    with pytest.raises(RequestError, match=line):
        check_strategy(strategy, overrides=overrides)


def with_dropout(name: str) -> Trial:
    return Trial(str(OUTSIDE / "strategy" / f"{name}.yaml"), overrides=[TRUST, "model=random"])


@pytest.mark.parametrize("name", ["nearest", "own_maml", "own_finetune"])
def test_a_loss_with_dropout_keeps_the_laws(name: str) -> None:
    assert broken(with_dropout(name)) == {}


@pytest.mark.parametrize("name", ["nearest", "own_maml"])
def test_a_loss_with_dropout_is_the_same_on_any_number_of_threads(name: str) -> None:
    assert broken(with_dropout(name), "threads_change_no_bit") == {}


def run_pytest(*words: str, cwd: Path) -> tuple[int, str]:
    command = [sys.executable, "-m", "pytest", "-q", "-p", "coldstart_cli.testing.plugin"]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(ROOT.parent), str(OUTSIDE)])}
    done = subprocess.run(
        [*command, *words], cwd=cwd, env=environment, capture_output=True, text=True, check=False
    )
    return done.returncode, done.stdout + done.stderr


def test_pytest_tries_the_laws_on_a_file_and_names_the_broken_one(tmp_path: Path) -> None:
    laws = ("-k", "adapt_changes_nothing or prediction_is_inductive")
    code, out = run_pytest(
        "--pyargs", "coldstart_cli.testing", "--strategy", NEAREST, "--override", TRUST,
        "--override", "strategy.broken=changes_self", *laws, cwd=tmp_path,
    )  # fmt: skip
    assert code == 1 and "1 failed, 1 passed" in out
    assert (
        "nearest: adapt changes nothing of the strategy (adapt_changes_nothing), but it changed calls" in out
    )
    assert "Traceback" not in out


def test_pytest_without_a_strategy_says_what_to_give(tmp_path: Path) -> None:
    code, out = run_pytest("--pyargs", "coldstart_cli.testing", cwd=tmp_path)
    assert code != 0 and "--strategy: nothing is named; give the YAML file of a strategy" in out
