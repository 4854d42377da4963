"""What a shell offers on TAB: `coldstart completion SHELL` and the hidden `coldstart _complete`.

Answers come from file names and a light reading of the YAML files, so a key press costs no import of
torch or Hydra. It may offer too little; it must never fail or wait.
"""

from __future__ import annotations

import itertools
import os
import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from coldstart_cli.cli.completion_scripts import INSTALL, SCRIPTS
from coldstart_cli.cli.output import emit
from coldstart_cli.config.catalog import Entry, catalogue, search_roots
from coldstart_cli.errors import RequestError, suggestion

COMMANDS = ("train", "evaluate", "data", "ls", "doctor", "bench", "cat", "cp", "completion")
_JOB_FLAGS = ("--multirun", "-m", "--cfg", "--dry-run", "--quiet", "--debug", "--config-dir", "--help")
_FLAGS: Mapping[str, tuple[str, ...]] = {
    "": ("--help", "--version"),
    "evaluate": ("--quiet", "--debug", "--config-dir", "--help"),
    "data": ("--json", "--tasks", "--debug", "--config-dir", "--help"),
    "ls": ("--json", "--config-dir", "--help"),
    "cat": ("--config-dir", "--help"),
    "cp": ("--force", "--config-dir", "--help"),
    "completion": ("--help",),
    "doctor": ("--help",),
    "bench": ("--help", "--json", "--quick"),
}
_MOST_RUNS = 500  # a screen holds fewer, and a folder may hold millions
_DEEPEST = 8  # nesting of defaults lists; a cycle ends here

_SAFE = re.compile(r"[\w.,=/@+~:%-]+")  # what a shell takes as it is; other file names are not offered
_KEY = re.compile(r"( *)([A-Za-z_]\w*):(?:\s+(.*))?$")
_DEFAULT = re.compile(r"\s*-\s+(?:(?:override|optional)\s+)*/?([\w/@.]+)(?:\s*:\s*(\S+))?")


def completion(argv: Sequence[str]) -> int:
    """`coldstart completion bash|zsh|fish`: prints the script to source."""
    if list(argv) in (["--help"], ["-h"]):
        emit(f"usage: coldstart completion {{{','.join(SCRIPTS)}}}\n{INSTALL}")
        return 0
    if len(argv) != 1:
        raise RequestError(f"completion: one shell is needed; known: {', '.join(SCRIPTS)}")
    if argv[0] not in SCRIPTS:
        raise RequestError(f"completion: there is no script for {argv[0]!r}; {suggestion(argv[0], SCRIPTS)}")
    emit(SCRIPTS[argv[0]])
    return 0


def complete(argv: Sequence[str]) -> int:
    """`coldstart _complete WORD...`: prints what may stand for the last word, one a line.

    The words are those after `coldstart`; the last is the one being typed, perhaps empty.
    """
    try:
        offers = candidates(argv or [""])
    except (RequestError, OSError, UnicodeError):
        return 0  # a message amid a half-typed line would only be in the way
    emit("".join(f"{offer}\n" for offer in offers if _SAFE.fullmatch(offer)))
    return 0


def candidates(words: Sequence[str]) -> list[str]:
    """Whole words that begin with the last of `words`; those ending in = . or / go on."""
    *before, current = words
    command = next((word for word in before if not word.startswith("-")), "")
    if before and before[-1] == "--config-dir":
        return _paths(current, folders_only=True)
    if current.startswith("--config-dir="):
        head, _, path = current.partition("=")
        return [f"{head}={found}" for found in _paths(path, folders_only=True)]
    if before and before[-1] == "--cfg":
        return _beginning(current, ("job", "hydra", "all"))
    if current.startswith("-"):
        return _beginning(current, _FLAGS.get(command, _JOB_FLAGS))
    if not command:
        return _beginning(current, COMMANDS)
    if command == "completion":
        return _beginning(current, SCRIPTS)
    if command == "doctor" or before[-1] == "--tasks":
        return []
    if command == "data" and before[-1] == "data":
        return _beginning(current, ("check",))
    groups = catalogue(search_roots(_config_dirs(before)))
    if command == "ls":
        return _beginning(current, [group for group in groups if group])
    if command in ("cat", "cp"):
        arguments = [word for word in before[before.index(command) + 1 :] if not word.startswith("-")]
        if command == "cp" and arguments:
            return _paths(current, folders_only=False)
        return _addresses(current, groups)
    return _overrides(command, before, current, groups)


