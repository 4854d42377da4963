"""Contestants on the same tasks, compared: a pure function of records and summaries."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace

import yaml

from coldstart_cli.comparison.budgets import differences
from coldstart_cli.comparison.contestant_facts import facts, over_shots, reference_curve
from coldstart_cli.comparison.contestants import Contestant, settings_of
from coldstart_cli.comparison.findings import (
    AtK,
    Comparison,
    ContestantFacts,
    LeftOut,
    OverShots,
    RunFacts,
    Setting,
    Similarity,
)
from coldstart_cli.comparison.results import Result
from coldstart_cli.comparison.sentences import sentences
from coldstart_cli.comparison.similarities import similarities
from coldstart_cli.comparison.standings import Terms, at_one_k, hashes, references_of
from coldstart_cli.errors import RequestError
from coldstart_cli.files.durable import flat
from coldstart_cli.metrics.numbers import percent

FORMAT = 1
"""Of what --json prints."""

CONFIDENCE = 0.95
ZONE = 0.005
"""The confidence and the zone of equivalence that are used unless others are asked for."""


def compare(
    results: Sequence[Result],
    left_out: Sequence[LeftOut],
    *,
    confidence: float = CONFIDENCE,
    zone: float = ZONE,
) -> Comparison:
    """Compares all results, each setting apart.

    Args:
        confidence: of all intervals and tests.
        zone: the largest difference in accuracy that does not matter, as a share (.005 is half a point).

    Raises:
        RequestError: where the results have different objectives, saying which.
    """
    _check_one_objective(results)
    found = [_setting(members, confidence, zone) for members in settings_of(results)]
    settings = [setting for setting, _ in found]
    return Comparison(
        format=FORMAT,
        confidence=confidence,
        sentences=[
            f"{setting.title}: {sentence}" if len(settings) > 1 else sentence
            for setting in settings
            for sentence in setting.sentences
        ],
        left_out=left_out,
        notes=list(dict.fromkeys(note for _, notes in found for note in notes)),
        settings=settings,
        runs=_runs(settings, results),
    )


def _check_one_objective(results: Sequence[Result]) -> None:
    """An accuracy and an error have no common scale, so no table could hold both."""
    paths: dict[str, list[str]] = {}
    for result in results:
        paths.setdefault(result.summary.headline, []).append(str(result.path))
    if len(paths) > 1:
        kinds = ", ".join(f"{len(set(p))} by {name} such as {p[0]}" for name, p in sorted(paths.items()))
        raise RequestError(
            f"compare: these runs have different objectives ({kinds}); compare those of one at a time (E36)"
        )


def _setting(members: Sequence[Contestant], confidence: float, zone: float) -> tuple[Setting, list[str]]:
    """Contestants that share tasks, compared at every k; and what a reader must know of them."""
    first = members[0].results[0].summary
    # Points are of accuracy alone: any other metric has a zone that its values set (`Terms.margin`).
    percent = first.headline == "accuracy"
    terms = Terms(first.higher_is_better, confidence, zone if percent else None)
    shots: dict[int, AtK] = {}
    tasks: dict[int, Sequence[str]] = {}
    similar: list[Similarity] = []
    references: dict[int, dict[str, Contestant]] = {}
    notes: list[str] = []
    for k in sorted({k for member in members for k in member.shots}):
        present, shared, said = _sharing([m for m in members if k in m.shots], k)
        notes += said
        if len(shared) < 2:  # one task has no interval
            continue
        references[k] = references_of(present, k, first.higher_is_better)
        shots[k] = at_one_k(present, k, shared, references[k], terms)
        tasks[k] = hashes(shared)
        similar += similarities(present, k, references[k], first.higher_is_better)
    setting = Setting(
        title=_title(members[0].results[0]),
        dataset=first.names.dataset,
        n_way=first.n_way,
        headline=first.headline,
        higher_is_better=first.higher_is_better,
        percent=percent,
        zone=terms.zone,
        units=first.units,
        contestants=_facts(members, shots, references, first.higher_is_better),
        shots=shots,
        similarity=similar,
        tasks=tasks,
        sentences=(),
    )
    notes += [
        *_caveats(members),
        *_below_zero(setting),
        *differences(setting.contestants),
        *_family(shots.values(), confidence),
    ]
    return replace(setting, sentences=sentences(setting)), notes


def _below_zero(setting: Setting) -> list[str]:
    """Where the interval of an error holds numbers that no error can be.

    It stays symmetric, for what is below 0 may be cut off without changing how often it holds, while a
    half-width that were cut would make few seeds look sure.
    """
    found = [
        f"{name} at k = {k}"
        for k, at in setting.shots.items()
        for name, of in at.results.items()
        if of.mean is not None and of.half_width is not None and 0 <= of.mean < of.half_width
    ]
    if setting.higher_is_better or not found:
        return []
    more = f" and {len(found) - 3} more" if len(found) > 3 else ""
    return [
        f"no {setting.headline} is below 0, to which an interval of few seeds or tasks can reach "
        f"({', '.join(found[:3])}{more}): read it as cut off there; further seeds make it narrower"
    ]


def _family(shots: Iterable[AtK], confidence: float) -> list[str]:
    """Which tests are corrected together: without it nobody can say what a verdict's error is."""
    if all(len(at.pairs) < 2 for at in shots):
        return []
    return [
        "wins and losses are corrected over all pairs of contestants at one k of a setting (Holm): where all "
        f"are equal, at most {percent(1 - confidence)} % of such tables call any pair different"
    ]


