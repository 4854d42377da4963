"""Which examples are the same, exactly or nearly: what duplicates, folds and audits are decided by.

Examples of one group carry the same information. Where some of a group are learned from and others judge what
was learned, the judgement says nothing of new examples.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Hashable, Iterable, Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from coldstart_cli.core.tasks import Inputs, n_examples
from coldstart_cli.digests import row_hashes

Hashes = NDArray[np.uint64]
Groups = NDArray[np.int64]
"""(n,) the group of each example, numbered in the order of their first example."""


def near_equal_groups(texts: Sequence[str]) -> Groups:
    """Groups of texts that are equal but for case, spaces, punctuation and the form of their letters.

    Example:
        >>> near_equal_groups(["Where is it?", "where  is it", "There it is."]).tolist()
        [0, 0, 1]
    """
    return _numbered(map(essence, texts))


def equal_groups(inputs: Inputs) -> Groups:
    """Groups of examples whose inputs (n, ...) are equal bit for bit."""
    return _numbered(hashes_of(inputs, None).tolist())


def essence(text: str) -> str:
    """A text without what does not change what it says: case, spaces, punctuation, invisible characters.

    A text of nothing else (`?!`) is kept as it is written.
    """
    written = unicodedata.normalize("NFKC", text).casefold()
    return written.translate(_LETTERS) or written.strip()


def hashes_of(inputs: Inputs, targets: Tensor | None) -> Hashes:
    """(n,) a hash of each example; among a million, two different ones share 64 bits once in 4e7 audits.

    Args:
        targets: hashed with the inputs, where given.
    """
    n = n_examples(inputs)
    named = {"": inputs} if isinstance(inputs, Tensor) else inputs
    tensors = [tensor for _, tensor in sorted(named.items())] + ([] if targets is None else [targets])
    if n == 0:
        return np.empty(0, dtype=np.uint64)
    columns = [tensor.cpu().contiguous().reshape(n, -1).view(torch.uint8) for tensor in tensors]
    rows = (columns[0] if len(columns) == 1 else torch.cat(columns, dim=1)).numpy()
    return row_hashes(rows)


class _Letters(dict[int, "int | None"]):
    """For `str.translate`: a character as it is, or None for punctuation, separators and control characters.

    Signs that carry meaning (`+`, `€`) and the marks of combined letters stay. A category is looked up once a
    character, since texts repeat few of them.
    """

    def __missing__(self, code: int) -> int | None:
        kept = None if unicodedata.category(chr(code))[0] in "PZC" else code
        self[code] = kept
        return kept


_LETTERS = _Letters()


def _numbered(keys: Iterable[Hashable]) -> Groups:
    known: dict[Hashable, int] = {}
    return np.array([known.setdefault(key, len(known)) for key in keys], dtype=np.int64)
