"""What the comparisons in docs/reports say of a strategy: its place, from the data inside their pages."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from reference.markdown import cell, table

REPORTS = Path(__file__).resolve().parents[1] / "docs" / "reports"
_DATA = re.compile(r'<script type="application/json" id="data">(.*?)</script>', re.S)


@dataclass(frozen=True, slots=True)
class Place:
    """One contestant at one number of shots.

    Attributes:
        mean: of the headline metric.
        value: that with the half-width of its interval, as reports write it.
        rank: among `of`; those that the comparison cannot tell apart share one.
    """

    k: int
    mean: float
    value: str
    rank: int
    of: int


@dataclass(frozen=True, slots=True)
class Report:
    """A comparison in docs/reports.

    Attributes:
        file: its name.
        title: data set and number of ways.
        headline: the metric.
        higher: whether more of it is better.
        places: contestant -> its place at each k that it was measured at.
        best: k -> the contestants that no other beats.
    """

    file: str
    title: str
    headline: str
    higher: bool
    places: Mapping[str, Sequence[Place]]
    best: Mapping[int, Sequence[str]]


@cache
def reports() -> tuple[Report, ...]:
    """Every setting of every report."""
    return tuple(found for path in sorted(REPORTS.glob("*.html")) for found in _read(path))


def _read(path: Path) -> Iterator[Report]:
    found = _DATA.search(path.read_text(encoding="utf-8"))
    if found is None:
        raise ValueError(f"{path}: holds no data that can be read; write it again (coldstart compare --html)")
    for setting in json.loads(found[1])["settings"]:
        names = [one["name"] for one in setting["contestants"]]
        shots = list(zip(map(int, setting["ks"]), setting["shots"], strict=True))
        yield Report(
            path.name,
            setting["title"],
            setting["headline"] + (", %" if setting["percent"] else ""),
            setting["higher"],
            {name: [_place(k, shot["results"][i], setting, sum(map(bool, shot["results"])))
                    for k, shot in shots if shot["results"][i]]
             for i, name in enumerate(names)},
            {k: [names[i] for i in shot["winners"]] for k, shot in shots},
        )  # fmt: skip


def _place(k: int, result: Mapping[str, Any], setting: Mapping[str, Any], of: int) -> Place:
    scale, digits = (100 if setting["percent"] else 1), setting["decimals"]
    value = f"{scale * result['mean']:.{digits}f} ± {scale * result['half_width']:.{digits}f}"
    return Place(k, result["mean"], value, result["rank"], of)


def of_strategy(name: str) -> str:
    """A table of its places, or nothing where no report has it."""
    blocks = []
    for report in reports():
        own = {c: places for c, places in report.places.items() if c.split(" ")[0] == name}
        if own:
            ks = [place.k for place in next(iter(own.values()))]
            rows = [
                [cell(c), *(f"{p.value}<br>{p.rank} of {p.of}" for p in places)] for c, places in own.items()
            ]
            heads = (
                f"[{report.title}](../../reports/{report.file}), {report.headline}",
                *(f"k = {k}" for k in ks),
            )
            blocks.append(table(heads, rows))
    return "\n\n".join(blocks)


def page() -> str:
    """The list of reports, each with the contestants that no other beats."""
    parts = [
        "# Reports",
        "Comparisons that `coldstart compare --html` wrote: tables, learning curves, costs and all pairs of "
        "contestants, each a page that needs no network. How they were measured: [results](../results.md), "
        "[what a task vector is worth](../task_vector.md).",
    ]
    for report in reports():
        rows = [[str(k), ", ".join(f"`{name}`" for name in names)] for k, names in report.best.items()]
        parts += [
            f"## [{report.title}](../reports/{report.file})",
            f"{len(report.places)} contestants, {report.headline.removesuffix(', %')}.",
            table(("k", "beaten by no other"), rows),
        ]
    return "\n\n".join(parts) + "\n"
