"""The one parser of the command line: argparse, with refusals in one line and Hydra's `key=value` words.

Every command's file defines its parser by these means. What the parser knows is also what `--help` shows and
what a shell completes, so nothing is said twice. Imports nothing heavy: a person waits for `--help`.
"""

from __future__ import annotations

import argparse
import re
import sys
import textwrap
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn

from coldstart_cli.config.key import Key
from coldstart_cli.config.typed import once, quoted
from coldstart_cli.errors import RequestError, suggestion
from coldstart_cli.safe_text import printable

Namespace = argparse.Namespace
RAW = ("run=", "input=", "labelled=")
"""Words that a command reads itself, beside those that Hydra reads."""
Run = Callable[[Namespace], int]


def a_folder(text: str) -> str:
    """A flag or argument that names a folder."""
    return text


def a_file(text: str) -> str:
    """A flag or argument that names a file or a folder."""
    return text


def an_address(text: str) -> str:
    """An argument that names a config: strategy/maml."""
    return text


def a_topic(text: str) -> str:
    """An argument that names a config, a key, or the code of an error."""
    return text


def a_group(text: str) -> str:
    """An argument that names a group of configs: strategy."""
    return text


@dataclass(frozen=True, slots=True)
class Choice:
    """A flag or argument with a few values."""

    name: str
    choices: Sequence[str]

    def __call__(self, text: str) -> str:
        if text not in self.choices:
            raise RequestError(
                f"{self.name}: {text!r} is not a valid choice; {suggestion(text, self.choices)}"
            )
        return text


@dataclass(frozen=True, slots=True)
class Number:
    """A flag with a number between two limits; `remedy` is one to write."""

    name: str
    low: float
    high: float
    remedy: str

    def __call__(self, text: str) -> float:
        try:
            value = float(text)
        except ValueError:
            value = float("nan")
        if not self.low <= value <= self.high:
            raise RequestError(
                f"{self.name}: {text} is not between {self.low:g} and {self.high:g}; write {self.remedy}"
            )
        return value


def _no_keys() -> tuple[Key, ...]:
    return ()


@dataclass(frozen=True, slots=True)
class Words:
    """The `key=value` words that a command takes.

    Attributes:
        own: keys that no YAML file holds.
        plans: the YAML files of the command's own keys.
        composes: whether the words choose and change the configs that `train` composes.
        roots: the parts of that config that may be changed; empty: all.
        shown: whether `--help` lists the keys.
    """

    own: Callable[[], tuple[Key, ...]] = _no_keys
    plans: tuple[str, ...] = ()
    composes: bool = True
    roots: tuple[str, ...] = ()
    shown: bool = True


