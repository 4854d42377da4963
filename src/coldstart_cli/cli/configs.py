"""`coldstart ls`, `cat` and `cp`: the configurations at hand."""

from __future__ import annotations

import argparse
import json
import os
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import NoReturn

from coldstart_cli.cli.output import emit
from coldstart_cli.config.catalog import Entry, catalogue, find, search_roots
from coldstart_cli.errors import RequestError, suggestion


def ls(argv: Sequence[str]) -> int:
    """`coldstart ls [group] [--json] [--config-dir DIR]`: every choice, one line each."""
    parser = _Parser(prog="coldstart ls", description="List the configurations, one line each.")
    parser.add_argument("group", nargs="?", help="list this group only")
    parser.add_argument("--json", action="store_true", help="print JSON: group -> name, description, path")
    arguments = parser.parse_args(argv)
    groups = {g: e for g, e in catalogue(search_roots(arguments.config_dir)).items() if g}
    if arguments.group is not None:
        group = arguments.group.rstrip("/=")
        if group not in groups:
            raise RequestError(f"ls: there is no group '{group}'; {suggestion(group, groups)}")
        groups = {group: groups[group]}
    emit(_as_json(groups) if arguments.json else _as_text(groups))
    return 0


def _as_json(groups: dict[str, list[Entry]]) -> str:
    rows = {
        group: [{"name": e.name, "description": e.description, "path": str(e.path)} for e in entries]
        for group, entries in groups.items()
    }
    return json.dumps(rows, indent=2) + "\n"


def _as_text(groups: dict[str, list[Entry]]) -> str:
    width = max((len(e.name) for entries in groups.values() for e in entries), default=0)
    blocks = [
        "\n".join([group, *(f"  {e.name:{width}}  {e.description}".rstrip() for e in entries)])
        for group, entries in groups.items()
    ]
    return "\n\n".join(blocks) + "\n"


def cat(argv: Sequence[str]) -> int:
    """`coldstart cat strategy/maml`: prints a configuration."""
    parser = _Parser(prog="coldstart cat", description="Print a configuration.")
    parser.add_argument("config", help="strategy/maml or strategy=maml")
    arguments = parser.parse_args(argv)
    emit(find(arguments.config, search_roots(arguments.config_dir)).path.read_text(encoding="utf-8"))
    return 0


def cp(argv: Sequence[str]) -> int:
    """`coldstart cp strategy/maml ./my/strategy/mine.yaml`: a configuration to start one's own from."""
    parser = _Parser(prog="coldstart cp", description="Copy a configuration, to start one of your own.")
    parser.add_argument("config", help="strategy/maml or strategy=maml")
    parser.add_argument("target", help="a .yaml file, or a folder; folders are made")
    parser.add_argument("--force", action="store_true", help="overwrite the target")
    arguments = parser.parse_args(argv)
    entry = find(arguments.config, search_roots(arguments.config_dir))
    target = Path(arguments.target).expanduser()
    if target.is_dir() or arguments.target.endswith("/"):
        target = target / entry.path.name
    if target.suffix != ".yaml":
        raise RequestError(f"{target}: a configuration ends in .yaml; name it {target.name}.yaml")
    _copy(entry.path, target, arguments.force)
    emit(f"{target}: copied from {entry.address}\n{_next_step(entry, target)}\n")
    return 0


def _copy(source: Path, target: Path, force: bool) -> None:
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        with source.open("rb") as original, target.open("wb" if force else "xb") as copy:
            shutil.copyfileobj(original, copy)
    except FileExistsError:
        # also a folder to be made that is a file: --force would not help there
        remedy = "--force overwrites it" if target.is_file() else "choose another place"
        raise RequestError(f"{target}: is there already; {remedy}") from None
    except OSError as error:
        raise RequestError(f"{target}: {error.strerror}; choose another place") from None


def _next_step(entry: Entry, target: Path) -> str:
    """How to use the copy: Hydra finds it where it lies in a folder named as its group."""
    if not entry.group:
        return f"use it: coldstart train --config-dir {target.parent} --config-name {target.stem}"
    group = Path(entry.group).parts
    above = target.absolute().parent.parts
    for end in range(len(above), len(group) - 1, -1):
        if above[end - len(group) : end] == group:
            root = Path(*above[: end - len(group)])
            name = "/".join((*above[end:], target.stem))
            shown = os.path.relpath(root) if root.is_relative_to(Path.cwd()) else root
            return f"use it: coldstart train --config-dir {shown} {entry.group}={name}"
    return (
        f"to use it: move it into a folder DIR/{entry.group}/, then "
        f"coldstart train --config-dir DIR {entry.group}={target.stem}"
    )


class _Parser(argparse.ArgumentParser):
    """Refuses in one line, and knows the option that all commands here share."""

    def __init__(self, prog: str, description: str) -> None:
        super().__init__(prog=prog, description=description, allow_abbrev=False)
        self.add_argument(
            "--config-dir", action="append", default=[], metavar="DIR", help="a folder of configurations more"
        )

    def error(self, message: str) -> NoReturn:
        name = self.prog.split()[-1]
        raise RequestError(f"{name}: {message}; see {self.prog} --help")
