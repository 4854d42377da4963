"""`coldstart ls`, `cat` and `cp`: the configurations at hand."""

from __future__ import annotations

import json
import os
import shlex
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path

from coldstart_cli.cli.output import emit
from coldstart_cli.cli.parsing import Namespace, Parser, a_file, a_group, an_address
from coldstart_cli.config.catalog import Entry, catalogue, find, search_roots
from coldstart_cli.errors import RequestError, suggestion
from coldstart_cli.files.regular import opened, read_bytes


def add(program: Parser) -> None:
    """The commands and their flags."""
    ls = program.command(
        "ls",
        run_ls,
        "strategies by family, models, data sets, ..., one line each",
        examples=("coldstart ls", "coldstart ls strategy --json"),
    )
    ls.place("group", nargs="?", metavar="GROUP", type=a_group, help="list this group only")
    ls.flag("--json", action="store_true", help="print JSON: group -> name, family, description, path")
    cat = program.command("cat", run_cat, "print a config", examples=("coldstart cat strategy/maml",))
    cp = program.command(
        "cp",
        run_cp,
        "copy a config, to start one of your own",
        examples=("coldstart cp strategy/maml my/strategy/mine.yaml",),
    )
    for command in (cat, cp):
        command.place("config", metavar="GROUP/NAME", type=an_address, help="strategy/maml or strategy=maml")
    cp.place("target", metavar="FILE", type=a_file, help="a .yaml file, or a folder; folders are made")
    cp.flag("--force", action="store_true", help="overwrite the target")
    for command in (ls, cat, cp):
        command.config_dir()


def run_ls(arguments: Namespace) -> int:
    """Every choice of every group, or of one."""
    everything = catalogue(search_roots(arguments.config_dir))
    groups = {name: entries for name, entries in everything.items() if name}
    if arguments.group is not None:
        wanted = arguments.group.rstrip("/=")
        if wanted not in groups:
            raise RequestError(f"ls: there is no group '{wanted}'; {suggestion(wanted, groups)}")
        groups = {wanted: groups[wanted]}
    from coldstart_cli.config.families import by_family

    families = {name: by_family(entries, everything) for name, entries in groups.items()}
    emit(_as_json(families) if arguments.json else _as_text(families))
    return 0


Families = Mapping[str | None, Sequence[Entry]]


def _as_json(groups: Mapping[str, Families]) -> str:
    rows = {
        group: [
            {"name": e.name, "family": family, "description": e.description, "path": str(e.path)}
            for family, entries in families.items()
            for e in entries
        ]
        for group, families in groups.items()
    }
    return json.dumps(rows, indent=2) + "\n"


def _as_text(groups: Mapping[str, Families]) -> str:
    width = max((len(e.name) for f in groups.values() for entries in f.values() for e in entries), default=0)
    blocks = []
    for group, families in groups.items():
        lines = [group]
        for family, entries in families.items():
            if len(families) > 1:
                lines.append(f" {family or 'others'}")
            lines += [f"  {e.name:{width}}  {e.description}".rstrip() for e in entries]
        blocks.append("\n".join(lines))
    return "\n\n".join(blocks) + "\n"


def run_cat(arguments: Namespace) -> int:
    """Prints the file as it is."""
    path = find(arguments.config, search_roots(arguments.config_dir)).path
    try:
        text = read_bytes(path).decode(errors="replace")
    except OSError as error:
        raise RequestError(f"{path}: cannot be read ({error.strerror}); choose another") from error
    emit(text)
    return 0


def run_cp(arguments: Namespace) -> int:
    """Copies the file and says how to use the copy."""
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
        with opened(source) as original, target.open("wb" if force else "xb") as copy:
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
        return f"{entry.name} itself is read from the package alone; change its values on the command line"
    group = Path(entry.group).parts
    above = target.absolute().parent.parts
    for end in range(len(above), len(group) - 1, -1):
        if above[end - len(group) : end] == group:
            root = Path(*above[: end - len(group)])
            name = "/".join((*above[end:], target.stem))
            shown = os.path.relpath(root) if root.is_relative_to(Path.cwd()) else root
            return f"use it: coldstart train --config-dir {shlex.quote(str(shown))} {entry.group}={name}"
    return (
        f"to use it: move it into a folder DIR/{entry.group}/, then "
        f"coldstart train --config-dir DIR {entry.group}={target.stem}"
    )