class Parser(argparse.ArgumentParser):
    """A command, or the program with its commands.

    Attributes:
        flags: each spelling of a flag -> its argparse action.
        places: the arguments that are told by their place.
        commands: name -> parser, where this one has commands.
        words: what `key=value` words it takes, or None.
    """

    def __init__(self, *, run: Run | None = None, examples: Sequence[str] = (), **settings: Any) -> None:
        super().__init__(
            add_help=False,
            allow_abbrev=False,
            formatter_class=argparse.RawDescriptionHelpFormatter,
            **settings,
        )
        self.flags: dict[str, argparse.Action] = {}
        self.places: list[argparse.Action] = []
        self.commands: dict[str, Parser] = {}
        self.words: Words | None = None
        self.run, self.examples = run, examples
        self._adds: Any = None
        self.flag("-h", "--help", action="store_true", help="show this page and stop")

    def flag(self, *names: str, **settings: Any) -> None:
        """Adds a flag."""
        self.flags |= dict.fromkeys(names, self.add_argument(*names, **settings))

    def place(self, name: str, **settings: Any) -> None:
        """Adds an argument that is told by its place."""
        self.places.append(self.add_argument(name, **settings))

    def key_values(self, words: Words) -> None:
        """Takes `key=value` words, wherever they stand."""
        self.words = words
        self.add_argument(
            "overrides",
            nargs="*",
            default=[],
            metavar="KEY=VALUE",
            help="what to choose and to change: see below",
        )

    def config_dir(self) -> None:
        """Takes --config-dir."""
        self.flag(
            "--config-dir", action="append", default=[], metavar="DIR", type=a_folder,
            help="look for configs of your own here too; may be repeated",
        )  # fmt: skip

    def command(self, name: str, run: Run | None, summary: str, description: str = "", **more: Any) -> Parser:
        """Adds a command; one with commands of its own is run by none."""
        if self._adds is None:
            self._adds = self.add_subparsers(metavar="COMMAND", title="commands", prog=self.prog)
        about = textwrap.fill(f"{summary[:1].upper()}{summary[1:]}. {description}", 100)
        parser: Parser = self._adds.add_parser(
            name, run=run, help=summary, description=about.replace("%", "%%"), **more
        )
        if run is not None:
            parser.flag("--debug", action="store_true", help="show the whole stack of an error")
        self.commands[name] = parser
        return parser

    @property
    def name(self) -> str:
        """As it is typed after the program: `data check`."""
        return self.prog.partition(" ")[2] or self.prog

    def found(self, words: Sequence[str]) -> tuple[Parser, list[str]]:
        """The command that words name, as far as they do, and the words that follow its name."""
        if not self.commands or not words or words[0] not in self.commands:
            return self, list(words)
        return self.commands[words[0]].found(words[1:])

    def read(self, words: Sequence[str]) -> Namespace:
        """The values of what follows the command's name.

        Raises:
            RequestError: for a flag that it does not have, a value that it cannot take, and what is missing.
        """
        arguments, others = self.parse_known_intermixed_args(list(words))
        for word in others:
            if word.startswith("-"):
                raise RequestError(f"{word}: there is no such flag; {suggestion(word, self.flags)}")
            raise RequestError(f"{self.name}: takes no {word!r}; leave it out")
        if self.words is not None:
            for said in once(arguments.overrides):
                print(printable(said), file=sys.stderr)
            if self.words.composes:  # the others' words do not pass through Hydra's grammar
                sweeps = getattr(arguments, "multirun", False) or self.name == "tune"
                raw = (*RAW, *(f"{key.name}=" for key in self.words.own()))
                arguments.overrides = [
                    word if word.startswith(raw) else quoted([word], sweeps=sweeps)[0]
                    for word in arguments.overrides
                ]
        return arguments

    def error(self, message: str) -> NoReturn:
        """Refuses in one line."""
        valueless = re.fullmatch(r"argument (\S+): expected one argument", message)
        if valueless:
            name = valueless[1].rpartition("/")[2]
            raise RequestError(f"{name}: needs a value; write {name} {self.flags[name].metavar}")
        raise RequestError(f"{self.name}: {message}; see {self.prog} --help")


def config_dirs(words: Sequence[str]) -> list[str]:
    """The folders of --config-dir among words that need not be complete."""
    following = [*words[1:], ""]
    named = [
        after if word == "--config-dir" else word.partition("=")[2]
        for word, after in zip(words, following, strict=False)
        if word == "--config-dir" or word.startswith("--config-dir=")
    ]
    return [name for name in named if Path(name).expanduser().is_dir()]


def values_of(
    command: str, words: Sequence[str], known: Sequence[Key], needed: Sequence[str]
) -> dict[str, str]:
    """The words of a command all of whose keys are its own, key -> value.

    Raises:
        RequestError: for a key that it does not have, a value that is not one of its choices, a missing key.
    """
    keys: Mapping[str, Key] = {key.name: key for key in known}
    values: dict[str, str] = {}
    for word in words:
        name, equals, value = word.partition("=")
        if not equals or name not in keys:
            raise RequestError(f"{word}: {command} has no such key; {suggestion(name, keys)}")
        if keys[name].choices:
            value = Choice(name, keys[name].choices)(value)
        values[name] = value
    for name in needed:
        if not values.get(name):
            example = " ".join(f"{n}={keys[n].default or 'PATH'}" for n in needed)
            raise RequestError(f"{name}: is needed; coldstart {command} {example}")
    return values
