"""Values far outside a known range are named, by numbers that can be worked out by hand."""

from __future__ import annotations

import numpy as np

from coldstart_cli.datasets.own.shift import InputRange, shift_of


def test_the_feature_that_lies_farthest_outside_is_named() -> None:
    known = {"": InputRange(n=20, low=(0.0, 0.0, 5.0), high=(2.0, 2.0, 5.0))}
    # means 3.5, 4 and 9: 1.5 and 2 half ranges beyond; the last was constant
    values = np.tile(np.array([3.5, 4.0, 9.0], np.float32), (5, 1))
    said = shift_of({"": values}, known)
    assert (
        said is not None
        and said.startswith("2 of 3 features lie far outside")
        and "mean 4, there 0 to 2" in said
    )
    assert shift_of({"": values - np.array([1.5, 2.0, 0.0], np.float32)}, known) is None
    assert shift_of({"": values[:4]}, known) is None  # too few
    assert shift_of({"": values[:, :2]}, known) is None  # of another shape
    assert shift_of({"other": values}, known) is None
