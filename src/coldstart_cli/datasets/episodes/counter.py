"""Random numbers that are a function of a counter: what makes a task a function of (seed, split, index).

Steele, Lea and Flood (2014, OOPSLA, "Fast splittable pseudorandom number generators"): the output of
SplitMix64 number c of a key is mix(key + (c + 1) * golden ratio), so that any word of any task is
reached at once and whole batches are drawn without a loop over tasks.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from coldstart_cli.core.tasks import Split

Words = NDArray[np.uint64]
Ids = NDArray[np.int64]

_GOLDEN = np.uint64(0x9E3779B97F4A7C15)
_SPLIT_NUMBER: dict[Split, int] = {"train": 1, "validation": 2, "source_test": 3, "new": 4}


def mix(words: Words) -> Words:
    """The finaliser of SplitMix64: a bijection of 64 bits in which every bit depends on every other."""
    words = (words ^ (words >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    words = (words ^ (words >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return words ^ (words >> np.uint64(31))


def task_keys(bank_seed: int, split: Split, indices: Sequence[int]) -> Words:
    """One key a task, (n_tasks,).

    Raises:
        ValueError: at a negative index.
    """
    numbers = np.asarray(indices, dtype=np.int64).reshape(-1)
    if numbers.size and int(numbers.min()) < 0:
        raise ValueError(f"indices: task {int(numbers.min())} does not exist; tasks are numbered from 0")
    # Arrays, because numpy warns of the (wanted) overflow of scalars.
    start, split_number = np.array([[bank_seed % 2**64], [_SPLIT_NUMBER[split]]], dtype=np.uint64)
    split_key = mix(mix(start + _GOLDEN) + split_number * _GOLDEN)
    return mix(split_key + numbers.astype(np.uint64) * _GOLDEN)


def words(keys: Words, stream: int, *counts: int) -> Words:
    """Independent 64-bit words, (n_keys, *counts). Streams never overlap: each has 2^32 words."""
    n = int(np.prod(counts, dtype=np.int64))
    first = (stream << 32) + 1
    steps = np.arange(first, first + n, dtype=np.uint64) * _GOLDEN
    return mix(keys[:, None] + steps).reshape(len(keys), *counts)


def words_from(keys: Words, stream: int, first: Ids, n: int) -> Words:
    """The `n` words from number `first` (n_keys,) on of a stream of each key, (n_keys, n)."""
    start = first.astype(np.uint64) + np.uint64((stream << 32) + 1)
    numbers = start[:, None] + np.arange(n, dtype=np.uint64)
    return mix(np.asarray(keys[:, None] + numbers * _GOLDEN, dtype=np.uint64))


def uniforms(keys: Words, stream: int, *counts: int) -> NDArray[np.float64]:
    """Uniform reals in [0, 1) with 53 bits, (n_keys, *counts)."""
    return (words(keys, stream, *counts) >> np.uint64(11)).astype(np.float64) * 2.0**-53


def normals(keys: Words, stream: int, *counts: int) -> NDArray[np.float64]:
    """Standard normal reals, (n_keys, *counts): Box and Muller (1958)."""
    pairs = uniforms(keys, stream, *counts, 2)
    radius = np.sqrt(-2 * np.log1p(-pairs[..., 0]))
    return np.asarray(radius * np.cos(2 * np.pi * pairs[..., 1]), dtype=np.float64)


def seeds(keys: Words, stream: int) -> list[int]:
    """One seed a key, in [0, 2^63): what torch.Generator takes without wrapping."""
    drawn: list[int] = (words(keys, stream, 1)[:, 0] >> np.uint64(1)).tolist()
    return drawn


def order(priorities: Words, n_positions: int | None = None) -> Ids:
    """The positions of the last axis, sorted by priority: a shuffle where priorities are random.

    Args:
        n_positions: how many positions the lowest bits hold; None: as many as the axis has. A part of a wider
            axis is sorted as the whole would be.

    The position takes the place of the lowest bits, so that a plain sort (three times as fast as
    argsort) does; ties go to the lower position.
    """
    width = priorities.shape[-1]
    low = np.uint64((1 << max(1, ((n_positions or width) - 1).bit_length())) - 1)
    ranked = np.sort((priorities & ~low) | np.arange(width, dtype=np.uint64), axis=-1)
    return (ranked & low).astype(np.int64)


def distinct(keys: Words, stream: int, n_drawn: int, n_total: int) -> Ids:
    """`n_drawn` different numbers of range(n_total) in random order, (n_keys, n_drawn).

    Floyd's algorithm (Bentley and Floyd 1987, CACM 30:9), for all keys at once; then a shuffle,
    because it favours late places for high numbers.
    """
    random = words(keys, stream, 2, n_drawn)
    chosen = np.empty((len(keys), n_drawn), dtype=np.int64)
    for place in range(n_drawn):
        top = n_total - n_drawn + place
        candidate = (random[:, 0, place] % np.uint64(top + 1)).astype(np.int64)
        taken = (chosen[:, :place] == candidate[:, None]).any(axis=1)
        chosen[:, place] = np.where(taken, top, candidate)
    return np.take_along_axis(chosen, order(random[:, 1]), axis=1)
