"""Which examples are worth a label: typical, diverse, uncertain."""

from __future__ import annotations

import numpy as np
import pytest

from coldstart_cli.bundles.labelling import picking


def heaps(sizes: list[int], seed: int = 0) -> tuple[picking.Reals, picking.Whole]:
    """Points around places far from one another, and the place of each."""
    generator = np.random.default_rng(seed)
    of = np.repeat(np.arange(len(sizes)), sizes)
    centres = 100 * np.eye(len(sizes), 8)
    return (centres[of] + generator.normal(size=(len(of), 8))).astype(np.float32), of


def test_clusters_are_the_heaps() -> None:
    x, of = heaps([30, 50, 20])
    found = picking.clusters(x, 3, np.random.default_rng(0))
    assert {len({*found[of == c].tolist()}) for c in range(3)} == {1} and len({*found.tolist()}) == 3
    alike = np.zeros((9, 4), dtype=np.float32)
    assert picking.clusters(alike, 3, np.random.default_rng(0)).max() == 0


def test_typicality_by_hand() -> None:
    x = np.random.default_rng(0).normal(size=(50, 3)).astype(np.float32)
    distances = np.sort(np.sqrt(((x[:, None] - x) ** 2).sum(-1)), axis=1)[:, 1 : picking.NEIGHBOURS + 1]
    found = picking.typicality(x, np.random.default_rng(0))
    assert found == pytest.approx(1 / distances.mean(1), rel=1e-3)
    assert picking.typicality(x[:1], np.random.default_rng(0)).tolist() == [1.0]


def test_typical_takes_the_densest_of_each_cluster_the_largest_first() -> None:
    x, of = heaps([30, 50, 20])
    taken = picking.typical(x, x[:0], 3, seed=0)
    assert of[taken].tolist() == [1, 0, 2]
    for place in taken:
        own = np.flatnonzero(of == of[place])
        assert place == own[picking.typicality(x[own], np.random.default_rng(0)).argmax()]


def test_typical_passes_over_what_is_like_the_labelled() -> None:
    x, of = heaps([30, 50, 20])
    labelled = x[of == 1][:1]
    assert of[picking.typical(x, labelled, 2, seed=0)].tolist() == [0, 2]


def test_more_than_there_are_and_few_of_them() -> None:
    x, _ = heaps([2, 1])
    assert sorted(picking.typical(x, x[:0], 9, seed=0).tolist()) == [0, 1, 2]
    assert sorted(picking.uncertain(x, np.array([0.1, 0.2, 0.3]), 9, seed=0).tolist()) == [0, 1, 2]


def test_uncertain_takes_the_least_margin_of_each_cluster() -> None:
    x, of = heaps([30, 50, 20])
    margins = np.random.default_rng(1).random(100)
    margins[of == 0] *= 0.01  # the three least margins are all of one heap
    taken = picking.uncertain(x, margins, 10, seed=0)
    assert len({*taken.tolist()}) == 10 and taken[0] == margins.argmin()
    three = picking.uncertain(x, np.where(margins < 0.02, margins, margins + 1), 4, seed=0)
    assert {*of[three].tolist()} == {0, 1, 2}
