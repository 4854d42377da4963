"""The labelled rows that bundles have in common: which bundles are compared, and on which rows.

A row is known again by what it holds and its label, of which a bundle keeps hashes; where it keeps none, by
its number in the same file.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Hashable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from coldstart_cli.digests import digest
from coldstart_cli.errors import RequestError
from coldstart_cli.files.regular import read_bytes

Rows = tuple[Hashable, ...]
ENOUGH = 0.5
"""Of the rows that several bundles share: what another one must share too, to be compared with them."""
_FILE = re.compile(r"rows-[0-9a-f]{16}\.safetensors")


class Judged(Protocol):
    """A bundle: of each row whether it was held out."""

    @property
    def data(self) -> str: ...
    @property
    def metric(self) -> str: ...
    @property
    def rows(self) -> Rows | None: ...
    @property
    def scores(self) -> NDArray[np.float64]: ...


def rows_kept(folder: Path, card: Mapping[str, Any]) -> Rows | None:
    """(n,) each row's hash and label, as the bundle's file of rows has them; None where it has no such file.

    Raises:
        RequestError: where the file is damaged.
    """
    names = [name for name in card.get("files") or () if _FILE.fullmatch(name)]
    if not names:
        return None
    from safetensors.numpy import load

    place, classes = folder / names[0], card["labels"]
    content = read_bytes(place)
    if digest([content], 64) != card["files"][names[0]]:
        raise RequestError(f"{place} is not the file that its card names; make it again")
    found = load(content)
    contents, labels = found["contents"].tolist(), found["labels"].tolist()
    return _told_apart(
        (hashed, classes[label] if classes else label) for hashed, label in zip(contents, labels, strict=True)
    )


def _told_apart(rows: Iterable[Hashable]) -> Rows:
    """Equal rows by how many came before."""
    seen = Counter[Hashable]()
    numbered = []
    for row in rows:
        numbered.append((row, seen[row]))
        seen[row] += 1
    return tuple(numbered)


def held_out(bundles: Sequence[Judged]) -> list[dict[Hashable, int]]:
    """Of each bundle the places of the rows that were held out, by what tells them apart."""
    known = {one.data: one.rows for one in reversed(bundles) if one.rows is not None}
    found = []
    for one in bundles:
        rows, n = known.get(one.data), len(one.scores)
        if rows is None or len(rows) != n:  # its own file alone says which is which
            rows = tuple((one.data, n, i) for i in range(n))
        judged = np.flatnonzero(~np.isnan(one.scores)).tolist()
        found.append({rows[i]: i for i in judged})
    return found


def compared(
    bundles: Sequence[Judged], places: Sequence[Mapping[Hashable, int]]
) -> tuple[list[int], list[Hashable]]:
    """The numbers of the bundles that share rows, and these rows.

    It begins with the one that has the most companions of the very same rows, and goes on with who shares
    most with it, as long as they leave enough.
    """
    n = len(bundles)
    if not n:
        return [], []
    shared = np.array(
        [
            [
                len(a.keys() & b.keys()) if x.metric == y.metric else 0
                for y, b in zip(bundles, places, strict=True)
            ]
            for x, a in zip(bundles, places, strict=True)
        ]
    )
    sizes = shared.diagonal()
    same = (shared == sizes) & (shared == sizes[:, None])
    start = max(range(n), key=lambda i: (same[i].sum(), shared[i].sum() - sizes[i]))
    group, rows = [start], {*places[start]}
    for i in sorted((i for i in range(n) if i != start), key=lambda i: -shared[start, i]):
        left = rows & places[i].keys() if bundles[i].metric == bundles[start].metric else set()
        if len(left) >= (ENOUGH * len(rows) if len(group) > 1 else 1):
            group, rows = [*group, i], left
    return sorted(group), [row for row in places[start] if row in rows]
