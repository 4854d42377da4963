"""Examples by their ids, turned by quarters."""

from __future__ import annotations

import numpy as np
import torch

from coldstart_cli.datasets.episodes.gathering import gather


def test_examples_have_the_shape_of_their_ids() -> None:
    inputs = {"a": torch.arange(12.0).view(6, 2), "b": torch.arange(6)}
    found = gather(inputs, np.array([[5, 0, 5], [1, 2, 3]]), None)
    assert isinstance(found, dict)
    assert found["a"].shape == (2, 3, 2) and found["b"].tolist() == [[5, 0, 5], [1, 2, 3]]
    assert found["a"][0, 0].tolist() == [10.0, 11.0]


def test_each_image_is_turned_by_its_own_quarters() -> None:
    images = torch.arange(3 * 4).view(3, 1, 2, 2)
    ids, turns = np.array([[2, 0], [1, 2]]), np.array([[3, 0], [1, 2]])
    found = gather(images, ids, turns)
    assert isinstance(found, torch.Tensor) and found.shape == (2, 2, 1, 2, 2)
    for place in np.ndindex(2, 2):
        expected = images[ids[place]].rot90(int(turns[place]), (-2, -1))
        assert torch.equal(found[place], expected)
    assert found[1, 0, 0].tolist() == [[5, 7], [4, 6]]  # counter-clockwise: the right column is on top
