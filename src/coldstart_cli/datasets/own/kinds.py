"""What the inputs of a data set are, as far as its node and the header of its file tell; imports no torch."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from coldstart_cli.datasets.readers.npz import Archive

_KINDS = {
    "text": "text",
    "image_folder": "image",
    "tabular": "vectors",
    # published, with a training and a test part
    **dict.fromkeys(("banking77", "clinc150", "sentences"), "text"),
}


def kind_of(node: Mapping[str, Any]) -> str | None:
    """text, image, windows (of series) or vectors; None where it is not data of one's own.

    Args:
        node: of the config.

    Raises:
        RequestError: where a file of arrays cannot be read.
    """
    layout = str(node["_target_"]).removeprefix("coldstart_cli.datasets.")
    if layout != "arrays":
        return _KINDS.get(layout)
    return {4: "image", 3: "windows"}.get(_n_dimensions(node), "vectors")


def are_vectors(node: Mapping[str, Any]) -> bool:
    """Whether a file of arrays holds (n, width); False where it is not there."""
    return str(node["_target_"]).endswith(".arrays") and _n_dimensions(node) == 2


def _n_dimensions(node: Mapping[str, Any]) -> int:
    place = None if node["root"] is None else Path(node["root"]).expanduser()
    if place is None or not place.is_file():
        return 0
    with Archive(place) as archive:
        return len(archive.header(node["x_key"], "x_key")[0])
