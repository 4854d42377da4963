"""Files that a user told a command to write: a report, an exported program, predictions.

The place may be anything that a shell accepts. What is a file is replaced whole or not at all, keeping its
permissions, and where the place is a link, the file that it leads to; what is a device or a pipe is written
through; what is read-only is refused, also where the user is root, whom the system does not stop.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import re
import shutil
import stat
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import IO

from coldstart_cli.errors import RequestError
from coldstart_cli.files.durable import PARTIAL, sync

_OWN = re.compile(r"/dev/(?:fd|stdin|stdout|stderr)(?:/(\d+))?|/proc/(?:self|\d+)/fd/(\d+)")
_NUMBERS = {"/dev/stdin": 0, "/dev/stdout": 1, "/dev/stderr": 2}


def write_output(path: Path, data: bytes, key: str) -> None:
    """Writes a file that the user named.

    Raises:
        RequestError: as `output`.
    """
    with output(path, key) as partial:
        partial.write_bytes(data)


@contextlib.contextmanager
def output(path: Path, key: str) -> Iterator[Path]:
    """A path to write to, whose content becomes that of `path` once the block has ended without an error.

    It lies in a folder of its own under the name of `path`; what else is written there (an exported program
    may keep large tensors beside it) goes the same way, into the folder of `path`.

    Args:
        key: of the request, which names the file in messages.

    Raises:
        RequestError: as `check_output`, and where the system refuses to write, naming the bytes.
    """
    check_output(path, key)
    target = Path(os.path.realpath(path))
    stream = is_stream(path)
    place = tempfile.TemporaryDirectory() if stream else _partial_folder(target.parent, path.name)
    with _refusals(path, key, None), place as folder:
        partial = Path(folder, path.name)
        yield partial
        with _refusals(path, key, sum(file.stat().st_size for file in partial.parent.iterdir())):
            if stream:
                _write_through(partial, path)
            else:
                _put(partial, target)


def check_output(path: Path, key: str) -> None:
    """Refuses a place that cannot be written, before the work for it is done.

    Raises:
        RequestError: if it is a folder, lies in none, or is read-only.
    """
    if path.is_dir():
        raise RequestError(f"{key}: {path} is a folder; name a file in it, such as {path / 'file'}")
    if is_stream(path):
        return
    target = Path(os.path.realpath(path))  # of a link, what it leads to
    if not target.parent.is_dir():
        raise RequestError(f"{key}: {target.parent} is not a folder; make it first, or name another file")
    if target.exists() and not (target.stat().st_mode & 0o222 and os.access(target, os.W_OK)):
        raise RequestError(f"{key}: {path} is read-only; make it writable, or name another file")


def is_stream(path: Path) -> bool:
    """Whether a place is not a file that could be replaced: a device, a pipe, or a stream of this process."""
    if _descriptor(path) is not None:
        return True
    try:
        return not stat.S_ISREG(path.stat().st_mode)
    except OSError:
        return False


def _descriptor(path: Path) -> int | None:
    """The number of the stream of this process that a path such as /dev/stdout names."""
    text = os.path.abspath(path)
    found = _OWN.fullmatch(text)
    if found is None:
        return None
    return _NUMBERS[text] if text in _NUMBERS else int(found[1] or found[2])


def _write_through(partial: Path, path: Path) -> None:
    number = _descriptor(path)
    # Opened anew, a redirected stdout would be written from its beginning, over what is there already
    opened: IO[bytes] = path.open("wb") if number is None else os.fdopen(os.dup(number), "wb")
    with opened as stream, partial.open("rb") as content:
        shutil.copyfileobj(content, stream)


def _put(partial: Path, target: Path) -> None:
    """Moves a file to `target`, and before it the files that lie beside it to the folder of `target`."""
    for file in sorted(partial.parent.iterdir(), key=lambda file: file == partial):
        sync(file)
        place = target if file == partial else target.with_name(file.name)
        if place.exists():
            status = place.stat()
            if status.st_nlink > 1:  # renaming would leave its other names with the old content
                shutil.copyfile(file, place)
                continue
            file.chmod(stat.S_IMODE(status.st_mode))
        os.replace(file, place)
    sync(target.parent)


@contextlib.contextmanager
def _partial_folder(beside: Path, name: str) -> Iterator[Path]:
    """A folder for what is not whole yet, gone in the end; those of processes that were killed go first."""
    for other in beside.glob(f".{_literal(name)}.*{PARTIAL}"):
        if _abandoned(other):
            shutil.rmtree(other, ignore_errors=True)
    folder = beside / f".{name}.{os.getpid()}{PARTIAL}"
    folder.mkdir()
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        with contextlib.suppress(OSError):  # a file system without locks
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        yield folder
    finally:
        os.close(descriptor)
        shutil.rmtree(folder, ignore_errors=True)


def _abandoned(partial: Path) -> bool:
    """Whether its writer is gone: no such process here, and none elsewhere that holds its lock."""
    number = partial.name.removesuffix(PARTIAL).rpartition(".")[2]
    if not number.isdecimal() or not partial.is_dir() or partial.is_symlink():
        return False
    try:
        os.kill(int(number), 0)
        return int(number) == os.getpid()  # of an earlier process of this number
    except PermissionError:
        return False
    except (ProcessLookupError, OverflowError):
        pass
    with contextlib.suppress(OSError):
        descriptor = os.open(partial, os.O_RDONLY)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return True
        finally:
            os.close(descriptor)
    return False


def _literal(name: str) -> str:
    """A name as a pattern that matches it alone."""
    return re.sub(r"([*?[])", r"[\1]", name)


@contextlib.contextmanager
def _refusals(path: Path, key: str, n_bytes: int | None) -> Iterator[None]:
    """Says what the system refuses in one line."""
    try:
        yield
    except OSError as error:
        what = "" if n_bytes is None else f" {n_bytes} bytes"
        raise RequestError(
            f"{key}: cannot write{what} to {path} ({error.strerror}); make room, or name another file (E53)"
        ) from error
