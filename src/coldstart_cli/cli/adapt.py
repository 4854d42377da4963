"""`coldstart adapt`: a strategy adapted to one task of your own, as a bundle."""

from __future__ import annotations

import shlex
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

from coldstart_cli.cli.parsing import Namespace, Parser, Words
from coldstart_cli.config.key import RUN, Key
from coldstart_cli.errors import RequestError
from coldstart_cli.metrics.numbers import Numbers, duration, percent, significant
from coldstart_cli.processes import streams
from coldstart_cli.safe_text import printable

if TYPE_CHECKING:
    from coldstart_cli.bundles.adapting.outlook import Outlook
    from coldstart_cli.bundles.bundle import Bundle
    from coldstart_cli.bundles.kept.card import Card, Changed, CrossValidation, StatedTest


SURE = 0.05
"""Level at which inputs are said to differ."""


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
            "coldstart adapt bundle=DIR version=1",
        ),
    )
    parser.key_values(Words(own=_keys, plans=("adapt",)))
    parser.config_dir()
    parser.flag("--dry-run", action="store_true", help="say what would be done, and stop")
    parser.flag("-m", "--multirun", action="store_true", help="not for adapt, which makes one bundle")


def _keys() -> tuple[Key, ...]:
    return (
        Key("run", RUN, "DIR", "a finished run to start from; else strategy= and model= say what adapts"),
        Key(
            "version",
            "whole number >= 1",
            "N",
            "puts this earlier version of bundle= back; nothing is adapted",
        ),
    )


def run(arguments: Namespace) -> int:
    """Adapts, writes the bundle, and says what it is.

    Raises:
        RequestError: for what cannot be adapted.
    """
    streams.set_up()
    from coldstart_cli.bundles import requests

    if arguments.multirun:
        raise RequestError(requests.ONE_AT_A_TIME)
    if arguments.dry_run:
        outlook = requests.outlook(arguments.overrides, arguments.config_dir)
        print(*map(printable, _foretold(outlook)), sep="\n")
        return 0
    with Progress() as progress:
        bundle = requests.adapt(
            arguments.overrides, arguments.config_dir, run=None, bundle=None, told=progress.told
        )
    back = any(word.startswith("version=") for word in arguments.overrides)
    first = [_current(bundle)] if back else found_again(bundle)
    print(*map(printable, [*first, *_told(bundle.card, str(bundle.path))]), sep="\n")
    return 0


def _current(bundle: Bundle) -> str:
    """A line where an earlier version was put back: which number it has now."""
    card = bundle.card
    return f"{bundle.path}: now version {card.version}, which is {card.said[-1]}; as it was made:"


def found_again(bundle: Bundle) -> list[str]:
    """A line where the bundle that was there is the one that was asked for."""
    of = f"version {bundle.card.version}, which is found again (overwrite=true adapts anew)"
    return [f"{bundle.path}: nothing has changed since {of}"] if bundle.found else []


class Progress:
    """How far it is, and the seconds to go, on standard error: a line that changes, or one now and then."""

    def __init__(self) -> None:
        self.live = sys.stderr.isatty()
        self.every = 0.1 if self.live else 10.0
        self.what, self.started, self.first, self.printed, self.width = "", 0.0, 0, 0.0, 0

    def __enter__(self) -> Progress:
        return self

    def __exit__(self, *error: object) -> None:
        if self.width:
            print("\r" + " " * self.width, end="\r", file=sys.stderr, flush=True)

    def told(self, what: str, done: int, total: int) -> None:
        now = time.monotonic()
        if what != self.what:
            self.what, self.started, self.first = what, now, done
            self.printed = self.printed or now
            return
        if now - self.printed < self.every:
            return
        self.printed = now
        to_go = (now - self.started) / (done - self.first) * (total - done)
        line = f"{what}: {done} of {total} adaptations, about {duration(to_go)} s to go"
        if not self.live:
            print(line, file=sys.stderr, flush=True)
            return
        print("\r" + line.ljust(self.width), end="", file=sys.stderr, flush=True)
        self.width = max(self.width, len(line))


def _foretold(outlook: Outlook) -> list[str]:
    """What adapting would do."""
    n = outlook.to_select + outlook.to_estimate + 1
    choice = f"{outlook.to_select} to choose the number of steps, " if outlook.to_select else ""
    return [
        f"{outlook.bundle}: would hold {outlook.strategy} ({outlook.model}), adapted to {outlook.data}",
        f"{n} adaptation{'' if n == 1 else 's'} ({choice}{outlook.to_estimate} to estimate), about "
        f"{duration(outlook.seconds)} s",
        *(f"note: {notice}" for notice in outlook.notices),
    ]


