"""What a search for hyper-parameters may choose from."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import yaml


@dataclass(frozen=True, slots=True)
class Searched:
    """The values of one key in a search.

    Attributes:
        choices: all there are, or None for an interval.
        low, high: of the interval, both included; log: uniform in the logarithm; whole: integers only.
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

    def _typed(self, value: float) -> float | int:
        return int(value) if self.whole else float(value)

    def distribution(self, optuna: Any) -> Any:
        """The same as optuna says it."""
        if self.choices is not None:
            return optuna.distributions.CategoricalDistribution(self.choices)
        kind = optuna.distributions.IntDistribution if self.whole else optuna.distributions.FloatDistribution
        return kind(self._typed(self.low), self._typed(self.high), log=self.log)


def plain(value: Any) -> Any:
    """Choices as YAML reads them: numbers stay numbers."""
    return yaml.safe_load(value) if isinstance(value, str) else value
