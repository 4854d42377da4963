"""A law: a sentence, a way to see whether a strategy keeps it, and what to do if it does not."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from coldstart_cli.errors import line
from coldstart_cli.testing.trial import Trial, torch_as_it_was


@dataclass(frozen=True, slots=True)
class Law:
    """One promise of a strategy.

    Attributes:
        name: by which laws are selected: `pytest -k adapt_changes_nothing`.
        sentence: the promise.
        mend: what to do if it is broken.
        seen_against: tries it and returns the evidence against it, or None where it is kept.
        concerns: whether a strategy makes this promise at all, judging by its own attributes.
    """

    name: str
    sentence: str
    mend: str
    seen_against: Callable[[Trial], str | None]
    concerns: Callable[[Trial], bool]

    def broken_by(self, trial: Trial) -> str | None:
        """One line that says which law is broken, by what, and what to do; None where it is kept.

        Raises:
            RequestError: where the strategy cannot be built for it.
        """
        # A law builds hardware and seeds torch; the next one must not notice.
        with torch_as_it_was():
            seen = self.seen_against(trial)
        return seen and line(f"{trial.name}: {self.sentence} ({self.name}), but {seen}; {self.mend}")


def everyone(trial: Trial) -> bool:
    return True


def law(
    sentence: str, mend: str, concerns: Callable[[Trial], bool] = everyone
) -> Callable[[Callable[[Trial], str | None]], Law]:
    """Makes a law from the function that tries it."""
    return lambda tried: Law(tried.__name__, sentence, mend, tried, concerns)


def changed_in(before: Mapping[str, object], after: Mapping[str, object]) -> list[str]:
    """Names whose values are not the same, bit for bit."""
    names = sorted({*before, *after})
    return [name for name in names if not _same(before.get(name), after.get(name))]


def _same(one: object, other: object) -> bool:
    if isinstance(one, Tensor) and isinstance(other, Tensor):
        return torch.equal(one, other)
    return one == other


def apart(one: Tensor, other: Tensor, *, rtol: float, atol: float) -> float | None:
    """The largest difference, or None where there is none beyond rounding."""
    if torch.allclose(one, other, rtol=rtol, atol=atol, equal_nan=True):
        return None
    return float((one - other).abs().max())
