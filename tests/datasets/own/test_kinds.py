"""What inputs are, by the node and the header of a file."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from coldstart_cli.datasets.own.kinds import are_vectors, kind_of

OURS = "coldstart_cli.datasets."


@pytest.mark.parametrize(
    ("layout", "kind"),
    [
        ("text", "text"),
        ("banking77", "text"),
        ("image_folder", "image"),
        ("tabular", "vectors"),
        ("glyphs", None),
    ],
)
def test_a_layout_says_its_kind(layout: str, kind: str | None) -> None:
    assert kind_of({"_target_": OURS + layout, "root": None}) == kind


@pytest.mark.parametrize(
    ("shape", "kind", "vectors"),
    [((6, 3), "vectors", True), ((6, 2, 9), "windows", False), ((6, 1, 8, 8), "image", False)],
)
def test_arrays_say_theirs_by_their_shape(
    shape: tuple[int, ...], kind: str, vectors: bool, tmp_path: Path
) -> None:
    path = tmp_path / "points.npz"
    np.savez(path, x=np.zeros(shape, np.float32), y=np.arange(6))
    node = {"_target_": OURS + "arrays", "root": str(path), "x_key": "x"}
    assert kind_of(node) == kind and are_vectors(node) == vectors
    assert not are_vectors({**node, "root": None}) and not are_vectors({**node, "root": str(tmp_path)})
