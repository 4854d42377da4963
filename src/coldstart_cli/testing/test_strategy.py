"""What `pytest --pyargs coldstart_cli.testing --strategy FILE` runs: each law that applies to a strategy."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import pytest

from coldstart_cli.errors import RequestError
from coldstart_cli.testing.checking import laws_for
from coldstart_cli.testing.law import Law
from coldstart_cli.testing.trial import Trial


def cases(trials: Iterable[Trial]) -> Iterator[object]:
    """A pytest.param for each law that applies to each strategy."""
    for trial in trials:
        for law in laws_for(trial):
            yield pytest.param(trial, law, id=f"{trial.name}-{law.name}")


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    option = metafunc.config.getoption
    if not option("--strategy"):
        raise pytest.UsageError("--strategy: nothing is named; give the YAML file of a strategy")
    try:
        trials = [Trial(name, option("--dataset"), option("--override")) for name in option("--strategy")]
        metafunc.parametrize(("trial", "law"), list(cases(trials)))
    except RequestError as error:
        raise pytest.UsageError(str(error)) from error


def test_strategy_keeps(trial: Trial, law: Law) -> None:
    try:
        broken = law.broken_by(trial)
    except RequestError as error:
        broken = str(error)
    if broken:
        pytest.fail(broken, pytrace=False)
