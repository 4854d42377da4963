"""Contestants on the same tasks, compared: a plain dict, a pure function of records and summaries.

The table in the terminal, --json, --csv and the HTML report all read this dict and nothing else. Its
layout stands in docs/comparison.md. Numbers are in the metric's own unit, None where they are not finite.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import yaml

from coldstart_cli.comparison.contestant_facts import facts, over_shots, reference_curve
from coldstart_cli.comparison.contestants import Contestant, settings_of
from coldstart_cli.comparison.results import LeftOut, Result
from coldstart_cli.comparison.standings import at_one_k, references_of, similarity
from coldstart_cli.comparison.verdict import sentences
from coldstart_cli.errors import RequestError
from coldstart_cli.files.durable import flat
from coldstart_cli.safe_text import csv_text

FORMAT = 1
Dict = dict[str, Any]


CONFIDENCE = 0.95
ZONE = 0.005
"""Confidence and zone of equivalence where nobody asks for others."""


def compare(
    results: Sequence[Result],
    left_out: Sequence[LeftOut],
    *,
    confidence: float = CONFIDENCE,
    zone: float = ZONE,
) -> Dict:
    """Compares all results, each setting apart.

    Args:
        confidence: of all intervals and tests.
        zone: the largest difference in accuracy that does not matter, as a share (.005 is half a point).

    Raises:
        RequestError: where the results have different objectives, saying which.
    """
    paths: dict[str, list[str]] = {}
    for result in results:
        paths.setdefault(str(result.summary["headline"]), []).append(str(result.path))
    if len(paths) > 1:
        kinds = ", ".join(f"{len(set(p))} by {name} such as {p[0]}" for name, p in sorted(paths.items()))
        raise RequestError(
            f"compare: these runs have different objectives ({kinds}); compare those of one at a time"
        )
    settings = [_setting(members, confidence, zone) for members in settings_of(results)]
    found: Dict = {
        "format": FORMAT,
        "confidence": confidence,
        "sentences": [],
        "left_out": [{"path": run.path, "reason": run.reason} for run in left_out],
        "notes": [note for setting in settings for note in setting.pop("notes")],
        "settings": settings,
        "runs": _runs(settings, results),
    }
    several = len(settings) > 1
    found["sentences"] = [
        f"{setting['title']}: {sentence}" if several else sentence
        for setting in settings
        for sentence in setting["sentences"]
    ]
    found["notes"] = list(dict.fromkeys(found["notes"]))
    return found


def _setting(members: Sequence[Contestant], confidence: float, zone: float) -> Dict:
    first = members[0].results[0].summary
    higher, percent = first["higher_is_better"], first["headline"] == "accuracy"
    shots: Dict = {}
    notes: list[str] = []
    similar: list[Dict] = []
    references: dict[int, dict[str, Contestant]] = {}
    for k in sorted({k for member in members for k in member.shots}):
        present, tasks = _sharing([m for m in members if k in m.shots], k, notes)
        if len(tasks) < 2:
            continue
        references[k] = references_of(present, k, higher)
        shots[str(k)] = at_one_k(
            present, k, tasks, references[k], higher, confidence, zone if percent else None
        )
        similar += similarity(present, k, references[k], higher)
    order = _best_first([m.name for m in members], shots, higher)
    setting: Dict = {
        "title": _title(members[0].results[0]),
        "dataset": first["names"]["dataset"],
        "n_way": first["n_way"],
        "headline": first["headline"],
        "higher_is_better": higher,
        "percent": percent,
        "zone": zone if percent else None,
        "units": dict(first.get("units", {})),
        "contestants": [facts(m) for m in sorted(members, key=lambda m: order.index(m.name))],
        "shots": shots,
        "similarity": similar,
        "tasks": {k: row.pop("tasks") for k, row in shots.items()},
        "notes": [*notes, *_caveats(members)],
    }
    for row, member in ((c, m) for m in members for c in setting["contestants"] if c["name"] == m.name):
        row["over_shots"] = over_shots(member, shots, reference_curve(member.name, references, shots), higher)
    setting["sentences"] = sentences(setting)
    return setting


def _sharing(members: list[Contestant], k: int, notes: list[str]) -> tuple[list[Contestant], list[str]]:
    """The contestants that share tasks at k, and these tasks; says who is left out or cut down."""

    def tasks(member: Contestant) -> set[str]:
        return set.intersection(*(set(shot.new[shot.step]) for shot in member.shots[k].values()))

    own = {member.name: tasks(member) for member in members}
    kept: list[Contestant] = []
    shared: set[str] = set()
    for member in sorted(members, key=lambda m: -len(own[m.name])):
        joint = own[member.name] & shared if kept else own[member.name]
        if len(joint) < 2 and kept:
            notes.append(f"at k = {k} {member.name} was evaluated on other tasks and is left out")
            continue
        kept, shared = [*kept, member], joint
    for member in kept:
        if len(own[member.name]) > len(shared):
            notes.append(
                f"at k = {k} compared on the {len(shared)} tasks that all share "
                f"({member.name} has {len(own[member.name])})"
            )
    return [m for m in members if m in kept], sorted(shared)


def _best_first(names: Sequence[str], shots: Mapping[str, Dict], higher: bool) -> list[str]:
    """By the mean at the smallest k a contestant has; who has none comes last."""

    def place(name: str) -> tuple[int, float]:
        for position, row in enumerate(shots.values()):
            mean = row["results"].get(name, {}).get("mean")
            if mean is not None:
                return position, -mean if higher else mean
        return len(shots), 0.0

    return sorted(names, key=place)


def _title(result: Result) -> str:
    n_way = result.summary["n_way"]
    return f"{result.summary['names']['dataset']}{f', {n_way}-way' if n_way else ''}"


def _caveats(members: Sequence[Contestant]) -> list[str]:
    single = [m.name for m in members if len(m.seeds) == 1]
    notes = []
    if single:
        who = "all contestants have" if len(single) == len(members) else f"{', '.join(single)}: "
        notes.append(
            f"{who} one training seed: their intervals are conditional on it, and differences of a point "
            "between them may be the seed's; seed=0,1,2,3,4 would tell"
        )
    hardware = {str(r.summary["hardware"]) for m in members if not m.baseline for r in m.results}
    if len(hardware) > 1:
        notes.append("times were measured on different hardware or thread counts: compare them roughly")
    transductive = [m.name for m in members if m.results[0].summary["transductive"] and not m.baseline]
    if transductive:
        notes.append(f"transductive (a prediction may depend on its batch): {', '.join(transductive)}")
    return notes


def _runs(settings: Sequence[Dict], results: Sequence[Result]) -> list[Dict]:
    """The runs themselves, with what tells each from the first."""
    owner = {path: row["name"] for setting in settings for row in setting["contestants"]
             for path in row["runs"]}  # fmt: skip
    runs: dict[str, Dict] = {}
    common = flat(results[0].training)
    for result in results:
        config = flat(result.training)
        runs.setdefault(
            str(result.path),
            {
                "path": str(result.path),
                "contestant": owner.get(str(result.path), ""),
                "seed": result.seed,
                "config": yaml.safe_dump(dict(result.training), sort_keys=False),
                "differs": {k: v for k, v in config.items() if common.get(k) != v},
                "environment": dict(result.environment),
                "state": dict(result.state),
            },
        )
    return list(runs.values())


def csv_of(comparison: Mapping[str, Any]) -> str:
    """The flat table as CSV."""
    return csv_text(rows(comparison))


def rows(comparison: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The comparison as a flat table: a row for each setting, k and contestant."""
    found = []
    others = list(dict.fromkeys(name for s in comparison["settings"] for name in other_metrics(s)))
    for setting in comparison["settings"]:
        contestants = {c["name"]: c for c in setting["contestants"]}
        for k, shot in setting["shots"].items():
            for name, result in shot["results"].items():
                contestant = contestants[name]
                costs, gain = contestant["costs"] or {}, result["gain"] or {}
                timing = costs.get("inference", {}).get("1", {})
                found.append(
                    {
                        "setting": setting["title"],
                        "metric": setting["headline"],
                        "k": int(k),
                        "contestant": name,
                        "strategy": contestant["strategy"],
                        "model": contestant["model"],
                        "seeds": len(contestant["seeds"]),
                        "tasks": shot["n_tasks"],
                        "mean": result["mean"],
                        "half_width": result["half_width"],
                        "rank": result["rank"],
                        "winner": name in shot["winners"],
                        "gain": gain.get("mean"),
                        "gain_half_width": gain.get("half_width"),
                        "adaptation_ms": (costs.get("adaptation_ms") or {}).get(k),
                        "p50_ms": timing.get("p50_ms"),
                        "p95_ms": timing.get("p95_ms"),
                        "parameters": costs.get("parameters"),
                        "bank": shot["bank"],
                        **_flat_metrics(result["metrics"], others),
                    }
                )
    return found


def other_metrics(setting: Mapping[str, Any]) -> list[str]:
    """The metrics beside the headline that some contestant of a setting is known by."""
    shots = setting["shots"].values()
    return list(
        dict.fromkeys(n for shot in shots for row in shot["results"].values() for n in row["metrics"])
    )


def _flat_metrics(metrics: Mapping[str, Any], names: Sequence[str]) -> dict[str, float | None]:
    """Columns of every named metric; unknown where a run was evaluated without it."""
    found: dict[str, float | None] = {}
    for name in names:
        interval = metrics.get(name, {})
        found |= {name: interval.get("mean"), f"{name}_half_width": interval.get("half_width")}
    return found
