"""Who is compared with whom: results gathered into contestants, and these into settings.

A *contestant* is what differs in nothing but its training seed. A *setting* is a set of contestants that
were evaluated on the same tasks, by the hashes in their records; data sets and shapes are never pooled.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from coldstart_cli.comparison.results import Record, Result
from coldstart_cli.digests import json_digest
from coldstart_cli.files.durable import flat
from coldstart_cli.runs.run import DETERMINING, PLACES, REPORTING

REFERENCE = "scratch"
"""The strategy that transfer is measured against."""


@dataclass(frozen=True, slots=True)
class Shot:
    """What one training seed reached at one k.

    Attributes:
        step: adaptation steps that validation tasks chose.
        variant: of a baseline, its settings that validation tasks chose.
        new, source_test: step -> task -> value, by `task_key`.
        rows: the records of new tasks, of every role.
        summary: the row of summary.json.
    """

    step: int
    variant: str
    new: Mapping[int, Mapping[str, float]]
    source_test: Mapping[int, Mapping[str, float]]
    rows: Sequence[Record]
    summary: Mapping[str, Any]
    result: Result


@dataclass(frozen=True, slots=True)
class Contestant:
    """A strategy with its settings, trained with one seed or several.

    Attributes:
        settings: flat keys and values of what determines it, without the seed.
        shots: k -> seed -> what it reached.
        baseline: it was evaluated beside other strategies, as their baseline.
    """

    name: str
    strategy: str
    model: str
    settings: Mapping[str, Any]
    shots: Mapping[int, Mapping[int, Shot]]
    baseline: bool

    @property
    def results(self) -> list[Result]:
        """Its evaluations, each once."""
        found = {id(s.result): s.result for by_seed in self.shots.values() for s in by_seed.values()}
        return list(found.values())

    @property
    def seeds(self) -> list[int]:
        return sorted({seed for by_seed in self.shots.values() for seed in by_seed})


def settings_of(results: Sequence[Result]) -> list[list[Contestant]]:
    """Contestants in groups that share tasks; the largest group first."""
    contestants = _contestants(results)
    groups: list[tuple[set[object], list[Contestant]]] = []
    for contestant in contestants:
        tasks = _tasks(contestant)
        joined = [group for group in groups if group[0] & tasks]
        rest = [group for group in groups if not group[0] & tasks]
        merged = (tasks.union(*(t for t, _ in joined)), [c for _, cs in joined for c in cs] + [contestant])
        groups = [*rest, merged]
    found = [_named(members) for _, members in groups]
    return sorted(found, key=lambda members: (all(m.baseline for m in members), -len(members)))


def task_key(row: Record) -> str:
    """A task by number and content: without labels, two draws differ in what is unlabelled alone.

    Keys sort as the tasks are numbered.
    """
    split, _, number = str(row["task"]).rpartition("/")
    return f"{split}/{number:>9} {row['task_hash']}"


def _tasks(contestant: Contestant) -> set[object]:
    """(k, task) of all its new tasks."""
    return {
        (k, task)
        for k, by_seed in contestant.shots.items()
        for shot in by_seed.values()
        for task in shot.new[shot.step]
    }


def determining(config: Mapping[str, Any]) -> dict[str, Any]:
    """What determines the trained weights but the seed, flat; as runs.run_name sees it."""
    parts = {key: config[key] for key in DETERMINING if key != "seed"}
    parts["dataset"] = {k: v for k, v in config["dataset"].items() if k not in PLACES}
    parts["training"] = {k: v for k, v in config["training"].items() if k not in REPORTING}
    return flat({**parts, "precision": config["hardware"]["precision"]})


def _baseline_settings(result: Result) -> dict[str, Any]:
    """What determines a baseline: its own node, the network, and what validation chose from."""
    config, plan = result.config, result.config["evaluation"]
    asked = {key: plan[key] for key in ("baseline_steps", "baseline_search")}
    return flat({"strategy": config["baseline"], "model": config["model"], "evaluation": asked})


def _contestants(results: Sequence[Result]) -> list[Contestant]:
    """All contestants, not yet told apart by name; of one seed's evaluations the newest that has a k."""
    shots: dict[str, dict[int, dict[int, Shot]]] = {}
    facts: dict[str, tuple[str, str, dict[str, Any], bool]] = {}
    for result in sorted(results, key=lambda r: -r.written):
        names = result.names
        roles = [("strategy", names["strategy"], determining(result.training))]
        if result.config["baseline"] is not None:
            roles.append(("baseline", names["baseline"], _baseline_settings(result)))
        for role, strategy, settings in roles:
            # The data of the evaluation too: one run may be evaluated on several, and on several ways.
            where = [names["dataset"], result.summary["headline"], result.summary["n_way"]]
            key = json_digest([role, strategy, settings, where, _bank(result)])
            facts.setdefault(key, (strategy, names["model"], settings, role == "baseline"))
            for k, shot in _shots(role, result).items():
                shots.setdefault(key, {}).setdefault(k, {}).setdefault(result.seed, shot)
    return [
        Contestant(strategy, strategy, model, settings, dict(sorted(shots[key].items())), baseline)
        for key, (strategy, model, settings, baseline) in facts.items()
        if key in shots
    ]


