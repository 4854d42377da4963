"""Published utterances with their intents as tasks: by domain, by intent, or all intents at once."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
import torch
from numpy.typing import NDArray

from coldstart_cli.core.tasks import Examples, Inputs, Split
from coldstart_cli.datasets.episodes.classes import class_table
from coldstart_cli.datasets.episodes.gathering import gather
from coldstart_cli.datasets.own.draws import Draws, Part
from coldstart_cli.datasets.own.labelled import Labelled, marks
from coldstart_cli.datasets.own.names import Wording, named, saying_their_name
from coldstart_cli.datasets.own.source import Own
from coldstart_cli.datasets.own.splits import Plan
from coldstart_cli.datasets.readers.equality import near_equal_groups
from coldstart_cli.datasets.readers.problems import Problems
from coldstart_cli.digests import row_hashes
from coldstart_cli.errors import RequestError, suggestion
from coldstart_cli.models.preprocess import Preprocess

Published = Literal["train", "validation", "test"]
_RECIPE = {
    "layout": "text",
    "text_column": "text",
    "label_column": "label",
    "task_column": None,
    "split_column": None,
    "encoding": "utf-8",
}


@dataclass(frozen=True, slots=True)
class Utterance:
    """A text with its intent; `part` is the publisher's, `domain` '' where there is one alone."""

    text: str
    intent: str
    domain: str
    part: Published
    place: str


def without_duplicates(
    utterances: Sequence[Utterance], listed: Sequence[str], key: str, *, whole_test: bool
) -> list[Utterance]:
    """Without texts that occur twice: of one intent the first is kept, of two intents none.

    Args:
        listed: these texts, without spaces around them.
        whole_test: the publisher's test set stays as it is, and texts of it leave the other parts.

    Raises:
        RequestError: where a listed text does not occur.
    """
    intents: dict[str, set[str]] = {text: set() for text in listed}
    seen = set()
    for utterance in utterances:
        text = utterance.text.strip()
        if text in intents:
            intents[text].add(utterance.intent)
            if whole_test and utterance.part == "test":
                seen.add(text)
    for text, found in intents.items():
        if not found:
            texts = [utterance.text.strip() for utterance in utterances]
            raise RequestError(f"{key}: {text!r} is not a text of the data; {suggestion(text, texts)}")
    kept = []
    for utterance in utterances:
        text = utterance.text.strip()
        once = text not in intents or (len(intents[text]) == 1 and text not in seen)
        if once or (whole_test and utterance.part == "test"):
            kept.append(utterance)
        seen.add(text)
    return kept


def by_intent(
    name: str, preprocess: Preprocess, utterances: Sequence[Utterance], plan: Plan, wording: Wording
) -> Own:
    """Intents are split; where there are domains, they are the groups that sources may be chosen from."""
    domains = [utterance.domain for utterance in utterances]
    labelled = _labelled(preprocess, utterances, domains if any(domains) else None, None, wording)
    return Own(name, labelled, plan, [utterance.part for utterance in utterances])


def by_domain(
    name: str,
    preprocess: Preprocess,
    utterances: Sequence[Utterance],
    plan: Plan,
    wording: Wording,
    new: str,
    validation: str,
) -> Own:
    """Domains are split; of the source's the publisher's test set is source_test."""

    def split(utterance: Utterance) -> Split:
        special: dict[str, Split] = {new: "new", validation: "validation"}
        return special.get(utterance.domain, "source_test" if utterance.part == "test" else "train")

    domains = [utterance.domain for utterance in utterances]
    splits = [split(utterance) for utterance in utterances]
    labelled = _labelled(preprocess, utterances, domains, splits, wording)
    return Own(name, labelled, plan, [utterance.part for utterance in utterances])


def all_at_once(
    name: str, preprocess: Preprocess, utterances: Sequence[Utterance], plan: Plan, wording: Wording
) -> Draws:
    """All intents as one new task: labels from the publisher's training set, queries its whole test set.

    Validation tasks have the same intents: drawn from, and judged by, the halves of the publisher's
    validation set or, where there is none, of a share of its training set that new tasks do not draw from.

    Raises:
        RequestError: where this share leaves an intent without an example on either side.
    """
    labelled = _labelled(preprocess, utterances, None, None, wording)
    parts = np.array([utterance.part for utterance in utterances])
    random = np.random.default_rng(plan.split_seed)
    labels = labelled.targets.numpy()
    train, test = np.flatnonzero(parts == "train"), np.flatnonzero(parts == "test")
    validation = np.flatnonzero(parts == "validation")
    shared = not len(validation)
    if shared:
        train, validation = divided(train, labels, 1 - plan.validation_share, random)
    drawn, judged = divided(validation, labels, 0.5, random)
    for remedy, ids in (("raise", drawn), ("raise", judged), ("lower", train)):
        if shared and len(np.unique(labels[ids])) < len(labelled.classes):
            raise RequestError(
                f"dataset.validation_share: {plan.validation_share} leaves an intent without examples to "
                f"draw or to judge by; {remedy} it"
            )
    return Draws(
        name,
        labelled,
        {"validation": _part(labelled, drawn, judged), "new": _part(labelled, train, test)},
        k_shot=plan.shape.k_shot,
        n_unlabelled=plan.shape.n_unlabelled,
        bank_seed=plan.bank_seed,
        published=parts.tolist(),
    )


def _labelled(
    preprocess: Preprocess,
    utterances: Sequence[Utterance],
    domains: Sequence[str] | None,
    splits: Sequence[str] | None,
    wording: Wording,
) -> Labelled:
    texts = [utterance.text for utterance in utterances]
    problems = Problems("stop")
    problems.cut(len(texts), *preprocess.cut(texts))
    problems.warn("dataset", preprocess.max_length)
    intents, places = ([getattr(u, name) for u in utterances] for name in ("intent", "place"))
    marked = marks(intents, domains, splits, places)
    inputs, contents = preprocess.texts(texts), row_hashes(text.encode() for text in texts)
    labelled = marked.labelled(inputs, None, (), _RECIPE, near_equal_groups(texts), contents=contents)
    naming = saying_their_name(texts, marked.targets.numpy(), marked.labels)
    return named(replace(labelled, naming=naming), preprocess, wording)


def divided(
    ids: NDArray[np.int64], labels: NDArray[np.int64], share: float, random: np.random.Generator
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """(a share of each class, the rest)."""
    shuffled = random.permutation(ids)
    first, rest = [], []
    for label in np.unique(labels):
        own = shuffled[labels[shuffled] == label]
        cut = round(share * len(own))
        first.append(own[:cut])
        rest.append(own[cut:])
    return np.sort(np.concatenate(first)), np.sort(np.concatenate(rest))


def _part(labelled: Labelled, drawn: NDArray[np.int64], judged: NDArray[np.int64]) -> Part:
    labels = labelled.targets.numpy()
    ids = [drawn[labels[drawn] == label].tolist() for label in range(len(labelled.classes))]
    table = class_table(ids, group_of=None, quarter_turns=None, origins=(), names=labelled.classes)
    queries: Inputs = gather(labelled.inputs, judged, None)
    return Part(table, Examples(queries, labelled.targets[torch.from_numpy(judged)]), judged)
