"""All laws at once."""

from __future__ import annotations

from collections.abc import Sequence

from coldstart_cli.testing import laws_of_adapt, laws_of_fit
from coldstart_cli.testing.law import Law
from coldstart_cli.testing.trial import Trial

LAWS = [
    found
    for module in (laws_of_adapt, laws_of_fit)
    for found in vars(module).values()
    if isinstance(found, Law)
]


def laws_for(trial: Trial) -> list[Law]:
    """The laws that apply to a strategy, judging by its own attributes.

    Raises:
        RequestError: where the strategy cannot be built.
    """
    return [one for one in LAWS if one.concerns(trial)]


def check_strategy(strategy: str, dataset: str | None = None, overrides: Sequence[str] = ()) -> list[str]:
    """Tries every law on a strategy and returns a line for each that is broken.

    Args:
        strategy: the path of a YAML file that describes it, or the name of a config.
        dataset: config of a data set to try it on; None for the package's small images.
        overrides: further overrides as for `coldstart train`. A class outside this package has to be
            trusted: `trust=[my_package]`.

    Raises:
        RequestError: where the strategy cannot be built.
    """
    trial = Trial(strategy, dataset, overrides)
    return [broken for one in laws_for(trial) if (broken := one.broken_by(trial))]
