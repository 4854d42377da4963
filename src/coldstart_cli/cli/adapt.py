"""`coldstart adapt`: a strategy adapted to one task of your own, as a bundle."""

from __future__ import annotations

from typing import TYPE_CHECKING

from coldstart_cli.cli.parsing import Namespace, Parser, Words
from coldstart_cli.config.key import RUN, Key
from coldstart_cli.metrics.numbers import Numbers, duration, significant
from coldstart_cli.processes import streams
from coldstart_cli.safe_text import printable

if TYPE_CHECKING:
    from coldstart_cli.bundles.card import Card


def add(program: Parser) -> None:
    """The command's flags and words."""
    parser = program.command(
        "adapt",
        run,
        "adapt a trained or pretrained strategy to one task of your own: a bundle",
        "The data are read as dataset=arrays, image_folder, tabular or text says.",
        examples=(
            "coldstart adapt run=outputs/RUN dataset=image_folder dataset.root=PATH bundle=DIR",
            "coldstart adapt model=minilm_frozen strategy=nearest_centroid dataset=text dataset.root=MY.csv",
        ),
    )
    parser.key_values(Words(own=_keys, plan="adapt"))
    parser.config_dir()


def _keys() -> tuple[Key, ...]:
    return (
        Key("run", RUN, "DIR", "a finished run to start from; else strategy= and model= say what adapts"),
    )


def run(arguments: Namespace) -> int:
    """Adapts, writes the bundle, and says what it is.

    Raises:
        RequestError: for what cannot be adapted.
    """
    streams.set_up()
    from coldstart_cli.bundles.requests import adapt

    bundle = adapt(arguments.overrides, arguments.config_dir, run=None, bundle=None)
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
    if card.test is not None:
        percent = card.test.metric == "accuracy"
        numbers = Numbers.of(percent, [])
        between = [numbers.value(card.test.low), numbers.value(card.test.high)] if percent else []
        interval = f" [{', '.join(between)}]" if between else ""
        lines.append(
            f"{card.test.metric} {numbers.value(card.test.value)}{interval}{' %' if percent else ''} on the "
            f"{card.test.examples:,} stated test examples, kept apart from all of this"
        )
    lines += card.said
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