def _told(card: Card, bundle: str) -> list[str]:
    """What a person wants to know of a bundle, and what to do with it."""
    lines = [f"{bundle}: {card.strategy} ({card.model}), {_examples(card)}"]
    few = "no class has two examples" if card.data.examples else "there are no labels to judge by"
    lines += [f"accuracy not known: {few}"] if card.cross_validation is None else []
    lines += [] if card.cross_validation is None else _measured(card.cross_validation, len(card.labels))
    lines += [] if card.test is None else [_scored(card.test)]
    lines += [] if card.changed is None else what_changed(card.changed, card.version, bundle)
    assert card.sizes is not None  # it has been saved
    lines += [
        f"{_steps(card)}; {duration(card.seconds.adaptation)} s, {duration(card.seconds.in_all)} s in all",
        f"{card.sizes.parameters:,} parameters, {card.sizes.stored_parameters:,} of them stored",
    ]
    if card.data.skipped:
        lines.append(f"{card.data.skipped} examples could not be read and were left out")
    if card.labels:
        origin = card.temperature_from.removeprefix("none: ")
        calibrated = f"probabilities at temperature {significant(card.temperature)}, by {origin}"
        known = origin == card.temperature_from
        lines.append(calibrated if known else f"probabilities are not calibrated: {origin}")
    lines += [f"note: {notice}" for notice in card.said]
    named = shlex.quote(f"bundle={bundle}")
    data = "input=PATH   (inputs of the same form)"
    if card.data.root:
        data = f"{shlex.quote(f'input={card.data.root}')}   (or new inputs of the same form)"
    return [
        *lines,
        "Next:",
        f"  coldstart predict {named} {data}",
        f"  coldstart export {named}",
    ]


def what_changed(found: Changed, version: int, bundle: str) -> list[str]:
    """What is not as it was in the version before, and where that one lies."""
    counts = {"added": found.added, "removed": found.removed, "with another label": found.relabelled}
    parts = [
        ", ".join(
            f"{n:,} example{'' if n == 1 else 's'} {what}" for what, n in counts.items() if n is not None
        )
    ]
    for what, names in (("added", found.classes_added), ("removed", found.classes_removed)):
        more = ", ..." if len(names) > 5 else ""
        said = f"{len(names)} class{'' if len(names) == 1 else 'es'} {what} ({', '.join(names[:5])}{more})"
        parts += [said] if names else []
    parts += [f"{was} is called {now} now" for was, now in found.classes_renamed]
    kept = shlex.quote(f"bundle={bundle}/versions/{found.since}")
    lines = [f"version {version}, since version {found.since} ({kept}): {'; '.join(filter(None, parts))}"]
    back = f"coldstart adapt {shlex.quote(f'bundle={bundle}')} version={found.since}"
    lines.append(f"back to version {found.since}: {back}   (this one is kept as version {version})")
    otherwise = [f"adapted otherwise: {'; '.join(found.adapted_by)}"] if found.adapted_by else []
    if found.added is None:
        return [f"{lines[0].removesuffix(': ')}: {found.untold}", lines[1], *otherwise]
    return [
        *lines,
        *otherwise,
        *_without_program(bundle, found.since),
        _on_the_same_rows(found),
        *_drift(found),
    ]


def _without_program(bundle: str, since: int) -> list[str]:
    """A line where the version before predicts without torch and this one does not."""
    from coldstart_cli.bundles.predicting import program

    if program.held(Path(bundle)) or not program.held(Path(bundle, "versions", str(since))):
        return []
    again = f"coldstart export bundle={shlex.quote(bundle)} inside=true"
    return [f"predict needs torch again: the ONNX of version {since} is not this one's; {again} makes it"]


def _on_the_same_rows(found: Changed) -> str:
    if not found.judged:
        return f"{found.metric} before and now cannot be compared: no row was held out by both versions"
    numbers = Numbers.of(found.metric == "accuracy", [])
    unit, points = (" %", " points") if numbers.percent else ("", "")
    assert found.before is not None and found.after is not None
    before, now, more = map(numbers.value, (found.before, found.after, found.after - found.before))
    interval = "no interval: all of one origin"
    if found.low is not None and found.high is not None:
        interval = f"95 % interval [{numbers.value(found.low)}, {numbers.value(found.high)}]"
    return (
        f"{found.metric} {before}{unit} before, {now}{unit} now on the {found.judged:,} rows that both held "
        f"out, by today's labels: {'' if more.startswith('-') else '+'}{more}{points}, {interval}"
    )


