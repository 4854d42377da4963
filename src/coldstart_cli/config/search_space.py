"""What a search for hyper-parameters may choose from."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import yaml

from coldstart_cli.errors import RequestError

NEAR = 0.05
"""A share of an interval: values this near to its end are called the end."""


@dataclass(frozen=True, slots=True)
class Searched:
    """The values of one key in a search.

    Attributes:
        choices: all the values, or None for an interval.
        low, high: the ends of the interval, both included.
        log: whether values are uniform in the logarithm.
        whole: integers only.
    """

    choices: tuple[Any, ...] | None
    low: float
    high: float
    log: bool
    whole: bool

    @property
    def first(self) -> Any:
        """A value to compose with."""
        return self.choices[0] if self.choices is not None else self._typed(self.low)

    def end(self, value: Any) -> str | None:
        """`smallest` or `largest` where a number is an end of what is searched, or near one of an interval.

        Of two choices each is an end, which says nothing.
        """
        if self.choices is None:
            low, high, at = (math.log(v) if self.log else float(v) for v in (self.low, self.high, value))
            margin = 0.0 if self.whole else NEAR * (high - low)
            return "smallest" if at <= low + margin else "largest" if at >= high - margin else None
        numbers = [c for c in self.choices if isinstance(c, int | float) and not isinstance(c, bool)]
        if len(numbers) < max(3, len(self.choices)):
            return None
        return {min(numbers): "smallest", max(numbers): "largest"}.get(value)

    def _typed(self, value: float) -> float | int:
        return int(value) if self.whole else float(value)

    def distribution(self, optuna: Any) -> Any:
        """The same as a distribution of optuna."""
        if self.choices is not None:
            return optuna.distributions.CategoricalDistribution(self.choices)
        kind = optuna.distributions.IntDistribution if self.whole else optuna.distributions.FloatDistribution
        return kind(self._typed(self.low), self._typed(self.high), log=self.log)


def plain(value: Any) -> Any:
    """Choices as YAML reads them: numbers stay numbers."""
    return yaml.safe_load(value) if isinstance(value, str) else value


def searched(override: Any) -> Searched:
    """The values that an override of Hydra's searches.

    Raises:
        RequestError: for an empty interval.
    """
    value: Any = override.value()
    if not override.is_interval_sweep():
        return Searched(tuple(plain(v) for v in override.sweep_iterator()), 0, 0, False, False)
    low, high, log = float(value.start), float(value.end), "log" in value.tags
    if not low < high or (log and low <= 0):
        raise RequestError(
            f"{override.key_or_group}: interval({low:g}, {high:g}) is empty"
            f"{' on a logarithmic scale' if log else ''}; write interval(0.01, 1)"
        )
    # Ends written as whole numbers mean whole values, unless tagged as float.
    whole = isinstance(value.start, int) and isinstance(value.end, int) and "float" not in value.tags
    return Searched(None, low, high, log, whole)
