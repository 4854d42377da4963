"""docs/which-strategy.md: the tables between its marks, made of the comparisons in docs/reports.

    python -m reference.answers [--check]

What stands around the marks is written by hand: what surprised, and what is undecided.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from coldstart_cli.config.catalog import catalogue
from coldstart_cli.config.families import by_family
from coldstart_cli.package import packaged_conf
from reference.markdown import table
from reference.measured import Place, Report, reports

PAGE = Path(__file__).resolve().parents[1] / "docs" / "which-strategy.md"
BEGIN, END = "<!-- made -->\n", "<!-- end -->\n"
SHOWN = 3
"""Names in a cell; of more contestants their number is said."""


def main(words: Sequence[str]) -> int:
    """Writes the page, or with --check says whether it is up to date: 1 where it is not."""
    before = PAGE.read_text(encoding="utf-8")
    after = renewed(before, reports(), families())
    if "--check" not in words:
        PAGE.write_text(after, encoding="utf-8")
    elif after != before:
        print(f"{PAGE.name}: is not what docs/reports say; make results", file=sys.stderr)
        return 1
    return 0


def families() -> dict[str, str]:
    """Strategy -> its family, of the package's own."""
    known = by_family((groups := catalogue([packaged_conf()]))["strategy"], groups)
    return {one.name: str(family) for family, found in known.items() for one in found}


def renewed(page: str, found: Sequence[Report], family_of: Mapping[str, str]) -> str:
    """The page with its tables made anew.

    Raises:
        ValueError: where it lacks the marks.
    """
    before, begin, rest = page.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not (begin and end):
        raise ValueError(f"{PAGE}: lacks the lines {BEGIN.strip()} and {END.strip()}; put them back")
    titles = [report.title for report in found]
    named = [
        report
        if titles.count(report.title) == 1
        # Two reports of the same tasks are told apart by their files.
        else replace(report, title=f"{report.title}, {report.file.removesuffix('.html')}")
        for report in found
    ]
    parts = [_overview(named), *(_section(report, family_of) for report in named)]
    return before + BEGIN + "\n\n".join(parts) + "\n" + END + after


def _overview(found: Sequence[Report]) -> str:
    """A row for each report, a column for each number of labels: what no other contestant beats."""
    ks = sorted({k for report in found for k in report.best})
    rows = [[f"[{report.title}](#{_anchor(report)})", *(_winners(report, k) for k in ks)] for report in found]
    return table(("data", *(f"k = {k}" for k in ks)), rows)


def _winners(report: Report, k: int) -> str:
    names = report.best.get(k, [])
    ordered = sorted(names, key=lambda name: _order(report, name, k))
    more = f" and {len(names) - SHOWN} more" if len(names) > SHOWN else ""
    return ", ".join(f"`{name}`" for name in ordered[:SHOWN]) + more


def _section(report: Report, family_of: Mapping[str, str]) -> str:
    """The best of each family at each number of labels; bold where nothing beats it."""
    ks = list(report.best)
    of_family: dict[str, list[str]] = {}
    for name in report.places:
        of_family.setdefault(family_of.get(name.split(" ")[0], "other"), []).append(name)
    rows = [[family, *(_best(report, names, k) for k in ks)] for family, names in of_family.items()]
    return "\n\n".join(
        [
            f"### {report.title}",
            f"{len(report.places)} contestants, {report.headline} ([report](reports/{report.file})).",
            table(("best of its family", *(f"k = {k}" for k in ks)), rows),
        ]
    )


def _best(report: Report, names: Sequence[str], k: int) -> str:
    there = [name for name in names if _at(report, name, k)]
    if not there:
        return ""
    best = min(there, key=lambda name: _order(report, name, k))
    place = _at(report, best, k)
    text = f"`{best}` {place.value}" if place else ""
    return f"**{text}**" if best in report.best[k] else text


def _order(report: Report, name: str, k: int) -> float:
    place = _at(report, name, k)
    return float("inf") if place is None else place.mean * (-1 if report.higher else 1)


def _at(report: Report, name: str, k: int) -> Place | None:
    return next((place for place in report.places[name] if place.k == k), None)


def _anchor(report: Report) -> str:
    return report.title.lower().replace(",", "").replace(" ", "-")


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
