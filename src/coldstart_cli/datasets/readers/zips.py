"""Zips that somebody else may have made: read in memory, member by member, within bounds; never unpacked."""

from __future__ import annotations

import os
import struct
import zipfile
from pathlib import Path
from typing import IO

from coldstart_cli.files.regular import regular

LARGEST_DIRECTORY = 32 << 20
"""Bytes of the list of members: room for some hundred thousand, which Python holds all at once."""
MOST_MEMBERS = 200_000
HIGHEST_RATIO = 200
"""Unpacked bytes to packed ones of a file that is compressed by itself, such as an image."""
_END, _END64, _LOCATOR64 = b"PK\x05\x06", b"PK\x06\x06", b"PK\x06\x07"


def opened(path: Path) -> zipfile.ZipFile:
    """The zip at `path`, once its list of members is known to be of a bearable length.

    Raises:
        zipfile.BadZipFile: where it is no zip, lists too many members, or one name twice.
        OSError: where it cannot be read.
    """
    with regular(path).open("rb") as stream:
        if _directory_bytes(stream) > LARGEST_DIRECTORY:
            raise zipfile.BadZipFile(f"it lists more than {LARGEST_DIRECTORY >> 20} MiB of members")
    try:
        archive = zipfile.ZipFile(path)
    except (ValueError, NotImplementedError, struct.error, UnicodeDecodeError) as error:
        raise zipfile.BadZipFile(str(error)) from error
    names = archive.namelist()
    twice = len(names) - len(set(names))
    if twice or len(names) > MOST_MEMBERS:
        archive.close()
        what = "one name twice" if twice else f"more than {MOST_MEMBERS:,} members"
        raise zipfile.BadZipFile(f"it lists {what}")
    return archive


def content(archive: zipfile.ZipFile, name: str, largest: int) -> bytes:
    """A member of at most `largest` bytes, that is compressed by itself.

    Raises:
        zipfile.BadZipFile: where it is larger, packed too densely, encrypted, or no file.
    """
    member = archive.getinfo(name)
    kind = member.external_attr >> 16 & 0o170000
    if kind not in (0, 0o100000):
        raise zipfile.BadZipFile(f"{name} is a link or a device")
    if member.file_size > largest:
        raise zipfile.BadZipFile(f"{name} has {member.file_size:,} bytes")
    if member.file_size > HIGHEST_RATIO * max(member.compress_size, 1):
        raise zipfile.BadZipFile(
            f"{name} is packed 1 to {member.file_size // max(member.compress_size, 1):,}"
        )
    try:
        return archive.read(name)
    except (RuntimeError, NotImplementedError, EOFError, ValueError, struct.error) as error:
        raise zipfile.BadZipFile(f"{name}: {error}") from error


def _directory_bytes(stream: IO[bytes]) -> int:
    """Bytes of the list of members, as the end of the file says; 0 where it says nothing."""
    size = stream.seek(0, os.SEEK_END)
    start = stream.seek(max(0, size - (1 << 16) - 22))
    tail = stream.read()
    at = tail.rfind(_END)
    if at < 0 or at + 22 > len(tail):
        return 0
    (n_bytes,) = struct.unpack_from("<L", tail, at + 12)
    locator = tail[max(0, at - 20) : at]
    if locator.startswith(_LOCATOR64):
        (place,) = struct.unpack_from("<Q", locator, 8)
        stream.seek(min(place, start + at))
        record = stream.read(56)
        if record.startswith(_END64) and len(record) == 56:
            (n_bytes,) = struct.unpack_from("<Q", record, 40)
    return int(n_bytes)
