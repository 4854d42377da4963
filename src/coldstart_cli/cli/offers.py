"""What a shell offers on TAB: the hidden command `coldstart _complete`.

Commands and flags are those of the parsers; configs, keys and values come from file names and a light look at
YAML and source, so a key press costs no import of torch or Hydra. It may offer too little; it must never fail
or wait.
"""

from __future__ import annotations

import argparse
import os
import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from coldstart_cli.cli.error_pages import pages
from coldstart_cli.cli.output import emit
from coldstart_cli.cli.parsing import (
    Choice,
    Parser,
    Words,
    a_file,
    a_folder,
    a_group,
    a_topic,
    an_address,
    config_dirs,
)
from coldstart_cli.config.catalog import READ_BY_ONE, Entry, catalogue, search_roots
from coldstart_cli.config.key import RUN, Key
from coldstart_cli.config.keys import explained, of_command
from coldstart_cli.config.outline import Groups, Outline, composed, entry, outline, selected
from coldstart_cli.errors import RequestError

_MOST_RUNS = 500  # a screen holds fewer, and a folder may hold millions

_SAFE = re.compile(r"[\w.,=/@+~:%-]+")  # what a shell takes as it is; other file names are not offered


def complete(argv: Sequence[str], program: Parser) -> int:
    """`coldstart _complete WORD...`: prints what may stand for the last word, one a line.

    The words are those after `coldstart`; the last is the one being typed, perhaps empty.
    """
    try:
        offers = candidates(argv or [""], program)
    except (RequestError, OSError, UnicodeError):
        return 0  # a message amid a half-typed line would only be in the way
    emit("".join(f"{offer}\n" for offer in offers if _SAFE.fullmatch(offer)))
    return 0


def candidates(words: Sequence[str], program: Parser) -> list[str]:
    """Whole words that begin with the last of `words`; those ending in = . or / go on."""
    *before, current = words
    parser, typed = program.found(before)
    flag = parser.flags.get(typed[-1]) if typed else None
    if flag is not None and flag.nargs != 0:
        return _arguments(flag, current, {})
    if current.startswith("-"):
        name, equals, value = current.partition("=")
        if equals and name in parser.flags:
            return [f"{name}={offer}" for offer in _arguments(parser.flags[name], value, {})]
        return _beginning(current, parser.flags)
    if parser.commands:
        return [] if typed else _beginning(current, parser.commands)
    groups = catalogue(search_roots(config_dirs(before)))
    given = _placed(parser, typed)
    if len(given) < len(parser.places) or parser.words is None:
        place = parser.places[min(len(given), len(parser.places) - 1)] if parser.places else None
        many = place is not None and place.nargs == "*"
        return (
            _arguments(place, current, groups) if place and (len(given) < len(parser.places) or many) else []
        )
    return _overrides(parser, typed, current, groups)


def _placed(parser: Parser, typed: Sequence[str]) -> list[str]:
    """The words that are no flag and no value of one."""
    found = []
    previous = None
    for word in typed:
        takes = parser.flags.get(previous or "")
        if not word.startswith("-") and (takes is None or takes.nargs == 0):
            found.append(word)
        previous = word
    return found


def _arguments(place: argparse.Action, current: str, groups: Groups) -> list[str]:
    """What may stand for a flag's value, or in a place, by the type it is declared with."""
    kind = place.type
    if isinstance(kind, Choice):
        return _beginning(current, kind.choices)
    if kind in (a_file, a_folder):
        return _paths(current, folders_only=kind is a_folder)
    if kind is a_group:
        return _beginning(current, [name for name in groups if name])
    codes = _beginning(current, pages()) if kind is a_topic else []
    return [*codes, *_addresses(current, groups)] if kind in (an_address, a_topic) else []


def _beginning(start: str, names: Sequence[str] | Mapping[str, object]) -> list[str]:
    return sorted({name for name in names if name.startswith(start)})


def _addresses(current: str, groups: Groups) -> list[str]:
    known = [one.address for entries in groups.values() for one in entries]
    if "=" in current:  # `strategy=maml` is understood as well
        known = [f"{e.group}={e.name}" for entries in groups.values() for e in entries if e.group]
    return _beginning(current, known)


def _paths(start: str, folders_only: bool) -> list[str]:
    head, slash, tail = start.rpartition("/")
    folder = Path(head + slash or ".").expanduser()
    found = []
    with os.scandir(folder) as places:
        for place in places:
            if place.name.startswith(tail) and (tail or not place.name.startswith(".")):
                if place.is_dir():
                    found.append(f"{head}{slash}{place.name}/")
                elif not folders_only:
                    found.append(f"{head}{slash}{place.name}")
    return sorted(found)