def _bank(result: Result) -> Any:
    """What says which tasks were drawn, but for their number and k; hashes have the last word."""
    plan, data = result.config["evaluation"], result.config["dataset"]
    training = ("n_way", "k_shot", "n_query", "n_unlabelled", *PLACES)
    kept = {key: value for key, value in data.items() if key not in training}
    return [kept, plan["n_query"], result.environment.get("fingerprint")]


def _shots(role: str, result: Result) -> dict[int, Shot]:
    new: dict[tuple[int, int], dict[str, float]] = {}
    source: dict[tuple[int, int], dict[str, float]] = {}
    rows: dict[int, list[Record]] = {}
    for row in result.records:
        if row["split"] == "new":
            rows.setdefault(row["k_shot"], []).append(row)
        if row["role"] == role and row["split"] != "validation":
            into = new if row["split"] == "new" else source
            value = row["value"]
            place = into.setdefault((row["k_shot"], row["step"]), {})
            place[task_key(row)] = float("nan") if value is None else value
    shots = {}
    for k, found in result.summary["shots"].items():
        part = found.get("new" if role == "strategy" else "baseline")
        if part is None:
            continue
        shots[int(k)] = Shot(
            step=part["step"],
            variant=result.summary["variants"].get(k, "") if role == "baseline" else "",
            new={step: values for (shot, step), values in new.items() if shot == int(k)},
            source_test={step: values for (shot, step), values in source.items() if shot == int(k)},
            rows=rows.get(int(k), []),
            summary=found,
            result=result,
        )
    return {k: shot for k, shot in shots.items() if shot.step in shot.new}


def _named(members: Sequence[Contestant]) -> list[Contestant]:
    """The same with names that tell them apart: by model, then by whatever settings differ."""
    named: list[Contestant] = []
    for strategy in dict.fromkeys(m.strategy for m in members):
        own = [m for m in members if m.strategy == strategy]
        models = len({m.model for m in own}) > 1
        differing = _differing([m.settings for m in own], {"model."} if models else set())
        for m in own:
            told = [m.model] if models else []
            told += [f"{key.removeprefix('strategy.')}={_text(m.settings[key])}" for key in differing
                     if key in m.settings]  # fmt: skip
            told += ["as baseline"] if m.baseline and not all(o.baseline for o in own) else []
            name = f"{strategy} ({', '.join(told)})" if told and len(own) > 1 else strategy
            named.append(Contestant(name, strategy, m.model, m.settings, m.shots, m.baseline))
    return named


def _differing(settings: Sequence[Mapping[str, Any]], without: Iterable[str]) -> list[str]:
    """Keys of which two contestants have different values; keys that one lacks do not count."""
    keys = dict.fromkeys(key for own in settings for key in own)
    values = {key: {_text(own[key]) for own in settings if key in own} for key in keys}
    return [key for key in keys if len(values[key]) > 1 and not key.startswith(tuple(without) or ("\0",))]


def _text(value: Any) -> str:
    return f"{value:g}" if isinstance(value, float) else str(value)
