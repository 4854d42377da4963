"""The configurations at hand: `coldstart ls`, `cat` and `cp`.

It reads only folders and first lines, and imports nothing heavy, because a person waits for the answer.
"""

from __future__ import annotations

import importlib.util
import itertools
import os
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from coldstart_cli.errors import RequestError, suggestion
from coldstart_cli.files.regular import beginning
from coldstart_cli.package import packaged_conf
from coldstart_cli.safe_text import printable

PLUGIN_GROUP = "coldstart.plugins"
_HYDRA = "hydra"  # its subfolders (hydra/launcher) are groups; elsewhere they are parts of names
SEARCH = "search"
"""The group whose files are read by `tune` alone: `search=maml` chooses nothing."""
CANDIDATES = "candidates"
"""The group whose files are read by `choose` alone."""
READ_BY_ONE = (SEARCH, CANDIDATES)
"""Groups whose files one command reads by itself: no word chooses them, and their keys are not typed."""
_SKIPPED = ("@package", "@package:")


@dataclass(frozen=True, slots=True)
class Entry:
    """One configuration that can be chosen as `group=name`.

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
        """Its name for `cat` and `cp`."""
        return f"{self.group}/{self.name}" if self.group else self.name

    @property
    def head(self) -> list[str]:
        """The comment lines that the file begins with, without `# @package` lines."""
        try:
            start = beginning(self.path)
        except OSError:  # told by whoever reads all of it
            return []
        filled = [line for line in start.splitlines() if line.strip()]
        comments = itertools.takewhile(lambda line: line.startswith("#"), filled)
        texts = [line.lstrip("#").strip() for line in comments]
        return [printable(text) for text in texts if not text.startswith(_SKIPPED)]

    @property
    def description(self) -> str:
        """The first line of its head that says something, or nothing."""
        return next(filter(None, self.head), "")


def plugin_confs() -> list[Path]:
    """The conf folder of every package registered in the entry point group `coldstart.plugins`."""
    from importlib.metadata import entry_points  # late: takes half the time of a whole `ls`

    found = []
    for entry in sorted(entry_points(group=PLUGIN_GROUP), key=lambda point: point.name):
        top, _, below = entry.value.partition(":")[0].partition(".")
        spec = importlib.util.find_spec(top)  # finds without importing
        places = list(spec.submodule_search_locations or ()) if spec else []
        folders = [Path(place, *filter(None, below.split(".")), "conf") for place in places]
        found += [folder for folder in folders if folder.is_dir()]
    return found


def search_roots(config_dirs: Sequence[str] = ()) -> list[Path]:
    """Folders of configurations; as in Hydra, the first of two equal names counts.

    Raises:
        RequestError: where one of `config_dirs` is not a folder.
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
        # In place: os.walk then skips hidden folders and keeps to this order.
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


def nearest_group(missing: str, listed: Sequence[str]) -> tuple[str, str, Sequence[str]]:
    """(group, name in it, the names to suggest) for a config that is not there.

    Args:
        missing: `group/name`, where the group's folder may itself be misspelt.
        listed: what Hydra lists, which for a nested group are those of the outer one.
    """
    group, _, name = missing.rpartition("/")
    if not re.fullmatch(r"[a-z_]+(/\w{1,40})+", group):
        return group, name, listed
    within = [path.stem for path in (packaged_conf() / group).glob("*.yaml")]
    if not within:
        group, _, name = missing.partition("/")
        root = packaged_conf() / group
        within = [path.relative_to(root).with_suffix("").as_posix() for path in root.rglob("*.yaml")]
    return group, name, within or listed
