"""What lies in the cache folder, as entries with sizes that can be removed one by one.

Only names that this package gives are entries: COLDSTART_CACHE may name a folder that holds more.
"""

from __future__ import annotations

import contextlib
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import final

from coldstart_cli.errors import RequestError
from coldstart_cli.files.durable import remove
from coldstart_cli.files.locks import locked
from coldstart_cli.files.sizes import n_bytes

_DIGEST = r"-[0-9a-f]{8,64}"
KINDS = {
    "features": (rf"features{_DIGEST}\.npz", "features of frozen encoders"),
    "images": (rf"images{_DIGEST}\.bin", "images of folders and lists, decoded"),
    "gguf": (rf"gguf{_DIGEST}", "language models of GGUF files, converted"),
    "datasets": (rf"(glyphs|omniglot){_DIGEST}\.npz", "data sets, drawn or decoded"),
    "downloads": (r"(banking77|clinc150|omniglot)-[\w.]+\.(csv|json|zip)", "files of published data sets"),
    "compiled": (r"compiled", "steps of training, compiled (hardware.compile)"),
    "baselines": (r"baselines", "records of baselines, measured once"),
    "finished": (r"finished", "which run answers which command"),
}
"""kind -> the names of its entries, and what they are."""
_BESIDE = rf"\w+{_DIGEST}\.(lock|json)|.*\.lock"


@final
@dataclass(frozen=True, slots=True)
class CacheEntry:
    """A file or a folder of the cache.

    Attributes:
        written: in seconds since 1970.
    """

    name: str
    kind: str
    path: Path
    n_bytes: int
    written: float


def cache_entries(folder: Path) -> tuple[list[CacheEntry], int]:
    """The entries of a cache folder, by name; and how many places in it are not this package's."""
    found, others = [], 0
    for path in sorted(folder.iterdir()):
        kind = next((k for k, (names, _) in KINDS.items() if re.fullmatch(names, path.name)), None)
        if kind is None or path.is_symlink():
            others += not (path.name.startswith(".") or re.fullmatch(_BESIDE, path.name))
            continue
        size = n_bytes(path) + sum(n_bytes(place) for place in _beside(path))
        found.append(CacheEntry(path.name, kind, path, size, path.lstat().st_mtime))
    return found, others


def remove_entry(entry: CacheEntry) -> None:
    """Removes an entry and what lies beside it, once nobody is making it; who has it open keeps it.

    Raises:
        RequestError: where the system refuses.
    """
    beside = _beside(entry.path)
    with contextlib.ExitStack() as stack:
        for place in beside:
            if place.suffix == ".lock":
                stack.enter_context(locked(place))
        for place in (entry.path, *beside):
            remove(place)


def _beside(path: Path) -> list[Path]:
    """Its lock, and what was noted of decoded images."""
    stem = path.stem if path.suffix else path.name
    places = [path.with_name(f"{stem}{suffix}") for suffix in (".lock", ".json")]
    return [place for place in places if place != path and place.is_file() and not place.is_symlink()]


def chosen(entries: Sequence[CacheEntry], words: Sequence[str]) -> list[CacheEntry]:
    """The entries that words name, by their own name or their kind's; all without words.

    Raises:
        RequestError: for a word that names none.
    """
    for word in words:
        if word not in KINDS and all(entry.name != word for entry in entries):
            raise RequestError(f"cache: {word} is no entry and no kind of one; known: {', '.join(KINDS)}")
    return [entry for entry in entries if not words or entry.name in words or entry.kind in words]
