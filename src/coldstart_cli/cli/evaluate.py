"""`coldstart evaluate`: a finished run again, with other shots, ways, steps, data or hardware."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from coldstart_cli.cli.parsing import Namespace, Parser, Words
from coldstart_cli.config.key import EVALUATED, RUN, Key
from coldstart_cli.errors import RequestError
from coldstart_cli.processes import streams

if TYPE_CHECKING:
    from coldstart_cli.reports.finished_run import Show


def add(program: Parser) -> None:
    """The command's flags and words."""
    parser = program.command(
        "evaluate",
        run,
        "evaluate a finished run again: other shots, ways, steps, data, hardware",
        "Nothing is trained; the evaluation lies beside the run's others.",
        examples=(
            "coldstart evaluate run=outputs/RUN 'evaluation.k_shots=[1,2,5,10]'",
            "coldstart evaluate run=outputs/RUN dataset=omniglot evaluation.n_way=20 hardware=cuda",
        ),
    )
    parser.key_values(Words(own=_keys, roots=EVALUATED))
    parser.flag("-q", "--quiet", action="store_true", help="print the run directory alone")
    parser.config_dir()


def _keys() -> tuple[Key, ...]:
    return (
        Key("run", RUN, "DIR", "the finished run"),
        Key(
            "again",
            "true | false",
            "false",
            "evaluate anew even so",
            choices=("false", "true"),
        ),
    )


def run(arguments: Namespace) -> int:
    """Evaluates what the words change of the run's own config."""
    chosen = [word for word in arguments.overrides if word.startswith("run=")]
    if len(chosen) != 1 or chosen == ["run="]:
        raise RequestError("run: name one finished run; coldstart evaluate run=outputs/RUN")
    streams.set_up()
    from coldstart_cli.experiment import requests
    from coldstart_cli.runs.run import Run

    of_run = Run(Path(chosen[0].partition("=")[2]))
    overrides = [word for word in arguments.overrides if word not in chosen]
    show: Show = "path" if arguments.quiet else "report"
    requests.evaluate(of_run, overrides, arguments.config_dir, show=show, command_line=arguments.command_line)
    return 0
