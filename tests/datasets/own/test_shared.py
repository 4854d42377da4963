"""The keys that all layouts share, as the plan of tasks that they become."""

from __future__ import annotations

from coldstart_cli.core.tasks import TaskShape
from coldstart_cli.datasets.own.shared import OwnData, plan_of
from coldstart_cli.datasets.own.splits import Plan


def test_every_shared_key_reaches_the_plan_under_its_own_name() -> None:
    own = OwnData(
        bank_seed=1, n_way=2, k_shot=3, n_query=4, n_unlabelled=5, unequal=True, root="r", unlabelled="u",
        split_by="task", split_seed=6, validation_share=0.1, new_share=0.2, held_out_share=0.3,
        min_examples=7, shared_labels=True, leave_out="anna", on_bad="skip",
    )  # fmt: skip
    assert plan_of(own) == Plan(
        shape=TaskShape(n_way=2, k_shot=3, n_query=4, n_unlabelled=5),
        bank_seed=1, split_by="task", split_seed=6, validation_share=0.1, new_share=0.2,
        held_out_share=0.3, min_examples=7, unequal=True, shared_labels=True, leave_out="anna",
    )  # fmt: skip
