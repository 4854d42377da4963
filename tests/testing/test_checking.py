"""All laws at once: which concern a strategy, and a plug-in that keeps them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pytest

from coldstart_cli.errors import RequestError
from coldstart_cli.testing.checking import check_strategy, laws_for
from coldstart_cli.testing.trial import Trial
from tests.kit.plugin import NEAREST, TRUST


def test_a_plugin_that_keeps_every_law_passes() -> None:
    assert check_strategy(NEAREST, overrides=[TRUST]) == []


def test_a_law_that_does_not_concern_a_strategy_is_not_tried() -> None:
    names = {law.name for law in laws_for(Trial("finetune"))}
    assert not names & {"vectorised_step_equals_looped_step", "distance_falls_during_adapt"}
    assert {"adapt_changes_nothing", "stopped_training_goes_on_alike"} <= names


def test_a_law_of_regressions_does_not_concern_one() -> None:
    trial = Trial("r2d2", "sinusoid", ["model=mlp"])
    assert "regression_is_served_or_refused" not in {law.name for law in laws_for(trial)}


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
