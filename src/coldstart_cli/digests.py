"""Digests of values, tensors and files. They name runs, tasks and caches, so none may ever change.

A digest is the SHA-256 of its parts, one after the other: texts in UTF-8, tensors and arrays by their bytes
in memory. It imports nothing heavy, because reading results needs no tensors.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray
    from torch import Tensor

Part: TypeAlias = "str | bytes | memoryview | Tensor | NDArray[Any]"
N_BYTES = hashlib.sha256().digest_size


def digest(parts: Iterable[Part], digits: int = 16) -> str:
    """The first `digits` hexadecimal digits, at most 64, of the digest of all parts."""
    return whole_digest(parts).hex()[:digits]


def whole_digest(parts: Iterable[Part]) -> bytes:
    """All 32 bytes of the digest."""
    content = hashlib.sha256()
    for part in parts:
        content.update(_bytes_of(part))
    return content.digest()


def json_digest(value: object) -> str:
    """Eight hexadecimal digits over a value's canonical JSON."""
    # Sorted keys and no spaces: the digest must not depend on the order in which a config was written.
    return digest([json.dumps(value, sort_keys=True, separators=(",", ":"))], 8)


def file_digest(path: Path, algorithm: str = "sha256") -> str:
    """All hexadecimal digits over a file's content.

    Raises:
        OSError: where it cannot be read.
    """
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, algorithm).hexdigest()


def tensor_parts(inputs: Tensor | Mapping[str, Tensor]) -> Iterator[Part]:
    """The parts of a tensor, or of each of a mapping: name, type and shape, then the content."""
    named = inputs.items() if isinstance(inputs, Mapping) else [("", inputs)]
    # By name: a mapping's order depends on the reader that made it.
    for name, tensor in sorted(named):
        yield f"{name} {tensor.dtype} {tuple(tensor.shape)}"
        yield tensor


def row_hashes(rows: Iterable[bytes] | NDArray[np.uint8]) -> NDArray[np.uint64]:
    """(n,) a hash of 64 bits of each of n rows of bytes; two different rows rarely have the same."""
    import numpy as np

    hashes = (hashlib.blake2b(row, digest_size=8).digest() for row in rows)
    return np.frombuffer(b"".join(hashes), dtype=np.uint64)


def _bytes_of(part: Part) -> bytes | memoryview:
    """Without a copy, where the content is contiguous and on the CPU."""
    if isinstance(part, bytes | memoryview):
        return part
    if isinstance(part, str):
        return part.encode()
    import numpy as np

    if not isinstance(part, np.ndarray):
        import torch

        # as bytes first: numpy has no bfloat16
        part = part.detach().cpu().contiguous().flatten().view(torch.uint8).numpy()
    return np.ascontiguousarray(part).reshape(-1).view(np.uint8).data
