"""Seven sets of sentences by sentiment, subjectivity, kind of question or topic: one task each.

Reviews: CR (Hu and Liu 2004, KDD), MR (Pang and Lee 2005, arXiv:cs/0506075), SST-2 and SST-5 (Socher et al.
2013, EMNLP). Subj (Pang and Lee 2004, arXiv:cs/0409058), TREC (Li and Roth 2002, COLING), AG News (Zhang,
Zhao and LeCun 2015, arXiv:1509.01626).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Literal, get_args

import numpy as np
from annotated_types import Ge, Gt, Lt

from coldstart_cli.core.tasks import TaskShape
from coldstart_cli.datasets.benchmarks.intents import Published, Utterance, all_at_once, divided
from coldstart_cli.datasets.own.draws import Draws
from coldstart_cli.datasets.own.names import worded
from coldstart_cli.datasets.own.splits import Plan
from coldstart_cli.datasets.readers.delimited import TableFormat
from coldstart_cli.datasets.readers.equality import near_equal_groups
from coldstart_cli.datasets.readers.problems import Problems
from coldstart_cli.datasets.readers.tables import check_columns, rows_of
from coldstart_cli.errors import RequestError
from coldstart_cli.models.preprocess import Preprocess

Name = Literal["cr", "mr", "subj", "sst2", "sst5", "trec", "ag_news"]

_FORMAT = TableFormat("utf-8", "comma", quoted=True, header=True)


def sentences(
    preprocess: Preprocess,
    *,
    bank_seed: Annotated[int, Ge(0)],
    k_shot: Annotated[int, Ge(0)],
    n_query: Annotated[int, Ge(1)] | None,
    n_unlabelled: Annotated[int, Ge(0)],
    root: str | None,
    name: Name,
    split_seed: Annotated[int, Ge(0)],
    test_share: Annotated[float, Gt(0), Lt(1)],
    validation_share: Annotated[float, Gt(0), Lt(1)],
    descriptions: str | None,
    descriptions_beside: bool,
) -> Draws:
    """Draws of k labels of every class from the training set, judged by the test set.

    Texts that repeat another one but for case, spaces and punctuation are left out of the training set, with
    a count: of one class all but the first, of two classes all, and all that repeat one of the test set,
    which stays as published. A row without a text is left out of either.

    Args:
        preprocess: the model's, which reads text.
        bank_seed: determines the draws, not the data.
        k_shot: support texts a class.
        n_query: test texts a class at most, drawn once; None: the whole test set as it is.
        n_unlabelled: unlabelled texts a class.
        root: folder with `<name>.csv` (ag_news: `ag_news_test.csv`), columns text and label, and split where
            the set was published in parts.
        name: of the set.
        split_seed: determines what the test set and the validation tasks are, where nobody says.
        test_share: of each class, where the set was published in one part.
        validation_share: of the training texts, for validation tasks, where no validation set was published.
        descriptions, descriptions_beside: what the classes are called; see `OwnData`.

    Raises:
        RequestError: at missing or damaged files.
    """
    wording = worded(descriptions, preprocess, beside=descriptions_beside)
    random = np.random.default_rng(split_seed)
    file = _file(root, name)
    utterances = list(_read(file))
    if {u.part for u in utterances} == {"train"}:
        test = _of_each_class(utterances, test_share, random)
        utterances = [replace(u, part="test") if i in test else u for i, u in enumerate(utterances)]
    utterances = _once(file, utterances)
    if n_query is not None:
        utterances = _fewer_queries(utterances, n_query, random)
    shape = TaskShape(None, k_shot, n_query or 1, n_unlabelled)
    plan = Plan(shape, bank_seed, "class", split_seed, validation_share, 0.0, 0.0, None, False)
    return all_at_once(name, preprocess, utterances, plan, wording)


def _file(root: str | None, name: Name) -> Path:
    file = "ag_news_test.csv" if name == "ag_news" else f"{name}.csv"
    if root is None:
        raise RequestError(
            f"dataset.root: sentences are read from a folder with {file}; name it with dataset.root=DIR"
        )
    path = Path(root).expanduser() / file
    if not path.is_file():
        raise RequestError(f"dataset.root: {root} holds no {file}; name the folder that does")
    return path


def _read(file: Path) -> Iterator[Utterance]:
    parts: tuple[Published, ...] = get_args(Published)
    problems = Problems("skip")
    for place, row in rows_of(file, _FORMAT, problems):
        check_columns(place, row, {"root": "text"})
        check_columns(place, row, {"root": "label"})
        stated = row.get("split") or "train"
        part = next((part for part in parts if part == stated), None)
        if part is None:
            raise RequestError(f"{place}: its split is {stated!r}; name one of {', '.join(parts)}")
        if not (row["label"] or "").strip():
            raise RequestError(f"{place}: it has no label; fill column label")
        if (row["text"] or "").strip():
            yield Utterance(row["text"], row["label"], "", part, place)
        else:
            problems.add(place, "column text is empty", "fill it")
    problems.warn(str(file))


def _once(file: Path, utterances: Sequence[Utterance]) -> list[Utterance]:
    """Without training texts that repeat another one, or one of the test set."""
    groups = near_equal_groups([utterance.text for utterance in utterances])
    labels: dict[int, set[str]] = {}
    for group, utterance in zip(groups, utterances, strict=True):
        labels.setdefault(group, set()).add(utterance.intent)
    seen = {group for group, u in zip(groups, utterances, strict=True) if u.part == "test"}
    kept = []
    for group, utterance in zip(groups, utterances, strict=True):
        if utterance.part == "test" or (group not in seen and len(labels[group]) == 1):
            kept.append(utterance)
        seen.add(group)
    n_left_out = len(utterances) - len(kept)
    if n_left_out:
        problems = Problems("stop")
        problems.remark(
            f"{file}: {n_left_out:,} of {len(utterances):,} texts repeat another one and are left out of the "
            "training set; nothing is to be done"
        )
        problems.warn(str(file))
    return kept


def _fewer_queries(
    utterances: Sequence[Utterance], n_query: int, random: np.random.Generator
) -> list[Utterance]:
    asked: dict[str, int] = {}
    left_out = set()
    for i in random.permutation(len(utterances)).tolist():
        if utterances[i].part == "test":
            asked[utterances[i].intent] = asked.get(utterances[i].intent, 0) + 1
            if asked[utterances[i].intent] > n_query:
                left_out.add(i)
    return [u for i, u in enumerate(utterances) if i not in left_out]


def _of_each_class(utterances: Sequence[Utterance], share: float, random: np.random.Generator) -> set[int]:
    """The places of a share of each class."""
    _, labels = np.unique([utterance.intent for utterance in utterances], return_inverse=True)
    return set(divided(np.arange(len(labels)), labels, share, random)[0].tolist())
