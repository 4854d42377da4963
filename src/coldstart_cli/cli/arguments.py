"""Words of the command line: flags, key=value pairs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from coldstart_cli.datasets.readers.tables import STDIN
from coldstart_cli.errors import RequestError, suggestion


def parsed(
    command: str,
    arguments: Sequence[str],
    keys: Sequence[str],
    switches: Sequence[str],
    *,
    needed: Sequence[str],
) -> tuple[dict[str, str], set[str]]:
    """key=value pairs and flags."""
    values: dict[str, str] = {}
    flags: set[str] = set()
    for argument in arguments:
        key, equals, value = argument.partition("=")
        if argument in (*switches, "--debug"):
            flags.add(argument)
        elif equals and key in keys:
            values[key] = value
        else:
            raise RequestError(
                f"{argument}: {command} has no such key; {suggestion(key, [*keys, *switches])}"
            )
    for key in needed:
        if not values.get(key):
            example = " ".join(f"{name}={'DIR' if name == 'bundle' else 'PATH'}" for name in needed)
            raise RequestError(f"{key}: is needed; coldstart {command} {example}")
    return values, flags


def check_there(path: str) -> None:
    """Refuses an input that is not there, with a name that resembles it."""
    if path != STDIN and not Path(path).exists():
        folder = Path(path).parent
        beside = [str(folder / entry.name) for entry in folder.iterdir()] if folder.is_dir() else []
        close = suggestion(path, beside) if beside else ""
        remedy = close if close.startswith("did") else "name a file or folder of the bundle's layout, or -"
        raise RequestError(f"input: {path} is not there; {remedy}")


def choice(key: str, value: str, choices: Sequence[str]) -> Any:
    if value not in choices:
        raise RequestError(f"{key}: {value!r} is no choice; {suggestion(value, choices)}")
    return value


def share(key: str, text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = -1.0
    if not 0 <= value <= 1:
        raise RequestError(f"{key}: {text!r} is not between 0 and 1; write {key}=0.5")
    return value


@dataclass(slots=True)
class Flags:
    multirun: bool = False
    quiet: bool = False
    debug: bool = False
    dry_run: bool = False
    cfg: str | None = None
    config_dirs: list[str] = field(default_factory=list)
    overrides: list[str] = field(default_factory=list)


def parse(arguments: Sequence[str]) -> Flags:
    """
    Raises:
        RequestError: for a flag that no command has.
    """
    flags = Flags()
    switches = {"-m": "multirun", "--multirun": "multirun", "--quiet": "quiet", "-q": "quiet"}
    switches |= {"--debug": "debug", "--dry-run": "dry_run"}
    rest = iter(arguments)
    for argument in rest:
        name, equals, value = argument.partition("=")
        if argument in switches:
            setattr(flags, switches[argument], True)
        elif name in ("--cfg", "--config-dir"):
            value = value if equals else next(rest, "")
            if not value:
                raise RequestError(
                    f"{name}: needs a value; write {name} {'job' if name == '--cfg' else 'DIR'}"
                )
            if name == "--cfg":
                flags.cfg = value
            else:
                flags.config_dirs.append(value)
        elif argument.startswith("-"):
            known = [*switches, "--cfg", "--config-dir", "--help"]
            raise RequestError(f"{argument}: there is no such flag; {suggestion(argument, known)}")
        else:
            flags.overrides.append(argument)
    return flags
