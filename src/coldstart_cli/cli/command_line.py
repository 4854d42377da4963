"""The command line: the tree of commands, dispatch, exit codes. Imports no torch, no Hydra before a job does.

Exit codes are in surroundings.py.
"""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Sequence

from coldstart_cli import __version__
from coldstart_cli.cli import (
    adapt,
    bench,
    cache,
    choose,
    compare,
    completion,
    configs,
    data,
    diff,
    doctor,
    evaluate,
    explain,
    export,
    label_next,
    predict,
    runs,
    serve,
    train,
    tune,
)
from coldstart_cli.cli.output import emit
from coldstart_cli.cli.parsing import Parser
from coldstart_cli.errors import JobError, RequestError, line, suggestion, unforeseen
from coldstart_cli.processes import streams

ABOUT = "Which strategy gets a model working on a new task with the fewest labels?"
HELP = ("-h", "--help")


def commands() -> Parser:
    """The program with all its commands, each as its file defines it."""
    program = Parser(
        prog="coldstart",
        usage="coldstart COMMAND [KEY=VALUE ...] [FLAG ...]",
        description=ABOUT,
        examples=(
            "coldstart train strategy=maml",
            "coldstart train -m strategy=maml,protonet seed=0,1,2",
            "coldstart evaluate run=outputs/RUN 'evaluation.k_shots=[1,2,5,10]'",
            "coldstart compare outputs --html report.html",
            "coldstart train strategy=maml --help   # a command's page, with the keys of what is chosen",
        ),
    )
    program.flag("--version", action="store_true", help="print the version and stop")
    for command in (train, evaluate, tune, choose, adapt, predict, serve, label_next, export, compare, diff,
                    runs, data, configs, explain, cache, doctor, bench, completion):  # fmt: skip
        command.add(program)
    return program


def main(argv: Sequence[str] | None = None) -> int:
    """Runs a command and returns its exit code; refusals are one line on standard error."""
    streams.open_streams()
    arguments = list(sys.argv[1:] if argv is None else argv)
    debug = "--debug" in arguments
    try:
        return _dispatch(arguments)
    except RequestError as error:
        return _failed(str(error), 2, debug)
    except JobError as error:
        return _failed(str(error), 1, debug)
    except BrokenPipeError:  # `| head`: what was not printed was perhaps not done either
        _silence()
        return 128 + signal.SIGPIPE
    except SystemExit as error:  # by rich, which makes one of a pipe that is closed
        if not isinstance(error.__context__, BrokenPipeError):
            raise
        _silence()
        return 128 + signal.SIGPIPE
    except KeyboardInterrupt as error:
        number = getattr(error, "number", int(signal.SIGINT))
        return _failed("stopped: the same command goes on from here", 128 + number, debug)
    except Exception as error:
        return _failed(*unforeseen(error), debug)


def _failed(message: str, code: int, debug: bool) -> int:
    if debug:
        import traceback

        traceback.print_exc()
    try:
        print(line(message), file=sys.stderr, flush=True)
    except OSError:  # a terminal that was closed
        _silence()
    return code


def _silence() -> None:
    """Leads to nowhere what is still printed: else the interpreter complains when it flushes at its end."""
    for stream in (1, 2):
        os.dup2(os.open(os.devnull, os.O_WRONLY), stream)


def _dispatch(arguments: list[str]) -> int:
    program = commands()
    if arguments[:1] == ["_complete"]:  # asked by a shell, not by a person
        from coldstart_cli.cli import offers

        return offers.complete(arguments[1:], program)
    parser, words = program.found(arguments[1:] if arguments[:1] == ["help"] else arguments)
    if {*HELP} & {*words} or arguments[:1] == ["help"] or not arguments:
        from coldstart_cli.cli import help_page

        emit(help_page.page(parser, words))
        return 0
    if arguments[0] == "--version":
        emit(f"coldstart {__version__}\n")
        return 0
    if parser.run is None:
        raise RequestError(_unknown(parser, words))
    read = parser.read(words)
    read.command_line = ["coldstart", *arguments]
    return parser.run(read)


def _unknown(parser: Parser, words: Sequence[str]) -> str:
    """A word in the place of a command that is none, or no word there."""
    if parser.name == "coldstart":
        kind = "flag" if words[0].startswith("-") else "command"
        known = parser.flags if kind == "flag" else parser.commands
        return f"{words[0]}: there is no such {kind}; {suggestion(words[0], known)}"
    if not words:
        return f"{parser.name}: it is not said what to do; write {parser.examples[0]}"
    return f"{parser.name}: {words[0]!r} is not a valid choice; {suggestion(words[0], parser.commands)}"


if __name__ == "__main__":
    sys.exit(main())
