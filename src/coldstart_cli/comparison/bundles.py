"""Bundles beside one another, by the answers to held-out labels that their cards keep."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from coldstart_cli.comparison.findings import LeftOut
from coldstart_cli.comparison.shared_rows import Rows, compared, held_out, rows_kept
from coldstart_cli.errors import RequestError
from coldstart_cli.files.card_digest import check_digest
from coldstart_cli.files.durable import read_json
from coldstart_cli.files.untrusted import shaped
from coldstart_cli.metrics.paired_rows import PairedRows, paired_rows
from coldstart_cli.metrics.significance import holm
from coldstart_cli.runs.places import run_directories

CARD = "card.json"
CONFIDENCE = 0.95


@dataclass(frozen=True, slots=True, kw_only=True)
class BundleFacts:
    """A bundle, by its card.

    Attributes:
        value, low, high: of the metric, as the card says it: less luck where `choose` took it.
        n_held_out: its labelled rows that were held out.
        scores: (n,) of each labelled row, nan where it was never held out; once compared, of the shared rows.
        clusters: (n,) which of them belong together.
        data: a digest of all rows; rows: (n,) what each is known again by, or None where nothing is kept.
        chosen: whether `choose` made it.
    """

    name: str
    path: str
    strategy: str
    model: str
    root: str | None
    metric: str
    value: float
    low: float | None
    high: float | None
    folds: int
    repeats: int
    seconds: float
    chosen: bool
    data: str
    n_held_out: int
    scores: NDArray[np.float64]
    clusters: NDArray[np.int64]
    rows: Rows | None

    @property
    def higher(self) -> bool:
        return self.metric == "accuracy"

    @property
    def mean(self) -> float:
        """Of the held-out rows, the higher the better."""
        return float(self.scores.mean()) * (1 if self.higher else -1)


@dataclass(frozen=True, slots=True)
class BundlePair:
    """One bundle against another: positive where a is better; p_holm among all pairs."""

    a: str
    b: str
    found: PairedRows
    p_holm: float


@dataclass(frozen=True, slots=True)
class BundleComparison:
    """Bundles on the held-out rows that they share, the best first.

    Attributes:
        n_rows, n_clusters: that were held out, and those that belong together counted as one.
        notes: what limits the comparison, one line each.
    """

    bundles: Sequence[BundleFacts]
    pairs: Sequence[BundlePair]
    n_rows: int
    n_clusters: int
    notes: Sequence[str]
    left_out: Sequence[LeftOut]

    def against_best(self, name: str) -> BundlePair | None:
        """The pair of the best and another one."""
        best = self.bundles[0].name
        return next((pair for pair in self.pairs if pair.a == best and pair.b == name), None)

    def tied(self, name: str) -> bool:
        """Whether held-out rows cannot tell it from the best."""
        pair = self.against_best(name)
        return pair is not None and not pair.p_holm < 1 - CONFIDENCE


def bundle_folders(paths: Sequence[Path]) -> list[Path]:
    """The bundles among `paths`, and those in a folder of them; none where there are runs alone.

    Raises:
        RequestError: where some of `paths` have bundles and others none.
    """
    found: dict[Path, Path] = {}
    without = []
    for path in paths:
        bundles = [path] if (path / CARD).is_file() else _inside(path)
        without += [] if bundles else [path]
        for folder in bundles:
            found.setdefault(folder.resolve(), folder)
    if found and without:
        one = next(iter(found.values()))
        raise RequestError(f"compare: {without[0]} is no bundle and {one} is one; compare one kind at a time")
    return list(found.values())


def _inside(path: Path) -> list[Path]:
    """The bundles in a folder; none where it has runs, for whose sake a folder of both is named."""
    found = sorted(p for p in path.iterdir() if (p / CARD).is_file()) if path.is_dir() else []
    # Sweeps warn of runs that have gone, which whoever reads the runs will hear then
    return found if found and not run_directories([path], "compare") else []


def compare_bundles(folders: Sequence[Path]) -> BundleComparison:
    """Compares bundles pair by pair on the rows that all of them held out.

    Raises:
        RequestError: where no two have answered one held-out row.
    """
    found, left_out = list[BundleFacts](), list[LeftOut]()
    for folder in folders:
        try:
            with shaped("compare", folder):
                found.append(_read(folder))
        except RequestError as error:
            left_out.append(LeftOut(str(folder), str(error).removeprefix(f"{folder}: ")))
    found = _named(found)
    places = held_out(found)
    group, rows = compared(found, places)
    if len(group) < 2:
        raise RequestError(_nothing(folders, left_out, found))
    same = [_on(found[i], [places[i][row] for row in rows]) for i in group]
    for i in {*range(len(found))} - {*group}:
        n = len(places[i].keys() & {*rows})
        few = f" ({n} of {len(rows)} are the same)" if n else ""
        left_out.append(LeftOut(found[i].path, f"{_own(found[i])} on other rows than {same[0].name}'s{few}"))
    same = sorted(same, key=lambda one: -one.mean)
    n = len(np.unique(_joined(same)))
    return BundleComparison(same, _pairs(same), len(rows), n, _notes(same), left_out)


def _on(one: BundleFacts, rows: Sequence[int]) -> BundleFacts:
    """The bundle on some of its rows."""
    at = np.array(rows, dtype=np.int64)
    return replace(one, scores=one.scores[at], clusters=one.clusters[at], rows=None)


def _nothing(folders: Sequence[Path], left_out: Sequence[LeftOut], known: Sequence[BundleFacts]) -> str:
    if len(folders) < 2:
        kept = sorted(folders[0].glob("versions/[0-9]*"))
        earlier = f", as its earlier version {kept[-1]}" if kept else ""
        return (
            f"compare: {folders[0]} is one bundle; name others of the same labelled rows beside it{earlier}"
        )
    if len(known) > 1:
        told = "; ".join(f"{one.name}: {_own(one)}" for one in known)
        return (
            f"compare: no two of these bundles were judged by a row of both, so no test pairs them ({told}); "
            "adapt them to the same file, or coldstart evaluate each on one"
        )
    lack = left_out[0]
    return f"compare: fewer than two bundles can be compared ({lack.path}: {lack.reason})"


def _own(one: BundleFacts) -> str:
    return f"{one.metric} {_value(one, one.value)}"


def _value(one: BundleFacts, value: float) -> str:
    return f"{100 * value:.1f} %" if one.metric == "accuracy" else f"{value:.3g}"


def _read(folder: Path) -> BundleFacts:
    card = read_json(folder / CARD, "compare", "make it again")
    check_digest(card, folder / CARD, "compare")
    measured, rows = card.get("cross_validation"), card.get("held_out")
    if measured is None:
        raise RequestError("no label of it could be held out")
    if rows is None:
        raise RequestError("an earlier version made it, without answers to pair; adapt again")
    scores = np.array([np.nan if s is None else float(s) for s in rows["scores"]])
    clusters = np.array([int(c) for c in rows["clusters"]], dtype=np.int64)
    if len(scores) != len(clusters) or np.isnan(scores).all():
        raise RequestError("its card is damaged; make it again")
    return BundleFacts(
        name=_name(folder.resolve()),
        path=str(folder),
        strategy=str(card["strategy"]),
        model=str(card["model"]),
        root=_text(card["data"].get("root")),
        metric=str(measured["metric"]),
        value=float(measured["mean"]),
        low=_number(measured, "low"),
        high=_number(measured, "high"),
        folds=int(measured["folds"]),
        repeats=int(measured["repeats"]),
        seconds=float(card["seconds"]["adaptation"]),
        chosen=any(str(line).startswith("chosen by coldstart choose") for line in card["said"]),
        data=str(rows["data"]),
        n_held_out=int((~np.isnan(scores)).sum()),
        scores=scores,
        clusters=clusters,
        rows=rows_kept(folder, card),
    )


def _name(folder: Path) -> str:
    """Its own name; of an earlier version also the bundle's, for `1` says little."""
    return "/".join(folder.parts[-3 if folder.parent.name == "versions" else -1 :])


