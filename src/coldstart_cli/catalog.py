"""The configurations at hand: `coldstart ls`, `cat` and `cp`.

Reads folders and first lines only. Nothing heavy is imported, because a person waits for the answer.
"""

from __future__ import annotations

import argparse
import importlib.util
import io
import json
import os
import shutil
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NoReturn

from coldstart_cli.errors import RequestError, suggestion

PLUGIN_GROUP = "coldstart.plugins"
_HYDRA = "hydra"  # its subfolders (hydra/launcher) are groups; elsewhere they are parts of names
_SKIPPED = ("@package", "@package:")


@dataclass(frozen=True, slots=True)
class Entry:
    """One configuration that may be chosen as `group=name`.

    Attributes:
        group: `strategy`, `hydra/launcher`, or empty for a primary config such as train.
        name: its name in the group; `paper/x` for a nested one.
        path: the YAML file.
    """

    group: str
    name: str
    path: Path

    @property
    def address(self) -> str:
        """What `cat` and `cp` call it."""
        return f"{self.group}/{self.name}" if self.group else self.name

    @property
    def description(self) -> str:
        """The first comment line of the file that is no `@package` line, or nothing."""
        with self.path.open(encoding="utf-8", errors="replace") as lines:
            for line in lines:
                if not line.startswith("#"):
                    if line.strip():
                        return ""
                    continue
                text = line.lstrip("#").strip()
                if text and not text.startswith(_SKIPPED):
                    # a foreign file may hold control characters, which a terminal would obey
                    return "".join(letter for letter in text if letter.isprintable())
        return ""


def packaged_conf() -> Path:
    """The package's own conf: inside an installed package, at the top of a checkout.

    Raises:
        RequestError: where neither is there.
    """
    package = Path(__file__).resolve().parent
    for folder in (package / "conf", package.parents[1] / "conf"):
        if (folder / "__init__.py").is_file():
            return folder
    raise RequestError(f"{package / 'conf'}: the configurations are missing; install coldstart-cli again")


def plugin_confs() -> list[Path]:
    """The conf folder of every package registered in the entry point group `coldstart.plugins`."""
    from importlib.metadata import entry_points  # takes half of the time of a whole `ls`

    found = []
    for entry in sorted(entry_points(group=PLUGIN_GROUP), key=lambda point: point.name):
        top, _, below = entry.value.partition(":")[0].partition(".")
        spec = importlib.util.find_spec(top)  # finds without importing
        places = list(spec.submodule_search_locations or ()) if spec else []
        folders = [Path(place, *filter(None, below.split(".")), "conf") for place in places]
        found += [folder for folder in folders if folder.is_dir()]
    return found


def search_roots(config_dirs: Sequence[str] = ()) -> list[Path]:
    """Folders of configurations; as with Hydra, of two equal names the first is taken.

    Raises:
        RequestError: where a folder of `config_dirs` is none.
    """
    extra = [Path(name).expanduser() for name in config_dirs]
    for folder in extra:
        if not folder.is_dir():
            raise RequestError(f"--config-dir: {folder} is not a folder; name one that holds strategy/, ...")
    return [packaged_conf(), *extra, *plugin_confs()]


def catalogue(roots: Sequence[Path]) -> dict[str, list[Entry]]:
    """Every group with its entries, both sorted; the group "" holds the primary configs."""
    found: dict[str, dict[str, Entry]] = {}
    for root in roots:
        for entry in _entries(root):
            found.setdefault(entry.group, {}).setdefault(entry.name, entry)
    return {group: sorted(found[group].values(), key=lambda e: e.name) for group in sorted(found)}


def _entries(root: Path) -> Iterator[Entry]:
    for folder, folders, files in os.walk(root):
        folders[:] = sorted(name for name in folders if name[0] not in "._")
        parts = Path(folder).relative_to(root).parts
        width = 2 if parts[:1] == (_HYDRA,) else 1
        for file in files:
            name = file.removesuffix(".yaml")
            if name != file and name[:1] not in ("", ".", "_"):
                yield Entry("/".join(parts[:width]), "/".join((*parts[width:], name)), Path(folder, file))


def find(address: str, roots: Sequence[Path]) -> Entry:
    """The entry called `strategy/maml`, `strategy=maml`, `strategy/maml.yaml` or `train`.

    Raises:
        RequestError: where there is none.
    """
    wanted = address.replace("=", "/", 1).removesuffix(".yaml")
    known = {entry.address: entry for entries in catalogue(roots).values() for entry in entries}
    if wanted in known:
        return known[wanted]
    group = wanted.rpartition("/")[0]
    siblings = [name for name in known if group and name.startswith(f"{group}/")]
    raise RequestError(f"{address}: there is no such configuration; {suggestion(wanted, siblings or known)}")


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


def emit(text: str) -> None:
    """Prints to stdout; whoever reads may have gone (`| head`), and a letter may have no encoding."""
    if sys.stdout is None:  # closed by the caller
        return
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="replace")
    try:
        sys.stdout.write(text)
        sys.stdout.flush()
    except BrokenPipeError:
        # else the interpreter complains when it flushes at its end
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


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