def _beginning(start: str, names: Sequence[str] | Mapping[str, object]) -> list[str]:
    return sorted({name for name in names if name.startswith(start)})


def _addresses(current: str, groups: Mapping[str, list[Entry]]) -> list[str]:
    known = [entry.address for entries in groups.values() for entry in entries]
    if "=" in current:  # `strategy=maml` is understood as well
        known = [f"{e.group}={e.name}" for entries in groups.values() for e in entries if e.group]
    return _beginning(current, known)


def _config_dirs(words: Sequence[str]) -> list[str]:
    pairs = itertools.pairwise([*words, ""])
    named = [
        after if word == "--config-dir" else word.partition("=")[2]
        for word, after in pairs
        if word == "--config-dir" or word.startswith("--config-dir=")
    ]
    return [name for name in named if Path(name).expanduser().is_dir()]


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


def _overrides(
    command: str, before: Sequence[str], current: str, groups: Mapping[str, list[Entry]]
) -> list[str]:
    """Overrides in Hydra's words: `group=name`, `group=name,name`, `key=value`, `+key=`."""
    bare = current.lstrip("+~")
    sign = current[: len(current) - len(bare)]
    key, equals, value = bare.partition("=")
    primary = _primary(command, before, groups)
    if equals and key == "run":
        return [f"{sign}run={path}" for path in _runs(before, primary) if path.startswith(value)]
    group = key.partition("@")[0]
    if equals and group in groups:
        chosen, comma, last = value.rpartition(",")
        names = [e.name for e in groups[group] if not comma or e.name not in chosen.split(",")]
        return [f"{sign}{key}={chosen}{comma}{name}" for name in _beginning(last, names)]
    if equals or "." in bare:
        keys = _composed(primary, _selected(primary, before, groups), groups)
        return [sign + offer for offer in (_values(key, value, keys) if equals else _next_keys(bare, keys))]
    own = _outline(primary.path) if primary else {}
    tops = {f"{name}=" for name in (*filter(None, groups), *(["run"] if command == "evaluate" else []))}
    nested = {name.partition(".")[0] for name in own if "." in name}
    tops |= {f"{name}." if name in nested else f"{name}=" for name in own if "." not in name}
    return [sign + top for top in _beginning(bare, sorted(tops - {"defaults=", "defaults.", "hydra."}))]


def _primary(command: str, before: Sequence[str], groups: Mapping[str, list[Entry]]) -> Entry | None:
    """The file that overrides change: of the run that is named, else of the command, else train.yaml."""
    for word in before:
        recorded = Path(word.removeprefix("run="), "config.yaml")
        if command == "evaluate" and word.startswith("run=") and recorded.is_file():
            return Entry("", command, recorded)
    return _entry(groups, "", command) or _entry(groups, "", "train")


def _next_keys(start: str, keys: Mapping[str, str]) -> list[str]:
    """One part of a dotted key at a time: `training.` -> `training.steps=`, `training.validation.`."""
    depth = start.count(".") + 1
    offers = set()
    for key in keys:
        parts = key.split(".")
        if key.startswith(start) and len(parts) >= depth and parts[-1] not in ("_target_", "defaults"):
            offers.add(".".join(parts[:depth]) + ("." if len(parts) > depth else "="))
    return sorted(offer for offer in offers if offer[:-1] + "." not in offers or offer[-1] == ".")