def _text(value: object) -> str | None:
    return None if value is None else str(value)


def _number(values: Mapping[str, Any], key: str) -> float | None:
    return None if values.get(key) is None else float(values[key])


def _named(found: Sequence[BundleFacts]) -> list[BundleFacts]:
    """By their folders' names; by their paths where two have the same."""
    names = [one.name for one in found]
    return [replace(one, name=one.path) if names.count(one.name) > 1 else one for one in found]


def _pairs(bundles: Sequence[BundleFacts]) -> list[BundlePair]:
    clusters = _joined(bundles)
    sign = 1 if bundles[0].higher else -1
    both = list(itertools.combinations(bundles, 2))
    tests = [
        paired_rows(
            sign * a.scores,
            sign * b.scores,
            clusters,
            shares=a.higher,
            confidence=CONFIDENCE,
        )
        for a, b in both
    ]
    adjusted = holm([test.p for test in tests])
    return [
        BundlePair(a.name, b.name, test, p) for (a, b), test, p in zip(both, tests, adjusted, strict=True)
    ]


def _joined(bundles: Sequence[BundleFacts]) -> NDArray[np.int64]:
    """(n,) the smallest groups that divide none of any bundle: models see different rows as the same."""
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import connected_components

    n = len(bundles[0].scores)
    rows = np.tile(np.arange(n), len(bundles))
    groups = np.concatenate([_numbered(one.clusters) + n * (i + 1) for i, one in enumerate(bundles)])
    size = n * (len(bundles) + 1)
    edges = coo_array((np.ones(len(rows)), (rows, groups)), shape=(size, size))
    found: NDArray[np.int64] = connected_components(edges, directed=False)[1][:n].astype(np.int64)
    return found


def _numbered(names: NDArray[np.int64]) -> NDArray[np.int64]:
    found: NDArray[np.int64] = np.unique(names, return_inverse=True)[1]
    return found


def _notes(bundles: Sequence[BundleFacts]) -> list[str]:
    notes = []
    n = len(bundles[0].scores)
    if any(one.n_held_out > n for one in bundles):
        own = ", ".join(f"{one.name} {_value(one, abs(one.mean))} ({one.n_held_out} rows)" for one in bundles)
        notes.append(
            f"{n} rows with the same label were held out by all, and the test is on these: {own}; the table "
            "has each on all rows of its own"
        )
    dealt = {(one.folds, one.repeats) for one in bundles}
    if len(dealt) > 1:
        told = ", ".join(f"{one.name} in {one.folds}" for one in bundles)
        notes.append(f"they were judged in different numbers of folds ({told}): fewer folds see fewer labels")
    if chosen := [one.name for one in bundles if one.chosen]:
        notes.append(
            f"choose took {', '.join(chosen)} among others: its accuracy is less the luck of that, the "
            "differences of pairs are not"
        )
    if len(bundles) > 2:
        notes.append("p is Holm's over all pairs")
    return notes
