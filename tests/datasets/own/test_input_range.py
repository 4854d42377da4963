"""Inputs of another scale or polarity than a network was trained on are noticed."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from coldstart_cli.datasets.own.input_range import as_json, from_json, ranges_of, shift_from
from coldstart_cli.datasets.own.labelled import Labelled, marks
from coldstart_cli.datasets.own.source import Own
from tests.datasets.own.test_source import PLAN


def drawings(n: int = 40, seed: int = 0) -> torch.Tensor:
    """White strokes on black: (n, 1, 8, 8) uint8, of which about a tenth is white."""
    generator = torch.Generator().manual_seed(seed)
    return 255 * (torch.rand(n, 1, 8, 8, generator=generator) < 0.1).to(torch.uint8)


def test_images_of_the_other_polarity_are_named() -> None:
    known = ranges_of(drawings())
    assert shift_from(known, drawings(seed=1)) is None
    said = shift_from(known, 255 - drawings(seed=1))
    assert said is not None and "the inputs lie far outside" in said and "dataset.invert" in said


def test_features_in_another_unit_are_counted() -> None:
    metres = torch.randn(50, 3, generator=torch.Generator().manual_seed(0)) + 3
    known = from_json(as_json(ranges_of(metres)))
    assert shift_from(known, metres + 1) is None
    centimetres = metres * torch.tensor([1.0, 100.0, 100.0])
    said = shift_from(known, centimetres)
    assert said is not None and said.startswith("2 of 3 features lie far outside")


def test_few_examples_have_no_range_and_too_few_new_ones_say_nothing() -> None:
    assert ranges_of(drawings(5)) == {}  # so that no bundle gives an example away
    assert shift_from(ranges_of(drawings()), 255 - drawings(4)) is None


def test_of_few_examples_another_unit_is_noticed_and_no_single_value_is_kept() -> None:
    few = torch.randn(12, 2, generator=torch.Generator().manual_seed(0)) + 3
    known = ranges_of(few)
    mean, deviation = few.numpy().mean(0), few.numpy().std(0, ddof=1)
    np.testing.assert_allclose(known[""].low, mean - 3 * deviation, rtol=1e-5)
    np.testing.assert_allclose(known[""].high, mean + 3 * deviation, rtol=1e-5)
    assert shift_from(known, few + torch.from_numpy(deviation)) is None
    said = shift_from(known, few * torch.tensor([1.0, 1000.0]))
    assert said is not None and said.startswith("1 of 2 features lie far outside")


def test_constant_features_and_token_ids_say_nothing() -> None:
    assert shift_from(ranges_of(torch.ones(30, 2)), torch.zeros(30, 2)) is None
    ids = {"input_ids": torch.ones(30, 5, dtype=torch.long)}
    assert ranges_of(ids) == {}


def test_rows_alone_are_looked_at() -> None:
    both = torch.cat([drawings(), 255 - drawings()])
    assert shift_from(ranges_of(both, np.arange(40)), both, np.arange(40, 80)) is not None
    assert shift_from(ranges_of(both), both, np.arange(40, 80)) is None


@pytest.mark.parametrize("shared", [True, False])
def test_a_new_domain_of_the_other_polarity_is_named_where_classes_are_shared(shared: bool) -> None:
    labels = [*"abc" * 20, *("abc" if shared else "def") * 20]
    splits = ["train"] * 60 + ["new"] * 60
    x = torch.cat([drawings(60), 255 - drawings(60, seed=1)])
    marked = marks(labels, None, splits, [f"row {i}" for i in range(120)])
    data: Labelled = marked.labelled(x, None, (), {})
    plan = type(PLAN)(PLAN.shape, 0, "file", 0, 0.0, 0.3, 0.2, None, False)
    source = Own("x", data, plan)
    if shared:
        with pytest.warns(RuntimeWarning, match="of the new domain the inputs lie far outside"):
            source.tasks("new", [0])
    else:
        source.tasks("new", [0])  # other classes look different