def _values(key: str, start: str, keys: Mapping[str, str]) -> list[str]:
    """The value that the YAML has; of a truth value both."""
    value = keys.get(key, "")
    offers = ["true", "false"] if value in ("true", "false") else [value] if _SAFE.fullmatch(value) else []
    return [f"{key}={offer}" for offer in _beginning(start, offers)]


def _runs(before: Sequence[str], primary: Entry | None) -> Iterator[str]:
    """Run directories below the folder of outputs, as typed from here."""
    default = _outline(primary.path).get("outputs", "") if primary else ""
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


def _outline(path: Path) -> dict[str, str]:
    """Dotted keys and scalar values of a YAML file written in block style, as all of conf is."""
    found: dict[str, str] = {}
    open_keys: list[tuple[int, str]] = []
    for line in path.read_text(encoding="utf-8", errors="replace").splitlines():
        match = _KEY.match(line)
        if match is None:
            continue
        indent, key, rest = len(match[1]), match[2], match[3] or ""
        while open_keys and open_keys[-1][0] >= indent:
            open_keys.pop()
        open_keys.append((indent, key))
        found[".".join(name for _, name in open_keys)] = (
            "" if rest[:1] == "#" else rest.split(" #")[0].strip()
        )
    return found


def _defaults(path: Path) -> Iterator[tuple[str, str]]:
    """(choice, name) of a file's defaults list; a choice is `group`, `group@package`, or empty."""
    inside = False
    for line in path.read_text(encoding="utf-8", errors="replace").splitlines():
        if inside and line.strip() and line[0] not in " -#":
            return
        match = _DEFAULT.match(line) if inside else None
        if match and match[1] != "_self_":
            yield (match[1], match[2]) if match[2] else ("", match[1])
        inside = inside or line.startswith("defaults:")


def _selected(
    primary: Entry | None, words: Sequence[str], groups: Mapping[str, list[Entry]]
) -> dict[str, str]:
    """Which name each choice has: of the primary config, then of an experiment, then as typed."""
    typed = dict(word.lstrip("+").split("=", 1) for word in words if "=" in word[1:])
    chosen = {choice: name for choice, name in (_defaults(primary.path) if primary else ()) if choice}
    experiment = _entry(groups, "experiment", typed.get("experiment", chosen.get("experiment", "")))
    if experiment:
        chosen |= {choice: name for choice, name in _defaults(experiment.path) if choice}
    return chosen | {choice: name for choice, name in typed.items() if choice.partition("@")[0] in groups}


def _composed(
    primary: Entry | None, chosen: Mapping[str, str], groups: Mapping[str, list[Entry]]
) -> dict[str, str]:
    keys = _outline(primary.path) if primary else {}
    for choice, name in chosen.items():
        group, _, package = choice.partition("@")
        if group.partition("/")[0] != "hydra":
            keys |= _keys(groups, group, name.split(",")[0], package or group.replace("/", "."), _DEEPEST)
    return keys


def _keys(
    groups: Mapping[str, list[Entry]], group: str, name: str, package: str, depth: int
) -> dict[str, str]:
    """Keys of a config below its package, with those of its own defaults list."""
    entry = _entry(groups, group, name)
    if entry is None or depth == 0:
        return {}
    keys: dict[str, str] = {}
    for choice, other in _defaults(entry.path):
        wanted, _, below = choice.partition("@")
        inner = f"{package}.{below or wanted}" if choice else package
        keys |= _keys(groups, wanted or group, other, inner, depth - 1)
    prefix = "" if group == "experiment" else f"{package}."  # experiments are `@package _global_`
    return keys | {prefix + key: value for key, value in _outline(entry.path).items()}


def _entry(groups: Mapping[str, list[Entry]], group: str, name: str) -> Entry | None:
    return next((entry for entry in groups.get(group, ()) if entry.name == name), None)
