"""Arrays that are dear to make and cheap to keep: made once, checked at every load.

The folder is COLDSTART_CACHE, else XDG_CACHE_HOME/coldstart, else ~/.cache/coldstart, else one of the
user's own among temporary files. Files appear by renaming, so a reader never sees half a file.
"""

from __future__ import annotations

import contextlib
import hashlib
import logging
import os
import tempfile
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from coldstart_cli.errors import RequestError

Arrays = dict[str, NDArray[Any]]

_log = logging.getLogger(__name__)
_DIGEST = "sha256"


def cache_folder() -> Path:
    """The cache folder; made where it is missing. One that COLDSTART_CACHE names need only be readable.

    Raises:
        RequestError: where no candidate can be used.
    """
    asked = os.environ.get("COLDSTART_CACHE")
    if asked:
        shared = Path(asked).is_dir() and os.access(asked, os.R_OK | os.X_OK)  # filled by another, to be read
        if not shared and not _usable(Path(asked)):
            raise RequestError(f"COLDSTART_CACHE: {asked} cannot be written; name a folder of yours")
        return Path(asked)
    candidates = [
        Path(parent, *below, "coldstart")
        for parent, below in ((os.environ.get("XDG_CACHE_HOME"), ()), (os.environ.get("HOME"), (".cache",)))
        if parent and Path(parent).is_absolute()
    ]
    candidates.append(Path(tempfile.gettempdir(), f"coldstart-{_user()}"))
    for candidate in candidates:
        if _usable(candidate):
            return candidate
    raise RequestError("COLDSTART_CACHE: no folder for cached data can be written; name a folder of yours")


def load_or_make(name: str, make: Callable[[], Arrays]) -> Arrays:
    """The arrays kept as `name`, made if they are missing or damaged.

    Two processes that start together both get them: one makes them while the other waits, and where
    the file system knows no locks both make them and the later file stays.
    """
    path = cache_folder() / f"{name}.npz"
    kept = _load(path, warn=False)
    if kept is not None:
        return kept
    with locked(path.with_suffix(".lock")):
        kept = _load(path, warn=True)
        if kept is None:
            kept = make()
            _save(path, kept)
    return kept


def _load(path: Path, *, warn: bool) -> Arrays | None:
    """The arrays of a file, or None where it is missing or not what was written."""
    if not path.exists():
        return None
    try:
        # Opened here, because numpy leaves a damaged file open.
        with path.open("rb") as stream, np.load(stream, allow_pickle=False) as file:
            arrays: Arrays = {key: file[key] for key in file.files}
        if arrays.pop(_DIGEST).item() == _digest(arrays):
            return arrays
        reason = "its content does not match its sha256"
    except Exception as error:  # flipped bits of a zip raise nearly anything
        reason = f"it cannot be read ({type(error).__name__})"
    if warn:
        _log.warning("%s: %s; it is made again", path, reason)
    return None


def _save(path: Path, arrays: Arrays) -> None:
    temporary = None
    try:
        with tempfile.NamedTemporaryFile(dir=path.parent, prefix=f".{path.name}.", delete=False) as file:
            temporary = Path(file.name)
            np.savez(file, **{_DIGEST: np.array(_digest(arrays))}, **arrays)  # type: ignore[arg-type]
        temporary.replace(path)
    except OSError as error:
        if temporary is not None:
            temporary.unlink(missing_ok=True)
        raise RequestError(
            f"COLDSTART_CACHE: {path} cannot be written ({error.strerror}); name another folder"
        ) from error


def _digest(arrays: Mapping[str, NDArray[Any]]) -> str:
    digest = hashlib.sha256()
    for name, array in sorted(arrays.items()):
        digest.update(f"{name} {array.dtype.str} {array.shape} ".encode())
        digest.update(array.tobytes())
    return digest.hexdigest()


@contextlib.contextmanager
def locked(path: Path) -> Iterator[None]:
    """Holds the lock file where the system has such locks; a lock dies with its process."""
    with contextlib.ExitStack() as stack:
        with contextlib.suppress(ImportError, OSError):
            import fcntl

            file = stack.enter_context(path.open("w"))
            fcntl.flock(file, fcntl.LOCK_EX)
        yield


def _usable(folder: Path) -> bool:
    """Whether the folder is there (or can be made), is the user's own or writable, and is no trap."""
    try:
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    except OSError:
        return False
    foreign = folder.parent == Path(tempfile.gettempdir()) and str(folder.stat().st_uid) != _user()
    return os.access(folder, os.W_OK) and (not foreign or not folder.name.startswith("coldstart-"))


def _user() -> str:
    return str(os.getuid()) if hasattr(os, "getuid") else os.environ.get("USERNAME", "user")
