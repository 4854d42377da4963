"""BANKING77: 77 intents of one domain (Casanueva et al. 2020, arXiv:2003.04807)."""

from __future__ import annotations

from typing import Annotated, Literal

from annotated_types import Ge, Gt, Lt

from coldstart_cli.core.tasks import TaskShape
from coldstart_cli.datasets.benchmarks.intents import (
    Published,
    Utterance,
    all_at_once,
    by_intent,
    without_duplicates,
)
from coldstart_cli.datasets.own.draws import Draws
from coldstart_cli.datasets.own.names import worded
from coldstart_cli.datasets.own.source import Own
from coldstart_cli.datasets.own.splits import Plan
from coldstart_cli.datasets.readers.delimited import TableFormat
from coldstart_cli.datasets.readers.download import located
from coldstart_cli.datasets.readers.problems import Problems
from coldstart_cli.datasets.readers.tables import check_columns, rows_of
from coldstart_cli.models.preprocess import Preprocess

_PUBLISHED = TableFormat("utf-8", "comma", quoted=True, header=True)


def banking77(
    preprocess: Preprocess,
    *,
    bank_seed: Annotated[int, Ge(0)],
    n_way: Annotated[int, Ge(2)] | None,
    k_shot: Annotated[int, Ge(0)],
    n_query: Annotated[int, Ge(1)],
    n_unlabelled: Annotated[int, Ge(0)],
    root: str | None,
    setting: Literal["intent", "all"],
    split_seed: Annotated[int, Ge(0)],
    validation_share: Annotated[float, Gt(0), Lt(1)],
    new_share: Annotated[float, Ge(0), Lt(1)],
    held_out_share: Annotated[float, Ge(0), Lt(1)],
    descriptions: str | None,
    descriptions_beside: bool,
    known_duplicates: list[str],
) -> Own | Draws:
    """Customers' questions as tasks.

    Args:
        preprocess: the model's, which reads text.
        bank_seed: determines the tasks, not the data.
        n_way: intents of a task; None: all that every split has.
        k_shot: support questions an intent.
        n_query: query questions an intent; `all` asks the whole test set, 40.
        n_unlabelled: unlabelled questions an intent.
        root: folder with train.csv and test.csv; None downloads.
        setting: `intent`: intents are split; `all`: the 77 intents at once, without a source.
        split_seed, validation_share, new_share, held_out_share: see `splits.Plan`; by `all` the second is
            read as the share of training questions that validation tasks are made of.
        descriptions, descriptions_beside: what the intents are called; see `OwnData`.
        known_duplicates: texts that occur twice.

    Raises:
        RequestError: at missing or damaged files.
    """
    wording = worded(descriptions, preprocess, beside=descriptions_beside)
    files = located("banking77", root)
    parts: dict[str, Published] = {"train.csv": "train", "test.csv": "test"}
    found = []
    for file, part in parts.items():
        for place, row in rows_of(files[file], _PUBLISHED, Problems("stop")):
            for column in ("text", "category"):
                check_columns(place, row, {"root": column})
            found.append(Utterance(row["text"], row["category"], "", part, place))
    utterances = without_duplicates(
        found, known_duplicates, "dataset.known_duplicates", whole_test=setting == "all"
    )
    shape = TaskShape(n_way, k_shot, n_query, n_unlabelled)
    shares = (validation_share, new_share, held_out_share)
    plan = Plan(shape, bank_seed, "class", split_seed, *shares, None, False)
    if setting == "all":
        return all_at_once("banking77", preprocess, utterances, plan, wording)
    return by_intent("banking77", preprocess, utterances, plan, wording)
