"""The page of all commands: usage, flags and keys of each, exit codes, variables of the environment."""

from __future__ import annotations

import argparse
import textwrap
from collections.abc import Iterator

from coldstart_cli.cli.command_line import commands
from coldstart_cli.cli.parsing import Choice, Parser
from coldstart_cli.cli.surroundings import EXIT_CODES, VARIABLES
from coldstart_cli.config.catalog import READ_BY_ONE
from coldstart_cli.config.outline import Groups
from reference.configs import file_of, key_table, keys_of
from reference.markdown import cell, code, escaped, fenced, first_sentence, needed, table

INTRODUCTION = """
Each command prints its page with `--help`, and explains the keys of the configs that it is given:
`coldstart train strategy=maml --help`. Words are [Hydra](https://hydra.cc)'s: `group=choice` and `key=value`.
Progress goes to standard error, results to standard output.
""".strip()


def page(groups: Groups) -> str:
    """The page.

    Raises:
        Unsaid: for a command, a flag, a key or an exit code without a sentence.
    """
    program = commands()
    leaves = list(_leaves(program))
    rows = [[f"[`{one.name}`](#{_anchor(one)})", cell(first_sentence(_about(one)))] for one in leaves]
    parts = ["# Commands", INTRODUCTION, table(("command", "what it does"), rows)]
    for one in leaves:
        parts += _command(one, groups)
    codes = [
        [code(str(number)), cell(needed(said, f"exit code {number}"))] for number, said in EXIT_CODES.items()
    ]
    parts += ["## Exit codes", table(("code", "meaning"), codes)]
    names = [[code(name), cell(needed(said, name))] for name, said in VARIABLES.items()]
    parts += ["## Environment variables", table(("variable", "meaning"), names)]
    return "\n\n".join(parts) + "\n"


def _leaves(parser: Parser) -> Iterator[Parser]:
    """Every command that can be run."""
    for one in parser.commands.values():
        yield from _leaves(one) if one.commands else [one]


def _anchor(parser: Parser) -> str:
    return parser.name.replace(" ", "-")


def _about(parser: Parser) -> str:
    about = " ".join((parser.description or "").replace("%%", "%").split())
    return needed(about, f"the command {parser.name}").removesuffix(" ")


def _command(parser: Parser, groups: Groups) -> Iterator[str]:
    """What `coldstart NAME --help` says, with links in place of the keys of a file."""
    yield f"## {parser.name} {{ #{_anchor(parser)} }}"
    yield escaped(_about(parser))
    usage = " ".join(parser.format_usage().removeprefix("usage: ").split())
    yield fenced(textwrap.fill(usage, 90, subsequent_indent=" " * (len(parser.prog) + 1)))
    yield table(("flag or argument", "meaning"), [*_flags(parser)], "flags")
    words = parser.words
    if words is not None and (own := words.own()):
        yield key_table(own)
    if words is not None and words.shown:
        if words.plans:
            yield f"Its keys: {', '.join(f'[{name}]({keys_of(name)})' for name in words.plans)}."
        if words.composes:
            chosen = [
                g for g in groups if g not in ("", *READ_BY_ONE) and (not words.roots or g in words.roots)
            ]
            yield f"Configs to choose: {', '.join(f'[{name}]({_page_of(name)})' for name in chosen)}."
    if parser.examples:
        yield fenced("\n".join(parser.examples), "sh")


def _page_of(group: str) -> str:
    return "strategies/index.md" if group == "strategy" else file_of(group)


def _flags(parser: Parser) -> Iterator[list[str]]:
    """A row for each place and each flag with its meaning."""
    flags: dict[int, tuple[argparse.Action, list[str]]] = {}
    for name, action in parser.flags.items():
        flags.setdefault(id(action), (action, []))[1].append(name)
    for action in parser.places:
        yield [code(str(action.metavar or action.dest)), cell(_meaning(parser, action, str(action.metavar)))]
    for action, names in flags.values():
        shown = ", ".join(names) + (f" {action.metavar}" if action.metavar and action.nargs != 0 else "")
        yield [code(shown), cell(_meaning(parser, action, names[-1]))]


def _meaning(parser: Parser, action: argparse.Action, name: str) -> str:
    said = needed((action.help or "").replace("%%", "%"), f"{parser.name} {name}")
    kind = action.type
    listed = isinstance(kind, Choice) and not all(word in said for word in kind.choices)
    return f"{said}: {' | '.join(kind.choices)}" if listed and isinstance(kind, Choice) else said
