"""`coldstart completion`: a script that lets a shell ask `coldstart _complete` on TAB (offers.py)."""

from __future__ import annotations

from coldstart_cli.cli.completion_scripts import INSTALL, SCRIPTS
from coldstart_cli.cli.output import emit
from coldstart_cli.cli.parsing import Choice, Namespace, Parser


def add(program: Parser) -> None:
    """The command and its shells."""
    parser = program.command(
        "completion",
        run,
        f"a completion script for {', '.join(SCRIPTS)}",
        "It offers commands, flags, configs, keys and their values.",
        examples=INSTALL.splitlines(),
    )
    parser.place(
        "shell", metavar="SHELL", type=Choice("completion", tuple(SCRIPTS)), help=" | ".join(SCRIPTS)
    )


def run(arguments: Namespace) -> int:
    """Prints the script to source."""
    emit(SCRIPTS[arguments.shell])
    return 0
