"""`adapt`, `predict` and `export` as they are typed."""

from __future__ import annotations

from collections.abc import Sequence

from coldstart_cli.bundles.adapting import requested
from coldstart_cli.bundles.card import Card
from coldstart_cli.metrics.numbers import Numbers, duration, significant
from coldstart_cli.safe_text import printable


def run_adapt(overrides: Sequence[str], search_path: Sequence[str]) -> int:
    """`coldstart adapt [run=DIR] dataset=LAYOUT dataset.root=PATH bundle=DIR ...`.

    Raises:
        RequestError: for what cannot be adapted.
    """
    bundle = requested(overrides, search_path, run=None, bundle=None)
    print(*map(printable, _told(bundle.card, str(bundle.path))), sep="\n")
    return 0


def _told(card: Card, bundle: str) -> list[str]:
    """What a person wants to know of a bundle, and what to do with it."""
    counts = sorted(card.examples_of.values())
    each = f", {counts[0]} to {counts[-1]} a class" if counts else ""
    classes = f"{len(card.labels)} classes, " if card.labels else ""
    lines = [f"{bundle}: {card.strategy} ({card.model}), {classes}{card.data.examples} examples{each}"]
    found = card.cross_validation
    if found is None:
        lines.append("accuracy not known: a class has one label, so that none can be held out")
    else:
        numbers = Numbers.of(found.metric == "accuracy", [found.half_width])
        lines.append(
            f"{found.metric} {numbers.interval(found)}{' %' if numbers.percent else ''} by cross-validation "
            f"on the labels ({found.folds} folds, {found.repeats} times; the bundle has learned from all)"
        )
    assert card.sizes is not None  # it has been saved
    lines += [
        f"{card.steps} adaptation steps, by {card.steps_chosen_by}; "
        f"{duration(card.seconds.adaptation)} s, {duration(card.seconds.in_all)} s in all",
        f"{card.sizes.parameters:,} parameters, {card.sizes.stored_parameters:,} of them stored",
    ]
    if card.data.skipped:
        lines.append(f"{card.data.skipped} examples could not be read and were left out")
    if card.labels:
        origin = card.temperature_from.removeprefix("none: ")
        calibrated = f"probabilities at temperature {significant(card.temperature)}, by {origin}"
        known = origin == card.temperature_from
        lines.append(calibrated if known else f"probabilities are not calibrated: {origin}")
    return [*lines, "Next:", f"  coldstart predict bundle={bundle} input=PATH"]
