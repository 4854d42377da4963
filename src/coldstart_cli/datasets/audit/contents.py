"""What a source holds, example by example, as hashes: equal content is found whatever it is called.

Equality is exact, of what the source hands out: two scans of one drawing, or one photograph in two sizes,
differ here.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import get_args

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from coldstart_cli.core.tasks import Pool, Split, TaskSource
from coldstart_cli.datasets.readers.equality import Hashes, hashes_of

Positions = NDArray[np.intp]

SPLITS: tuple[Split, ...] = get_args(Split)
CHUNK = 32 << 20
"""Bytes of examples that are gathered and hashed at a time."""


@dataclass(frozen=True, slots=True, eq=False)
class Holding:
    """Examples that belong together: the pool of a split, or its fixed queries.

    Attributes:
        where: `train`, `new`, ..., `new queries`.
        split: the split they belong to.
        hashes: (n,) of the inputs; of a regression, of inputs and targets.
        labels: (n,) class ids; -1 for a regression.
        names: of the classes (a regression: of the functions), or empty.
        groups: of the classes, or empty.
    """

    where: str
    split: Split
    hashes: Hashes
    labels: NDArray[np.int64]
    names: tuple[str, ...]
    groups: tuple[str, ...]

    def __len__(self) -> int:
        return len(self.hashes)

    def described(self, place: int) -> str:
        """One example: `train #4434 (Braille/character01)`."""
        label = int(self.labels[place])
        if label < 0:
            return f"{self.where} #{place}"
        name = self.names[label] if label < len(self.names) else f"class {label}"
        return f"{self.where} #{place} ({name})"


def is_regression(source: TaskSource) -> bool:
    return source.shape.n_way is None


def coincidences(source: TaskSource, n: int) -> int:
    """Equal examples among n that may be chance: none, but where an example is one real number.

    Two draws of a float32 in [-5, 5] meet once in 2e7 pairs, and points of one function are such pairs.
    """
    return 1 + n // 10_000 if is_regression(source) and source.input_shape == (1,) else 0


def holdings(source: TaskSource) -> list[Holding]:
    """All examples of every split that the source has, in the order of `SPLITS`."""
    found = []
    for split in SPLITS:
        try:
            pool = source.pool(split)
        except ValueError:  # nothing is held out for it
            continue
        found.append(_pooled(pool, split, is_regression(source)))
        if pool.queries is not None:
            inputs, targets = pool.queries.inputs, pool.queries.targets
            hashes = hashes_of(inputs, targets if is_regression(source) else None)
            labels = _labels(targets, is_regression(source))
            found.append(Holding(f"{split} queries", split, hashes, labels, pool.names, pool.groups))
    return found


def _pooled(pool: Pool, split: Split, regression: bool) -> Holding:
    """Chunk by chunk, so that a large pool is never in memory twice."""
    hashes, labels = [np.empty(0, dtype=np.uint64)], [np.empty(0, dtype=np.int64)]
    n, step = len(pool), _chunk(pool) if len(pool) else 1
    for start in range(0, n, step):
        examples = pool.examples(torch.arange(start, min(start + step, n)))
        hashes.append(hashes_of(examples.inputs, examples.targets if regression else None))
        labels.append(_labels(examples.targets, regression))
    return Holding(split, split, np.concatenate(hashes), np.concatenate(labels), pool.names, pool.groups)


def _chunk(pool: Pool) -> int:
    """Examples that fill about `CHUNK` bytes."""
    inputs = pool.examples(torch.tensor([0])).inputs
    tensors = [inputs] if isinstance(inputs, Tensor) else list(inputs.values())
    return max(1, CHUNK // max(1, sum(tensor.numel() * tensor.element_size() for tensor in tensors)))


def _labels(targets: Tensor, regression: bool) -> NDArray[np.int64]:
    if regression:
        return np.full(len(targets), -1, dtype=np.int64)
    return targets.cpu().numpy().astype(np.int64)


@dataclass(frozen=True, slots=True, eq=False)
class Twins:
    """Pairs of equal examples, each by (holding, place): of m equal ones the m - 1 neighbouring pairs.

    Attributes:
        holding: (n, 2) numbers of holdings.
        place: (n, 2) places in them.
        label: (n, 2) their labels.
        hashes: (n,) of the pairs.
    """

    holding: Positions
    place: Positions
    label: NDArray[np.int64]
    hashes: Hashes

    def __len__(self) -> int:
        return len(self.hashes)

    def where(self, mask: NDArray[np.bool_]) -> Twins:
        return Twins(self.holding[mask], self.place[mask], self.label[mask], self.hashes[mask])


def twins(held: Sequence[Holding]) -> Twins:
    """All equal examples among all holdings."""
    sizes = [len(holding) for holding in held]
    hashes = np.concatenate([np.empty(0, dtype=np.uint64), *(holding.hashes for holding in held)])
    labels = np.concatenate([np.empty(0, dtype=np.int64), *(holding.labels for holding in held)])
    number = np.repeat(np.arange(len(held)), sizes)
    place = np.concatenate([np.empty(0, dtype=np.intp), *(np.arange(size) for size in sizes)])
    order = np.argsort(hashes, kind="stable")
    equal = np.flatnonzero(hashes[order][1:] == hashes[order][:-1])
    pairs = np.stack([order[equal], order[equal + 1]], axis=1)
    return Twins(number[pairs], place[pairs], labels[pairs], hashes[pairs[:, 0]])


class Lookup:
    """From an example's hash to its class in one holding; content that has two classes is not known.

    Args:
        holding: what is looked up in.
    """

    def __init__(self, holding: Holding) -> None:
        order = np.lexsort((holding.labels, holding.hashes))
        hashes, labels = holding.hashes[order], holding.labels[order]
        self.hashes, first = np.unique(hashes, return_index=True)
        last = np.append(first[1:], len(hashes)) - 1
        self.labels = np.where(labels[first] == labels[last], labels[first], -1) if len(hashes) else labels

    def labels_of(self, hashes: Hashes) -> NDArray[np.int64]:
        """(n,) the class of each hash; -1 where it is not known."""
        if not len(self.hashes):
            return np.full(len(hashes), -1, dtype=np.int64)
        return np.where(self.has(hashes), self.labels[self._places(hashes)], -1)

    def has(self, hashes: Hashes) -> NDArray[np.bool_]:
        """(n,) whether each hash is in the holding."""
        if not len(self.hashes):
            return np.zeros(len(hashes), dtype=np.bool_)
        return np.asarray(self.hashes[self._places(hashes)] == hashes)

    def _places(self, hashes: Hashes) -> Positions:
        return np.minimum(np.searchsorted(self.hashes, hashes), len(self.hashes) - 1)
