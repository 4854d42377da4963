"""Locks between processes, by files. A lock goes with its process, however that ends; the file stays."""

from __future__ import annotations

import contextlib
import fcntl
import os
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import IO

from coldstart_cli.errors import RequestError
from coldstart_cli.files.durable import writing


@contextlib.contextmanager
def locked(path: Path) -> Iterator[bool]:
    """One process at a time, others wait; goes on without where the system does not give such a lock.

    Args:
        path: a file, made where it is missing; or a folder that is there, which is locked itself and gets no
            file. (NFS keeps a folder's lock among the processes of one machine alone.)

    Yields:
        Whether the lock is held.
    """
    with contextlib.ExitStack() as stack:
        taken = False
        with contextlib.suppress(OSError):  # a folder that can only be read, a file system without locks
            # A folder cannot be opened for writing, and flock does not ask for it
            flags = os.O_RDONLY if path.is_dir() else os.O_WRONLY | os.O_APPEND | os.O_CREAT
            descriptor = os.open(path, flags, 0o666)
            stack.callback(os.close, descriptor)
            fcntl.flock(descriptor, fcntl.LOCK_EX)
            taken = True
        yield taken


@contextlib.contextmanager
def held(path: Path, taken: Callable[[str], str]) -> Iterator[None]:
    """Holds a lock file that says which process holds it; others are refused.

    Args:
        taken: what to say where another process holds it, by that process's number.

    Raises:
        OSError: where the file cannot be opened.
        RequestError: where another process holds it, or it cannot be written.
    """
    with path.open("a+b", buffering=0) as file:
        try:
            _take(file)
        except OSError as error:
            file.seek(0)
            raise RequestError(taken(file.read().decode().strip() or "?")) from error
        process = str(os.getpid()).encode()
        with writing(path, len(process)):
            file.truncate(0)
            file.write(process)
        yield


def is_held(path: Path) -> bool:
    """Whether a process holds a lock file by `held`; none does where it is missing or cannot be read."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
    except OSError:
        return False
    try:
        # Shared, so that several may ask at once
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
        return False
    except BlockingIOError:
        return True
    except OSError:  # a file system without locks
        return False
    finally:
        os.close(descriptor)


def _take(file: IO[bytes]) -> None:
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        time.sleep(0.05)  # `is_held` takes it for an instant
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