def _sharing(members: Sequence[Contestant], k: int) -> tuple[list[Contestant], list[str], list[str]]:
    """The contestants that share tasks at k, these tasks, and who is left out or cut down."""
    own = {m.name: set.intersection(*(set(shot.adapted) for shot in m.shots[k].values())) for m in members}
    notes: list[str] = []
    kept: list[Contestant] = []
    shared: set[str] = set()
    # From the most tasks down, so that a contestant with few or other tasks is the one that is left out.
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
    return [m for m in members if m in kept], sorted(shared), notes


def _facts(
    members: Sequence[Contestant],
    shots: Mapping[int, AtK],
    references: Mapping[int, Mapping[str, Contestant]],
    higher: bool,
) -> list[ContestantFacts]:
    """Of every contestant, by the mean at the smallest k it has; who has none comes last."""

    def place(member: Contestant) -> tuple[int, float]:
        for position, at in enumerate(shots.values()):
            standing = at.results.get(member.name)
            if standing is not None and standing.mean is not None:
                return position, -standing.mean if higher else standing.mean
        return len(shots), 0.0

    def over(name: str) -> OverShots:
        return over_shots(name, shots, reference_curve(name, references, shots), higher)

    return [facts(member, over(member.name)) for member in sorted(members, key=place)]


def _title(first: Result) -> str:
    summary, left_out = first.summary, first.config["dataset"].get("leave_out")
    ways = f", {summary.n_way}-way" if summary.n_way else ""
    return f"{summary.names.dataset}{ways}{f', {left_out} left out' if left_out else ''}"


def _caveats(members: Sequence[Contestant]) -> list[str]:
    single = [m.name for m in members if len(m.seeds) == 1]
    notes = []
    if single:
        who = "all contestants have" if len(single) == len(members) else f"{', '.join(single)}: "
        notes.append(
            f"{who} one training seed: their intervals are conditional on it, and differences of a point "
            "between them may be the seed's; seed=0,1,2,3,4 would tell"
        )
    if len({r.summary.hardware for m in members if not m.baseline for r in m.results}) > 1:
        notes.append("times were measured on different hardware or thread counts: compare them roughly")
    transductive = [m.name for m in members if m.results[0].summary.transductive and not m.baseline]
    if transductive:
        notes.append(f"transductive (a prediction may depend on its batch): {', '.join(transductive)}")
    return notes


def _runs(settings: Sequence[Setting], results: Sequence[Result]) -> list[RunFacts]:
    """The runs themselves, with what tells each from the first; a run of several evaluations once."""
    # A run that shares no tasks at any k has no contestant, and is listed all the same.
    owner = {path: one.name for setting in settings for one in setting.contestants for path in one.runs}
    first = flat(results[0].training)
    found: dict[str, RunFacts] = {}
    for result in results:
        path = str(result.path)
        if path in found:
            continue
        found[path] = RunFacts(
            path=path,
            contestant=owner.get(path, ""),
            seed=result.seed,
            config=yaml.safe_dump(dict(result.training), sort_keys=False),
            differs={key: v for key, v in flat(result.training).items() if first.get(key) != v},
            environment=result.environment,
            state=result.state,
        )
    return list(found.values())
