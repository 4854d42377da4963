"""The cache folder: where it is and how it is kept small. Imports nothing heavy.

The folder is COLDSTART_CACHE, else XDG_CACHE_HOME/coldstart, else ~/.cache/coldstart, else one of the
user's own among temporary files.
"""

from __future__ import annotations

import contextlib
import os
import stat
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

from coldstart_cli.digests import digest
from coldstart_cli.errors import RequestError
from coldstart_cli.files.durable import PARTIAL

_DAY = 86_400.0
"""Seconds."""


def cache_folder() -> Path:
    """The cache folder; made where it is missing. One that COLDSTART_CACHE names need only be readable.

    Raises:
        RequestError: where no candidate can be used.
    """
    asked = os.environ.get("COLDSTART_CACHE")
    if asked:
        shared = Path(asked).is_dir() and os.access(asked, os.R_OK | os.X_OK)  # filled by another, to be read
        if not shared and not _usable(Path(asked), 0o777):  # one that is named may be meant for several users
            raise RequestError(f"COLDSTART_CACHE: {asked} cannot be written; name a folder of yours")
        return Path(asked)
    candidates = [
        Path(parent, *below, "coldstart")
        for parent, below in ((os.environ.get("XDG_CACHE_HOME"), ()), (os.environ.get("HOME"), (".cache",)))
        if parent and Path(parent).is_absolute()
    ]
    candidates.append(Path(tempfile.gettempdir(), f"coldstart-{_user()}"))
    for candidate in candidates:
        if _usable(candidate, 0o700):
            return candidate
    raise RequestError("COLDSTART_CACHE: no folder for cached data can be written; name a folder of yours")


def keep_newest(folder: Path, pattern: str, n_bytes: int) -> None:
    """Removes files, least recently used first, until the others take at most `n_bytes`.

    What another process removes at the same time is passed over. What processes that were killed have left is
    removed once it is a day old, when no writer can still be at it.
    """
    found = []
    for partial in folder.glob(f".*{PARTIAL}"):
        with contextlib.suppress(OSError):
            if time.time() - partial.stat().st_mtime > _DAY:
                partial.unlink()
    for path in folder.glob(pattern):
        with contextlib.suppress(OSError):
            status = path.stat()
            found.append((status.st_mtime_ns, status.st_size, path))
    left = sum(size for _, size, _ in found)
    for _, size, path in sorted(found):
        if left <= n_bytes:
            return
        with contextlib.suppress(OSError):
            path.unlink(missing_ok=True)
        left -= size


def signature(places: Sequence[Path], suffixes: tuple[str, ...] = ("",), most: int = 200_000) -> str | None:
    """A digest of path, size, times and inode of files and of all files below folders, without reading them.

    Who writes a file changes its ctime, which no program can set back; so equal signatures are equal
    contents, if the first was taken before the contents were read.

    Args:
        suffixes: of the files below folders that count.
        most: files and folders; where there are more, or one cannot be seen, the answer is None.
    """
    parts: list[bytes] = []
    left, waiting = most, [os.fspath(place) for place in reversed(places)]
    try:
        while waiting:
            place = waiting.pop()
            status, left = os.stat(place), left - 1
            if left < 0:
                return None
            if stat.S_ISDIR(status.st_mode):
                inside = sorted(os.scandir(place), key=lambda entry: entry.name)
                waiting += [e.path for e in inside if e.is_dir() or e.name.endswith(suffixes)]
                continue
            facts = f" {status.st_size} {status.st_mtime_ns} {status.st_ctime_ns} {status.st_ino}\n"
            parts.append(os.fsencode(place) + facts.encode())
    except OSError:
        return None
    return digest(parts, 64)


def _usable(folder: Path, mode: int) -> bool:
    """Whether the folder is there (or can be made), is the user's own or writable, and is no trap."""
    try:
        folder.mkdir(parents=True, exist_ok=True, mode=mode)
    except OSError:
        return False
    foreign = folder.parent == Path(tempfile.gettempdir()) and str(folder.stat().st_uid) != _user()
    return os.access(folder, os.W_OK) and (not foreign or not folder.name.startswith("coldstart-"))


def _user() -> str:
    return str(os.getuid()) if hasattr(os, "getuid") else os.environ.get("USERNAME", "user")
