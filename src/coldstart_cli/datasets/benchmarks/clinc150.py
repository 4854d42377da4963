"""CLINC150: 150 intents of ten domains (Larson et al. 2019, EMNLP, "An evaluation dataset for intent
classification and out-of-scope prediction"). The 1,200 utterances that are out of scope are left out.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal

from annotated_types import Ge, Lt

from coldstart_cli.core.tasks import TaskShape
from coldstart_cli.datasets.benchmarks.intents import (
    Published,
    Utterance,
    all_at_once,
    by_domain,
    by_intent,
    without_duplicates,
)
from coldstart_cli.datasets.own.draws import Draws
from coldstart_cli.datasets.own.names import worded
from coldstart_cli.datasets.own.source import Own
from coldstart_cli.datasets.own.splits import Plan, SplitBy
from coldstart_cli.datasets.readers.download import located
from coldstart_cli.errors import RequestError, suggestion
from coldstart_cli.files.regular import read_bytes
from coldstart_cli.models.preprocess import Preprocess

_PARTS: Mapping[str, Published] = {"train": "train", "val": "validation", "test": "test"}


def clinc150(
    preprocess: Preprocess,
    *,
    bank_seed: Annotated[int, Ge(0)],
    n_way: Annotated[int, Ge(2)] | None,
    k_shot: Annotated[int, Ge(0)],
    n_query: Annotated[int, Ge(1)],
    n_unlabelled: Annotated[int, Ge(0)],
    root: str | None,
    setting: Literal["domain", "intent", "all"],
    new_domain: str,
    validation_domain: str | None,
    split_seed: Annotated[int, Ge(0)],
    validation_share: Annotated[float, Ge(0), Lt(1)],
    new_share: Annotated[float, Ge(0), Lt(1)],
    held_out_share: Annotated[float, Ge(0), Lt(1)],
    descriptions: str | None,
    descriptions_beside: bool,
    known_duplicates: list[str],
) -> Own | Draws:
    """Utterances as tasks.

    Args:
        preprocess: the model's, which reads text.
        bank_seed: determines the tasks, not the data.
        n_way: intents of a task; None: all that a task can have (domain: 15).
        k_shot: support utterances an intent.
        n_query: query utterances an intent; `all` asks the whole test set, 30.
        n_unlabelled: unlabelled utterances an intent.
        root: folder with data_full.json and domains.json; None downloads.
        setting: `domain`: nine source domains, one new; `intent`: intents of all domains are split; `all`:
            the 150 intents at once, without a source.
        new_domain: of the new tasks; read by `domain`.
        validation_domain: the one of the nine that validates and does not train; None: the one that follows
            new_domain in the publisher's order. Read by `domain`.
        split_seed, validation_share, new_share, held_out_share: see `splits.Plan`; read by `intent`.
        descriptions, descriptions_beside: what the intents are called; see `OwnData`.
        known_duplicates: texts that occur twice.

    Raises:
        RequestError: at missing or damaged files, or an unknown domain.
    """
    wording = worded(descriptions, preprocess, beside=descriptions_beside)
    files = located("clinc150", root)
    domains = _json(files["domains.json"])
    utterances = without_duplicates(
        _utterances(files["data_full.json"], domains),
        known_duplicates,
        "dataset.known_duplicates",
        whole_test=setting == "all",
    )
    split_by: SplitBy = "file" if setting == "domain" else "class"
    plan = Plan(
        TaskShape(n_way, k_shot, n_query, n_unlabelled),
        bank_seed,
        split_by,
        split_seed,
        validation_share,
        new_share,
        held_out_share,
        None,
        False,
    )
    if setting == "all":
        return all_at_once("clinc150", preprocess, utterances, plan, wording)
    if setting == "intent":
        return by_intent("clinc150", preprocess, utterances, plan, wording)
    new, validation = _chosen(list(domains), new_domain, validation_domain)
    return by_domain("clinc150", preprocess, utterances, plan, wording, new, validation)


def _chosen(domains: Sequence[str], new: str, validation: str | None) -> tuple[str, str]:
    for key, name in (("new_domain", new), ("validation_domain", validation)):
        if name is not None and name not in domains:
            raise RequestError(f"dataset.{key}: {name} is not a domain; {suggestion(name, domains)}")
    if validation == new:
        raise RequestError(f"dataset.validation_domain: {new} is the new domain; choose another, or null")
    return new, validation or domains[(domains.index(new) + 1) % len(domains)]


def _utterances(path: Path, domains: Mapping[str, Sequence[str]]) -> list[Utterance]:
    domain_of = {intent: domain for domain, intents in domains.items() for intent in intents}
    data = _json(path)
    try:
        return [
            Utterance(text, intent, domain_of[intent], part, f"{path.name} {name} {number}")
            for name, part in _PARTS.items()
            for number, (text, intent) in enumerate(data[name], start=1)
        ]
    except (KeyError, TypeError, ValueError) as error:
        raise RequestError(f"{path}: is not as published ({error!r}); fetch it anew") from error


def _json(path: Path) -> dict[str, Any]:
    try:
        value = json.loads(read_bytes(path))
    except (OSError, ValueError) as error:
        raise RequestError(f"{path}: cannot be read ({error}); fetch it anew") from error
    if not isinstance(value, dict):
        raise RequestError(f"{path}: is not as published; fetch it anew")
    return value
