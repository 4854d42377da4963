"""IDX files, the format of MNIST (LeCun, Cortes and Burges): a header of sizes, then bytes."""

from __future__ import annotations

import gzip
import struct
import zlib
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from coldstart_cli.errors import RequestError
from coldstart_cli.files.regular import regular

LARGEST = 1 << 28
"""Bytes that a file may unpack to: four times the largest of MNIST."""


def read_idx(path: Path) -> NDArray[np.uint8]:
    """The array of a gzipped IDX file of unsigned bytes.

    Raises:
        RequestError: where the file is missing, damaged, or holds something else.
    """
    try:
        with gzip.open(regular(path)) as stream:
            data = stream.read(LARGEST + 1)
    except FileNotFoundError as error:
        raise RequestError(f"dataset.root: {path} is missing; name the folder that holds it") from error
    except (OSError, EOFError, zlib.error) as error:
        raise RequestError(f"dataset.root: {path} cannot be read ({error}); fetch it anew") from error
    if len(data) < 4 or data[:3] != b"\0\0\x08" or len(data) > LARGEST:
        raise RequestError(f"dataset.root: {path} is no IDX file of bytes; fetch it anew")
    start = 4 + 4 * data[3]
    if len(data) < start:
        raise RequestError(f"dataset.root: {path} ends within its header; fetch it anew")
    sizes = struct.unpack(f">{data[3]}I", data[4:start])
    values = np.frombuffer(data, dtype=np.uint8, offset=start)
    if len(values) != int(np.prod(sizes, dtype=np.int64)):
        raise RequestError(f"dataset.root: {path} holds {len(values)} bytes, not {sizes}; fetch it anew")
    return values.reshape(sizes)
