"""Random numbers of a counter: those that were published, the same in parts, and spread as they should be."""

from __future__ import annotations

import numpy as np
import pytest

from coldstart_cli.datasets.episodes.counter import (
    distinct,
    normals,
    order,
    seeds,
    task_keys,
    uniforms,
    words,
    words_from,
)

KEYS = task_keys(0, "train", range(200))


def test_words_are_the_published_ones_of_splitmix64() -> None:
    zero = np.zeros(1, dtype=np.uint64)  # the first outputs of the reference program for the seed 0
    assert words(zero, 0, 3)[0].tolist() == [0xE220A8397B1DCDAF, 0x6E789E6AA1B965F4, 0x06C45D188009454F]


def test_words_may_be_reached_in_the_middle_of_a_stream() -> None:
    first = np.arange(len(KEYS)) % 7
    part = words_from(KEYS, 3, first, 4)
    whole = words(KEYS, 3, 11)
    assert all(part[i].tolist() == whole[i, at : at + 4].tolist() for i, at in enumerate(first))


def test_keys_differ_between_seeds_splits_and_tasks() -> None:
    keys = [
        key
        for seed in (0, 1, -1)
        for split in ("train", "validation", "source_test", "new")
        for key in task_keys(seed, split, range(50)).tolist()  # type: ignore[arg-type]
    ]
    assert len(set(keys)) == 600
    assert task_keys(0, "new", [7]).tolist() == task_keys(0, "new", range(8))[7:].tolist()
    with pytest.raises(ValueError, match="task -1 does not exist"):
        task_keys(0, "new", [3, -1])


def test_reals_have_the_moments_of_their_distributions() -> None:
    flat, bell = uniforms(KEYS, 1, 100), normals(KEYS, 2, 100)
    assert flat.min() >= 0 and flat.max() < 1
    assert flat.mean() == pytest.approx(0.5, abs=0.01) and flat.var() == pytest.approx(1 / 12, abs=0.003)
    assert bell.mean() == pytest.approx(0, abs=0.03) and bell.var() == pytest.approx(1, abs=0.05)


def test_seeds_fit_a_generator_of_torch() -> None:
    assert all(0 <= seed < 2**63 for seed in seeds(KEYS, 5)) and len(set(seeds(KEYS, 5))) == len(KEYS)


def test_order_is_that_of_the_priorities() -> None:
    priorities = words(KEYS, 4, 9)
    assert np.array_equal(order(priorities), np.argsort(priorities & ~np.uint64(15), axis=1, kind="stable"))


@pytest.mark.parametrize(("n_drawn", "n_total"), [(3, 5), (5, 5), (1, 1000)])
def test_distinct_numbers_differ_and_are_equally_frequent(n_drawn: int, n_total: int) -> None:
    drawn = distinct(KEYS, 6, n_drawn, n_total)
    assert drawn.shape == (200, n_drawn) and drawn.min() >= 0 and drawn.max() < n_total
    assert all(len(set(row)) == n_drawn for row in drawn.tolist())
    if n_total == 5:  # each in each place, one time in five
        shares = [np.bincount(place, minlength=5) / 200 for place in drawn.T]
        assert np.allclose(shares, 0.2, atol=0.12)