def _overrides(parser: Parser, before: Sequence[str], current: str, groups: Groups) -> list[str]:
    """Overrides in Hydra's words: `group=name`, `group=name,name`, `key=value`, `+key=`."""
    words = parser.words or Words()
    bare = current.lstrip("+~")
    sign = current[: len(current) - len(bare)]
    key, equals, value = bare.partition("=")
    own = {one.name: one for one in (*words.own(), *_planned(words, groups))}
    if equals and key in own:
        return [f"{sign}{key}={offer}" for offer in _values(own[key], value, before, groups)]
    if not words.composes:
        return _next_keys(bare, own) if not equals else []
    chosen = key.partition("@")[0]
    if equals and chosen in groups:
        taken, comma, last = value.rpartition(",")
        names = [e.name for e in groups[chosen] if not comma or e.name not in taken.split(",")]
        return [f"{sign}{key}={taken}{comma}{name}" for name in _beginning(last, names)]
    primary = _primary(before, groups)
    keys = composed(primary, selected(primary, before, groups), groups)
    keys = {k: w for k, w in keys.items() if not words.roots or k.partition(".")[0] in words.roots}
    if equals:
        part = {k: w for k, w in keys.items() if k.partition(".")[0] == key.partition(".")[0]}
        found = [one for one in explained(part) if one.name == key]
        return [f"{sign}{key}={offer}" for one in found for offer in _values(one, value, before, groups)]
    if "." in bare:
        return [sign + offer for offer in _next_keys(bare, {**keys, **own})]
    return [sign + top for top in _beginning(bare, _tops({**keys, **own}, words, groups))]


def _planned(words: Words, groups: Groups) -> list[Key]:
    """The keys of a command's own YAML file, where it is not what all commands compose."""
    plans = [entry(groups, "", name) for name in words.plans if name != "train"]
    return [key for plan in plans if plan for key in explained(of_command(plan))]


def _tops(keys: Mapping[str, object], words: Words, groups: Groups) -> list[str]:
    """What a word may begin with: groups, keys, and the names before a dot."""
    chosen = [name for name in groups if name not in ("", *READ_BY_ONE)]
    tops = {f"{name}=" for name in chosen if not words.roots or name in words.roots}
    nested = {name.partition(".")[0] for name in keys if "." in name}
    tops |= {f"{name}." for name in nested if name not in groups}
    tops |= {f"{name}=" for name in keys if "." not in name and name not in nested}
    return sorted(tops - {"hydra.", "_target_="})


def _primary(before: Sequence[str], groups: Groups) -> Entry | None:
    """The file that overrides change: the config of the run that is named, else train.yaml."""
    for word in before:
        recorded = Path(word.removeprefix("run="), "config.yaml")
        if word.startswith("run=") and recorded.is_file():
            return Entry("", "run", recorded)
    return entry(groups, "", "train")


def _next_keys(start: str, keys: Mapping[str, object]) -> list[str]:
    """One part of a dotted key at a time: `training.` -> `training.steps=`, `training.validation.`."""
    depth = start.count(".") + 1
    offers = set()
    for key in keys:
        parts = key.split(".")
        if key.startswith(start) and len(parts) >= depth and parts[-1] != "_target_":
            offers.add(".".join(parts[:depth]) + ("." if len(parts) > depth else "="))
    return sorted(offer for offer in offers if offer[:-1] + "." not in offers or offer[-1] == ".")


def _values(key: Key, start: str, before: Sequence[str], groups: Groups) -> list[str]:
    """The words it may be set to, places where it names one, else the value that the YAML has."""
    if key.type == RUN:
        return [path for path in _runs(before, _outputs(groups)) if path.startswith(start)]
    if key.choices:
        return _beginning(start, key.choices)
    default = _beginning(start, [key.default] if key.default and not key.default.isupper() else [])
    return sorted({*default, *_paths(start, folders_only=False)}) if key.is_path else default


def _outputs(groups: Groups) -> str:
    train = entry(groups, "", "train")
    return _value(outline(train.path), "outputs") if train else ""


def _value(keys: Outline, key: str) -> str:
    return keys[key].value if key in keys else ""


def _runs(before: Sequence[str], default: str) -> Iterator[str]:
    """Run directories below the folder of outputs, as typed from here."""
    chosen = [word.partition("=")[2] for word in before if word.startswith("outputs=")]
    pending = [(chosen or [default or "outputs"])[-1]]
    found = 0
    for _ in range(3):  # outputs/RUN, and sweeps one or two folders below
        below: list[str] = []
        for folder in pending:
            for place in sorted(_folders(folder)):
                if os.path.isfile(f"{place}/config.yaml"):
                    yield place
                    found += 1
                else:
                    below.append(place)
                if found >= _MOST_RUNS:
                    return
        pending = below[:_MOST_RUNS]


def _folders(folder: str) -> list[str]:
    try:
        with os.scandir(folder) as places:
            return [place.path for place in places if place.is_dir() and place.name[0] != "."]
    except OSError:
        return []
