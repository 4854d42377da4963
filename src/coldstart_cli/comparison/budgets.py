"""What contestants were given, where that differs: a comparison is fair at equal budgets alone."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from coldstart_cli.comparison.findings import ContestantFacts
from coldstart_cli.metrics.numbers import is_known

ALIKE = 1.1
"""Source examples of two contestants are called equal up to this ratio: a step cannot be divided."""

QUANTITIES: Mapping[str, str] = {
    "examples": "labelled source examples",
    "steps": "outer steps",
    "adaptation_steps": "adaptation steps tried",
    "trials": "search trials",
}
"""Field of `findings.Training` -> its words."""


def differences(contestants: Sequence[ContestantFacts]) -> list[str]:
    """One line where budgets differ: of each quantity the least and the most, and who they are of.

    Who learns nothing from the source draws no examples and takes no outer steps by design, and is left out
    of these. A number that is not known counts as one that differs from those that are.
    """
    contestants = [c for c in contestants if c.training is not None]  # a constant answer uses nothing
    parts = [part for field, words in QUANTITIES.items() if (part := _part(contestants, field, words))]
    return [f"budgets differ: {'; '.join(parts)}"] if parts else []


def _part(contestants: Sequence[ContestantFacts], field: str, words: str) -> str | None:
    values = {c.name: getattr(c.training, field, None) for c in contestants}
    if field in ("examples", "steps"):
        values = {name: value for name, value in values.items() if value != 0}
    known = {name: value for name, value in values.items() if is_known(value)}
    unknown = [name for name in values if name not in known]
    if not known:
        return None
    least, most = (of(known, key=lambda name: known[name]) for of in (min, max))
    ratio = ALIKE if field == "examples" else 1.0
    told = f"{words} {known[least]:,.0f} ({least})"
    if known[most] > ratio * known[least]:
        told += f" to {known[most]:,.0f} ({most})"
    elif not unknown:
        return None
    return told + (f", not known of {_named(unknown)}" if unknown else "")


def _named(names: Sequence[str]) -> str:
    return ", ".join(names[:3]) + (f" and {len(names) - 3} more" if len(names) > 3 else "")
