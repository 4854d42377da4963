"""What every layout of your own data is asked for: shape of tasks, where the data lie, how they are split."""

from __future__ import annotations

from typing import Annotated, TypedDict

from annotated_types import Ge, Lt

from coldstart_cli.core.tasks import TaskShape
from coldstart_cli.datasets.own.names import Wording, worded
from coldstart_cli.datasets.own.splits import Plan, SplitBy
from coldstart_cli.datasets.readers.problems import OnBad
from coldstart_cli.models.preprocess import Preprocess


class OwnData(TypedDict):
    """Keys that all layouts share; a regression counts its examples by task where others do by class.

    Attributes:
        bank_seed: determines the tasks, not the data.
        n_way: classes of a task; None: all that every split has; not used by a regression.
        k_shot: support examples of each class.
        n_query: query examples of each class, fewer for classes that have fewer.
        n_unlabelled: unlabelled examples of each class.
        unequal: n_way and k_shot are the most that a task and a class may have, not what all have.
        root: the file or folder that holds the data.
        unlabelled: the same without labels, for `adapt`; or None.
        split_by: what splits are made of: `class`, `task`, or `file` as the files say.
        split_seed: determines the splits.
        validation_share: of the classes or tasks, for validation.
        new_share: of the classes or tasks, for the cold start.
        held_out_share: of the examples of each training class, kept from training.
        min_examples: classes with fewer are left out; None: those that k_shot and one query would empty.
        shared_labels: a label means the same in every task (person, site): one label space, which new tasks
            share with the source; split by task or file.
        leave_out: the task, or the person, site or session of `group_column`, whose tasks are new; all others
            are the source. None: as the shares say.
        descriptions: a table of labels and what they mean, for models that read text; or None.
        descriptions_beside: the label is read too, before its description.
        on_bad: `stop` at the first example that cannot be read, or `skip` such examples.
    """

    bank_seed: Annotated[int, Ge(0)]
    n_way: Annotated[int, Ge(2)] | None
    k_shot: Annotated[int, Ge(0)]
    n_query: Annotated[int, Ge(1)]
    n_unlabelled: Annotated[int, Ge(0)]
    unequal: bool
    root: str | None
    unlabelled: str | None
    split_by: SplitBy
    split_seed: Annotated[int, Ge(0)]
    validation_share: Annotated[float, Ge(0), Lt(1)]
    new_share: Annotated[float, Ge(0), Lt(1)]
    held_out_share: Annotated[float, Ge(0), Lt(1)]
    min_examples: Annotated[int, Ge(2)] | None
    shared_labels: bool
    leave_out: str | None
    descriptions: str | None
    descriptions_beside: bool
    on_bad: OnBad


def plan_of(own: OwnData) -> Plan:
    """How the examples become tasks."""
    return Plan(
        TaskShape(own["n_way"], own["k_shot"], own["n_query"], own["n_unlabelled"]),
        own["bank_seed"],
        own["split_by"],
        own["split_seed"],
        own["validation_share"],
        own["new_share"],
        own["held_out_share"],
        own["min_examples"],
        own["unequal"],
        own["shared_labels"],
        own["leave_out"],
    )


def wording_of(own: OwnData, preprocess: Preprocess) -> Wording:
    """What the user says of the classes' names; see `worded`."""
    return worded(own["descriptions"], preprocess, beside=own["descriptions_beside"])
