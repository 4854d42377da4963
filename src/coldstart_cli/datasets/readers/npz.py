"""npz files whose arrays are looked at before they are unpacked. Pickles are refused."""

from __future__ import annotations

import math
import os
import shutil
import tempfile
import zipfile
import zlib
from pathlib import Path
from typing import IO, Any

import numpy as np
from numpy.lib import format as npy
from numpy.typing import NDArray

from coldstart_cli.datasets.readers import zips
from coldstart_cli.errors import RequestError, suggestion
from coldstart_cli.files.caching import cache_folder

IN_MEMORY = 256 << 20
"""Bytes of an array of numbers above which it is read from the cache folder."""
_MARKS = 1 << 30
"""Bytes that an array of marks may have."""
_CHUNK = 8 << 20


class Archive:
    """An npz file whose arrays are looked at before they are unpacked."""

    def __init__(self, path: Path) -> None:
        self.path = path
        if not path.is_file():
            raise RequestError(f"{path}: is not a file; save x and y with numpy.savez")
        if not path.stat().st_size:
            raise RequestError(f"{path}: is empty (0 bytes); save x and y with numpy.savez")
        try:
            self.zip = zips.opened(path)
        except (zipfile.BadZipFile, OSError) as error:
            raise RequestError(
                f"{path}: is not an npz file ({error}); save x and y with numpy.savez"
            ) from error

    def __enter__(self) -> Archive:
        return self

    def __exit__(self, *_: object) -> None:
        self.zip.close()

    def header(self, key: str, option: str) -> tuple[tuple[int, ...], np.dtype[Any]]:
        """Shape and type of an array, from its first bytes.

        Raises:
            RequestError: where it is not there, or is no plain array.
        """
        with self._member(key, option) as stream:
            shape, _, dtype = self._read_header(stream, key)
        return shape, dtype

    def small(self, key: str, option: str) -> NDArray[Any]:
        """An array of marks, whole."""
        shape, dtype = self.header(key, option)
        if math.prod(shape) * dtype.itemsize > _MARKS:
            raise RequestError(
                f"{self.path}: {key} has {math.prod(shape):,} values of {dtype}; shorten its texts"
            )
        try:
            with self._member(key, option) as stream:
                return np.asarray(npy.read_array(stream, allow_pickle=False))
        except (ValueError, OSError, zipfile.BadZipFile, EOFError) as error:
            raise RequestError(f"{self.path}: {key} is damaged ({error}); save it anew") from error

    def numbers(self, key: str, dtype: np.dtype[Any]) -> NDArray[Any]:
        """An array as `dtype`, unpacked chunk by chunk into memory, or into the cache where it is large."""
        with self._member(key, "x_key") as stream:
            shape, fortran, stored = self._read_header(stream, key)
            if fortran:
                raise RequestError(
                    f"{self.path}: {key} is in Fortran order; save numpy.ascontiguousarray({key})"
                )
            n_bytes = math.prod(shape) * dtype.itemsize
            try:
                if n_bytes <= IN_MEMORY:
                    array = np.empty(shape, dtype)
                    _fill(stream, stored, array.reshape(-1))
                    return array
                return self._mapped(stream, stored, shape, dtype, n_bytes)
            except (ValueError, zipfile.BadZipFile, EOFError, zlib.error) as error:
                raise RequestError(f"{self.path}: {key} is damaged ({error}); save it anew") from error

    def _mapped(
        self,
        stream: IO[bytes],
        stored: np.dtype[Any],
        shape: tuple[int, ...],
        dtype: np.dtype[Any],
        n_bytes: int,
    ) -> NDArray[Any]:
        folder = cache_folder()
        free = shutil.disk_usage(folder).free
        if n_bytes > free:
            raise RequestError(
                f"COLDSTART_CACHE: {folder} has {free >> 20:,} MiB and {self.path} needs {n_bytes >> 20:,}; "
                "name a folder with room"
            )
        # Unlinked at once: the file lives as long as its array, and no other process reads it.
        with tempfile.NamedTemporaryFile(dir=folder, prefix=".arrays-") as file:
            os.truncate(file.name, n_bytes)
            array = np.memmap(file.name, dtype=dtype, mode="r+", shape=shape)
        _fill(stream, stored, array.reshape(-1))
        return array

    def _member(self, key: str, option: str) -> IO[bytes]:
        names = [name.removesuffix(".npy") for name in self.zip.namelist()]
        if key not in names:
            raise RequestError(
                f"{self.path}: has no array {key} (dataset.{option}); {suggestion(key, names)}"
            )
        try:
            return self.zip.open(f"{key}.npy")
        except (zipfile.BadZipFile, OSError, RuntimeError, KeyError) as error:
            raise RequestError(f"{self.path}: {key} is damaged ({error}); save it anew") from error

    def _read_header(self, stream: IO[bytes], key: str) -> tuple[tuple[int, ...], bool, np.dtype[Any]]:
        try:
            version = npy.read_magic(stream)
            read = npy.read_array_header_1_0 if version == (1, 0) else npy.read_array_header_2_0
            shape, fortran, dtype = read(stream)
        except Exception as error:  # a damaged zip raises nearly anything
            raise RequestError(f"{self.path}: {key} is damaged ({error}); save it anew") from error
        if dtype.hasobject:
            raise RequestError(
                f"{self.path}: {key} holds Python objects, which could run code; save plain numbers"
            )
        return shape, fortran, dtype


def _fill(stream: IO[bytes], stored: np.dtype[Any], flat: NDArray[Any]) -> None:
    """Reads the values of `flat` (n,), `stored` as they are, chunk by chunk.

    Raises:
        EOFError: where there are fewer.
    """
    at, left = 0, b""
    while at < len(flat):
        part = stream.read(_CHUNK)
        if not part:
            raise EOFError("it ends too soon")
        part = left + part
        n = min(len(part) // stored.itemsize, len(flat) - at)
        flat[at : at + n] = np.frombuffer(part, stored, n)
        left, at = part[n * stored.itemsize :], at + n
