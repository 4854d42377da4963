"""Arrays that are dear to make and cheap to keep: made once, checked at every load.

Files appear by renaming, so a reader never sees half a file.
"""

from __future__ import annotations

import contextlib
import itertools
import logging
import os
import struct
import zipfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from coldstart_cli.digests import digest
from coldstart_cli.errors import RequestError
from coldstart_cli.files.caching import cache_folder
from coldstart_cli.files.durable import replacing
from coldstart_cli.files.locks import locked

Arrays = dict[str, NDArray[Any]]

_log = logging.getLogger(__name__)
_DIGEST = "sha256"
_MAPPED = 1 << 20  # bytes; smaller arrays are read


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
            kept = _load(path, warn=False) or kept  # mapped, as later readers have it
    return kept


def _load(path: Path, *, warn: bool) -> Arrays | None:
    """The arrays of a file, or None where it is missing or not what was written."""
    if not path.exists():
        return None
    try:
        # Opened here, because numpy leaves a damaged file open.
        with path.open("rb") as stream, np.load(stream, allow_pickle=False) as file:
            arrays: Arrays = {}
            for key in file.files:
                mapped = _mapped(path, key)
                arrays[key] = file[key] if mapped is None else mapped
        if arrays.pop(_DIGEST).item() == _digest(arrays):
            return arrays
        reason = "its content does not match its sha256"
    except Exception as error:  # flipped bits of a zip raise nearly anything
        reason = f"it cannot be read ({type(error).__name__})"
    if warn:
        _log.warning("%s: %s; it is made again", path, reason)
    return None


def _mapped(path: Path, name: str) -> NDArray[Any] | None:
    """A large array of an uncompressed .npz as a map of the file, or None where that cannot be.

    Processes that read the same file share its pages: a sweep's children hold one copy. The map is private:
    nothing is written to the file, which is only ever replaced as a whole.
    """
    with path.open("rb") as stream, zipfile.ZipFile(stream) as archive:
        member = archive.getinfo(f"{name}.npy")
        if member.compress_type != zipfile.ZIP_STORED or member.file_size < _MAPPED:
            return None
        # The local header has lengths of its own (APPNOTE.TXT, 4.3.7): 30 bytes, name, extra field, data.
        stream.seek(member.header_offset + 26)
        stream.seek(sum(struct.unpack("<HH", stream.read(4))), os.SEEK_CUR)
        if np.lib.format.read_magic(stream) != (1, 0):
            return None
        shape, fortran, dtype = np.lib.format.read_array_header_1_0(stream)
        if fortran or dtype.hasobject or stream.tell() % dtype.alignment:
            return None
        return np.memmap(path, dtype=dtype, mode="c", offset=stream.tell(), shape=shape)


def _save(path: Path, arrays: Arrays) -> None:
    """Keeps the arrays for all whom the umask lets read; where that cannot be, they live in memory alone.

    A cache that another user has filled is often one that cannot be written.
    """
    for partial in path.parent.glob(f".{path.name}.*"):  # of processes that were killed: the lock is ours
        with contextlib.suppress(OSError):
            partial.unlink()
    try:
        with replacing(path, sum(array.nbytes for array in arrays.values())) as file:
            np.savez(file, **{_DIGEST: np.array(_digest(arrays))}, **arrays)  # type: ignore[arg-type]
    except RequestError as error:
        why = getattr(error.__cause__, "strerror", error)
        _log.warning("COLDSTART_CACHE: %s cannot be written (%s); what was computed is not kept", path, why)


def _digest(arrays: Mapping[str, NDArray[Any]]) -> str:
    named = [(f"{name} {array.dtype.str} {array.shape} ", array) for name, array in sorted(arrays.items())]
    return digest(itertools.chain.from_iterable(named), 64)
