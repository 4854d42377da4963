"""`coldstart predict`: labels and probabilities by a bundle."""

from __future__ import annotations

from typing import Any

from coldstart_cli.cli.parsing import Namespace, Number, Parser, Words, values_of
from coldstart_cli.config.key import Key
from coldstart_cli.processes import streams


def add(program: Parser) -> None:
    """The command's flags and words."""
    parser = program.command(
        "predict",
        run,
        "labels and probabilities by a bundle",
        "Each line is a label, its probability and the input; a regression has the value alone.",
        examples=(
            "coldstart predict bundle=intents input=questions.csv --csv",
            "printf 'How do I top up?\\n' | coldstart predict bundle=intents input=-",
        ),
    )
    parser.key_values(Words(own=keys, composes=False))
    parser.flag("--json", action="store_true", help="print a JSON object for each input")
    parser.flag("--csv", action="store_true", help="print CSV with a column for each class")


def keys() -> tuple[Key, ...]:
    """The words of the command."""
    from coldstart_cli.config.annotations import choices
    from coldstart_cli.config.signatures import alias

    on_bad = choices(alias("coldstart_cli.datasets.readers.problems", "OnBad"))
    return (
        Key("bundle", "text", "DIR", "the folder that adapt wrote"),
        Key("input", "text", "PATH", "a file or folder of the bundle's layout, or - for standard input"),
        Key(
            "threshold",
            "number >= 0 and <= 1",
            "",
            "abstain below this probability; else the bundle's",
        ),
        Key("on_bad", " | ".join(on_bad), "stop", "what an input does that cannot be read", choices=on_bad),
    )


def run(arguments: Namespace) -> int:
    """Predicts and prints.

    Raises:
        RequestError: for what cannot be read.
    """
    values = values_of("predict", arguments.overrides, keys(), needed=("bundle", "input"))
    threshold = values.get("threshold")
    share = None if threshold is None else Number("threshold", 0, 1, "threshold=0.5")(threshold)
    streams.set_up()
    from coldstart_cli.bundles import predicting
    from coldstart_cli.bundles.bundle import Bundle
    from coldstart_cli.cli.inputs import check_there
    from coldstart_cli.files.untrusted import shaped

    bundle = Bundle.load(values["bundle"])
    check_there(values["input"])
    on_bad: Any = values.get("on_bad", "stop")
    form = "json" if arguments.json else "csv" if arguments.csv else "text"
    with shaped("bundle", values["bundle"]):
        problems = predicting.predict(bundle, values["input"], form, on_bad=on_bad, threshold=share)
    problems.warn(values["input"])
    return 0
