"""`coldstart label-next`: which examples of a pool to label next."""

from __future__ import annotations

import json
import shlex
from dataclasses import asdict
from typing import TYPE_CHECKING

from coldstart_cli.cli.inputs import check_there
from coldstart_cli.cli.parsing import Namespace, Parser, Words
from coldstart_cli.errors import RequestError
from coldstart_cli.processes import streams
from coldstart_cli.safe_text import printable

if TYPE_CHECKING:
    from coldstart_cli.bundles.labelling.labelling import Proposed


def add(program: Parser) -> None:
    """The command's flags and words."""
    parser = program.command(
        "label-next",
        run,
        "which examples of a pool to label next, as a table to fill in",
        "Without a bundle typical and different examples; with one those it is least sure of, and different. "
        "No row that repeats another, or has a label already.",
        examples=(
            "coldstart label-next input=pool.csv n=20 output=first.csv",
            "coldstart label-next input=pool.csv n=20 bundle=intents labelled=first.csv output=second.csv",
            "coldstart label-next input=table.csv dataset=tabular 'dataset.ignore=[id]' n=30",
        ),
    )
    parser.key_values(Words(plans=("label_next",)))
    parser.config_dir()
    parser.flag("--json", action="store_true", help="print what was proposed as a JSON object")


def run(arguments: Namespace) -> int:
    """Writes the table, and says what it holds.

    Raises:
        RequestError: for what cannot be read, and where nothing is left to propose.
    """
    streams.set_up()
    given = {word.partition("=")[0]: word.partition("=")[2] for word in arguments.overrides}
    if not given.get("input"):
        raise RequestError("input: no pool is named; coldstart label-next input=POOL n=20")
    for name in ("input", "labelled"):
        if given.get(name):
            check_there(given[name].strip("'"), name)
    from coldstart_cli.bundles import requests

    found = requests.label_next(arguments.overrides, arguments.config_dir)
    if arguments.json:
        print(json.dumps(asdict(found), indent=2))
    else:
        print(*map(printable, _told(found)), sep="\n")
    return 0


def _told(found: Proposed) -> list[str]:
    rows = "row" if found.proposed == 1 else "rows"
    has = "has" if found.labelled == 1 else "have"
    repeats = "repeats" if found.repeated == 1 else "repeat"
    kind = {"typical": "typical and different", "uncertain": "the least sure and different"}[found.by]
    return [
        f"{found.output}: {found.proposed:,} {rows} to label, {kind}, the most useful first",
        f"of {found.pool:,} rows of the pool {found.labelled:,} {has} a label already and {found.repeated:,} "
        f"{repeats} another one, exactly or nearly",
        *(f"note: {line}" for line in found.said),
        *_next(found),
    ]


def _next(found: Proposed) -> list[str]:
    """What to do with the table."""
    if not found.go_on:
        return [
            "Next: put each into the labelled arrays, and choose again among strategies (coldstart choose)"
        ]
    return [
        f"Next: fill in column {found.label_column} (rows that stay empty are left out), then",
        f"  coldstart {' '.join(map(shlex.quote, found.go_on))}",
    ]