def _drift(found: Changed) -> list[str]:
    """Whether added inputs are like the earlier ones of their classes."""
    if found.untold is not None:
        return [f"drift of the inputs cannot be told: {found.untold}"]
    if found.drift is None:
        return []
    of = found.drift
    classes = " of their classes" if found.metric == "accuracy" else ""
    alike = "differ from" if of.p < SURE else "cannot be told from"
    return [
        f"inputs: {of.further:,} added ones {alike} the {of.earlier:,} earlier ones{classes} (energy "
        f"distance beyond chance {of.coefficient:.2f} of 1, p = {significant(of.p, 2)})"
    ]


def _examples(card: Card) -> str:
    """The classes, and how many examples the bundle has learned from."""
    classes = f"{len(card.labels)} classes, " if card.labels else ""
    if not card.data.examples:
        free = card.build.n_unlabelled
        if not free:
            return f"{classes}known by their names alone"
        return f"{classes}no labelled example, {free:,} unlabelled example{'' if free == 1 else 's'}"
    counts = sorted(card.examples_of.values())
    each = f", {counts[0]} to {counts[-1]} a class" if counts and counts[0] < counts[-1] else ""
    each = f", {counts[0]} a class" if counts and not each else each
    return f"{classes}{card.data.examples} examples{each}"


def _steps(card: Card) -> str:
    """How many adaptation steps were taken, and what chose their number."""
    from coldstart_cli.bundles.kept.card import CLOSED_FORM, NO_LABELS

    none = {CLOSED_FORM: "a closed form", NO_LABELS: f"{card.strategy} takes none without labels"}
    if card.steps_chosen_by in none:
        return f"no adaptation steps ({none[card.steps_chosen_by]})"
    how = "as given" if card.steps_chosen_by == "given" else f"by {card.steps_chosen_by}"
    return f"{card.steps} adaptation step{'' if card.steps == 1 else 's'}, {how}"


def _scored(test: StatedTest) -> str:
    """The metric on test examples that the files, or a publisher, state."""
    numbers = Numbers.of(test.metric == "accuracy", [])
    unit = " %" if numbers.percent else ""
    ends = f", interval [{numbers.value(test.low)}, {numbers.value(test.high)}]" if numbers.percent else ""
    return (
        f"{test.metric} {numbers.value(test.value)}{unit}{ends}, on the {test.examples:,} stated test "
        "examples, kept apart from all of this"
    )


def _measured(found: CrossValidation, n_classes: int) -> list[str]:
    """The metric with its interval and what it was found by; beside it what an accuracy alone would hide."""
    # An accuracy that none of few labels contradicts is still not certain: the interval says how far.
    half = None if found.low is None or found.high is None else (found.high - found.low) / 2
    numbers = Numbers.of(found.metric == "accuracy", [half])
    unit = " %" if numbers.percent else ""
    interval = (
        f", {percent(found.confidence)} % interval [{numbers.value(found.low)}, {numbers.value(found.high)}]"
    )
    judged = f"{found.judged} held-out labels"
    if found.different != found.judged:
        judged += f", {found.different} different ones"
    if found.origins is not None:
        judged += f" of {found.origins} origins"
    dealt = "once" if found.repeats == 1 else f"{found.repeats} times"
    lines = [
        f"{found.metric} {numbers.value(found.mean)}{unit}{interval}, by cross-validation on {judged} "
        f"({found.folds} folds, {dealt}; the bundle has learned from all)"
    ]
    shares = {
        "balanced accuracy": found.balanced_accuracy,
        "macro F1": found.macro_f1,
        "the largest class alone": found.majority,
    }
    # of classes of one size they all say the same
    if found.majority is not None and found.majority * (n_classes - len(found.not_judged)) > 1.001:
        lines.append(", ".join(f"{name} {numbers.value(share)} %" for name, share in shares.items()))
    if found.weakest:
        weak = ", ".join(f"{name} {numbers.value(recall)} %" for name, recall in found.weakest.items())
        lines.append(f"weakest classes, by the share of their examples that is found: {weak}")
    return lines
