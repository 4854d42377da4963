"""Files that are opened only where they are files: what waits, or never ends, is refused at once.

A run, a bundle, a folder of configs or of data may hold a FIFO under any name. Opening it blocks until
somebody writes, and reading a device such as /dev/zero never ends. Every reader of a file that somebody else
may have put there opens it here, or asks `regular` before a library opens it by name.
"""

from __future__ import annotations

import errno
import os
import stat
from pathlib import Path
from typing import BinaryIO

KINDS = (
    (stat.S_ISDIR, "a folder"),
    (stat.S_ISFIFO, "a FIFO"),
    (stat.S_ISSOCK, "a socket"),
    (stat.S_ISCHR, "a device"),
    (stat.S_ISBLK, "a device"),
)


def regular(path: Path) -> Path:
    """The same path, for a library that opens it by name.

    Raises:
        OSError: where it is missing, or is something else than a file (links are followed).
    """
    _check(os.stat(path).st_mode, path)
    return path


def opened(path: Path) -> BinaryIO:
    """A file opened for reading bytes; it never waits.

    Raises:
        OSError: where it is missing, cannot be read, is something else than a file, or larger than this
            machine's memory, as a sparse file of a few bytes on disk may be.
    """
    regular(path)  # before it is opened: opening alone may already act on a device
    # It may have been exchanged since: without O_NONBLOCK, opening a FIFO waits for a writer.
    stream = os.fdopen(os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC), "rb")
    try:
        status = os.fstat(stream.fileno())
        _check(status.st_mode, path)
        if status.st_size > _memory():
            raise OSError(errno.EFBIG, "it is larger than this machine's memory", str(path))
    except BaseException:
        stream.close()
        raise
    return stream


def read_bytes(path: Path) -> bytes:
    """The content of a file.

    Raises:
        OSError: as `opened`.
    """
    with opened(path) as stream:
        return stream.read()


def beginning(path: Path) -> str:
    """The first MiB of a text file, what is not UTF-8 in it replaced.

    Raises:
        OSError: as `opened`.
    """
    with opened(path) as stream:
        return stream.read(1 << 20).decode(errors="replace")


def check_no_loop(folder: Path) -> None:
    """Refuses a folder that is a link to one that it lies in: whoever walks into it comes back for ever.

    Raises:
        OSError: where it is.
    """
    if folder.is_symlink() and folder.parent.resolve().is_relative_to(folder.resolve()):
        raise OSError(errno.ELOOP, "it is a link to a folder that it lies in", str(folder))


def _check(mode: int, path: Path) -> None:
    if not stat.S_ISREG(mode):
        kind = next((name for is_kind, name in KINDS if is_kind(mode)), "something else")
        # As from open() of a folder, so that readers which name a folder in their own words still do.
        number = errno.EISDIR if stat.S_ISDIR(mode) else errno.EINVAL
        raise OSError(number, f"it is {kind}, not a file", str(path))


def _memory() -> int:
    """Bytes of this machine's memory."""
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
