"""Files that a crash cannot tear, lines that can be cut back, and JSON that any reader takes."""

from __future__ import annotations

import contextlib
import json
import math
import os
import shutil
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import IO, Any, TextIO

from coldstart_cli.errors import RequestError
from coldstart_cli.files.regular import read_bytes
from coldstart_cli.files.untrusted import DECODER, LARGEST_JSON, json_values, read_text

PARTIAL = ".partial"
"""Ends the name of what is not whole yet; a process that is killed leaves it behind."""


def write_bytes(path: Path, data: bytes | memoryview) -> None:
    """Replaces a file so that a crash at any moment leaves the old one or the new one, on disk.

    Raises:
        RequestError: if the folder cannot be written or the disk is full, naming path and bytes.
    """
    with replacing(path, len(data)) as file:
        file.write(data)


def copy_file(source: Path, path: Path) -> None:
    """A copy that replaces `path` as `write_bytes` does, whatever its size.

    Raises:
        RequestError: as `write_bytes`.
    """
    with replacing(path, source.stat().st_size) as file, source.open("rb") as original:
        shutil.copyfileobj(original, file, 1 << 20)


@contextlib.contextmanager
def replacing(path: Path, n_bytes: int) -> Iterator[IO[bytes]]:
    """A file to be filled, which takes the place of `path` once it is whole and on disk.

    Args:
        n_bytes: how many it will hold, for the message where they do not fit.

    Raises:
        RequestError: if the folder cannot be written or the disk is full, naming path and bytes.
    """
    partial = path.with_name(f".{path.name}.{os.getpid()}{PARTIAL}")
    with writing(path, n_bytes):
        try:
            with open(partial, "wb") as file:
                yield file
                file.flush()
                os.fsync(file.fileno())  # before the rename: else a crash of the machine leaves an empty file
            os.replace(partial, path)
        except BaseException:
            with contextlib.suppress(OSError):
                partial.unlink(missing_ok=True)
            raise
        sync(path.parent)  # the name, too, must be on disk before anybody relies on it


@contextlib.contextmanager
def text_file(path: Path) -> Iterator[TextIO]:
    """A new file to write text into, which is there once all of it is, and not where an error comes first.

    Raises:
        RequestError: if the folder cannot be written or the disk is full.
    """
    partial = path.with_name(f".{path.name}.{os.getpid()}{PARTIAL}")
    try:
        with writing(path, 0), open(partial, "w", encoding="utf-8", newline="") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        os.replace(partial, path)
    finally:
        with contextlib.suppress(OSError):
            partial.unlink(missing_ok=True)


@contextlib.contextmanager
def writing(path: Path, n_bytes: int) -> Iterator[None]:
    """
    Raises:
        RequestError: naming the path and the bytes that it needs, where the system refuses to write.
    """
    try:
        yield
    except OSError as error:
        raise RequestError(
            f"{path}: cannot write {n_bytes} bytes ({error.strerror}); make room, or choose outputs=DIR (E53)"
        ) from error


def sync(path: Path) -> None:
    """Waits until a file's content, or a folder's list of names, is on disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def remove(path: Path) -> None:
    """A file, a folder or nothing: whatever is there is gone.

    Raises:
        RequestError: if the system refuses.
    """
    try:
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path)
        else:
            path.unlink(missing_ok=True)
    except OSError as error:
        raise RequestError(f"{path}: cannot be removed ({error.strerror}); remove it yourself") from error


def write_json(path: Path, value: object) -> None:
    write_bytes(path, (json.dumps(finite(value), indent=2) + "\n").encode())


def finite(value: object) -> object:
    """The same with null for every number that JSON does not know: a loss that diverged is infinite."""
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, Mapping):
        return {str(key): finite(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [finite(item) for item in value]
    return value


def append_jsonl(path: Path, row: Mapping[str, object]) -> int:
    """Appends one line and returns its length in bytes.

    Raises:
        RequestError: if the file cannot be written or the disk is full, naming path and bytes.
    """
    data = (json.dumps(finite(row)) + "\n").encode()
    with writing(path, len(data)), open(path, "ab") as file:
        file.write(data)
    return len(data)


def read_jsonl(path: Path) -> list[dict[str, Any]]:
    """The rows of a file of lines, without what a crash left of the last one; none where there is no file.

    Raises:
        RequestError: where it cannot be read.
    """
    if not path.exists():
        return []
    rows = []
    try:
        text = read_bytes(path).decode(errors="replace")
    except OSError as error:
        raise RequestError(f"{path}: cannot be read ({error.strerror}); repair or remove it") from error
    for line in text.splitlines():
        with contextlib.suppress(ValueError, RecursionError):
            rows.append(DECODER.decode(line))
    return [row for row in rows if isinstance(row, dict)]


def truncate(path: Path, length: int) -> int:
    """Cuts a file of lines to what a checkpoint knows of, and returns its length: less, where lines are lost.

    Raises:
        RequestError: if the file cannot be written.
    """
    with writing(path, length), open(path, "ab") as file:
        if file.tell() < length:  # a crash of the machine; half a line would spoil the next one
            length = path.read_bytes().rfind(b"\n") + 1
        file.truncate(length)
    return length


def read_json(path: Path, key: str, remedy: str = "train again with again=true") -> dict[str, Any]:
    """A file's one JSON object.

    Raises:
        RequestError: naming `key` and the file that is missing or damaged.
    """
    try:
        value = json_values(read_text(path, LARGEST_JSON))
    except FileNotFoundError as error:
        raise RequestError(
            f"{key}: {path.parent} is not a run directory (it has no {path.name}); name one below outputs "
            "(E31)"
        ) from error
    except (OSError, ValueError) as error:
        raise RequestError(f"{key}: {path} is damaged; {remedy} (E32)") from error
    if not isinstance(value, dict):
        raise RequestError(f"{key}: {path} is damaged; {remedy} (E32)")
    return value


def umask() -> int:
    """The process's mask for new files, which can be read only by setting it."""
    mask = os.umask(0)
    os.umask(mask)
    return mask


def flat(config: Mapping[str, Any], above: str = "") -> dict[str, Any]:
    """Nested keys in one level, joined by dots."""
    found: dict[str, Any] = {}
    for key, value in config.items():
        if isinstance(value, Mapping) and value:
            found |= flat(value, f"{above}{key}.")
        else:
            found[f"{above}{key}"] = value
    return found
