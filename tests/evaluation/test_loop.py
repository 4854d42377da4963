"""The evaluation loop: which contestants meet which tasks, and what is left out."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from coldstart_cli.config import composition
from coldstart_cli.errors import RequestError
from coldstart_cli.evaluation.loop import evaluate, served, source_refusal
from coldstart_cli.experiment.assembly import Experiment, assemble
from coldstart_cli.metrics.records import Record
from coldstart_cli.processes.signals import StopOnSignal

pytestmark = pytest.mark.usefixtures("torch_settings")


def made(*overrides: str) -> Experiment:
    tiny = ("experiment=smoke", "hardware=cpu", "hardware.threads=1", "model.hidden=8", "dataset.n_way=3")
    ((_, config),) = composition.points([*tiny, *overrides])
    return assemble(config)


def evaluated(experiment: Experiment) -> tuple[list[Record], dict[str, dict[int, tuple[str, int]]]]:
    with StopOnSignal() as stop:
        return evaluate(
            experiment.contestants,
            experiment.source,
            experiment.evaluation,
            experiment.hardware,
            [],
            stop,
            trained_on_source=True,
            baselines=None,
        )


def test_evaluation_without_labels_has_no_baseline() -> None:
    records, chosen = evaluated(
        made(
            *("dataset=glyph_shift", "dataset.n_query=3", "evaluation.n_query=3", "evaluation.k_shots=[0,1]"),
            *("strategy=finetune", "evaluation.n_tasks=4", "evaluation.n_selection_tasks=2"),
        )
    )
    assert chosen["baseline"].keys() == {1}
    assert {(r.role, r.k_shot) for r in records} == {("strategy", 0), ("strategy", 1), ("baseline", 1)}


def test_evaluation_keeps_rows_that_only_choose_short() -> None:
    records, _ = evaluated(made("evaluation.n_tasks=2", "evaluation.n_selection_tasks=2"))
    judged = {(r.split, r.believed is not None, bool(r.metrics)) for r in records}
    assert judged == {("validation", False, False), ("source_test", True, True), ("new", True, True)}


def test_served_leaves_out_what_the_data_lack_and_says_why() -> None:
    experiment = made("evaluation.k_shots=[1,60,5,70]", "evaluation.beyond=leave_out")
    assert experiment.evaluation.k_shots == [1, 5]
    assert list(experiment.left_out) == [60, 70]
    for k, reason in experiment.left_out.items():
        assert f"need {k} + 5 examples a class on new" in reason
    assert experiment.config["evaluation"]["k_shots"] == [1, 60, 5, 70]


@pytest.mark.parametrize("asked", [("[1,60]", "refuse"), ("[60,70]", "leave_out"), ("[60]", "leave_out")])
def test_served_refuses_where_it_may_not_or_nothing_is_left(asked: tuple[str, str]) -> None:
    shots, beyond = asked
    with pytest.raises(RequestError, match=r"^evaluation: .*need 60 \+ 5 examples a class on new"):
        made(f"evaluation.k_shots={shots}", f"evaluation.beyond={beyond}")


def test_served_plan_is_the_same_where_the_data_serve_all() -> None:
    experiment = made()
    plan = replace(experiment.evaluation, beyond="leave_out")
    assert served(experiment.source, plan) == (plan, {})


def test_source_refusal_gives_the_reason() -> None:
    experiment = made()
    source, plan = experiment.source, experiment.evaluation
    assert source_refusal(source, plan, 1, True) is None
    assert source_refusal(source, plan, 1, False) == "the run was trained on other data"
    refused: Any = source_refusal(source, plan, 20, True)
    assert "need 20 + " in refused


@pytest.mark.parametrize(("asked", "n"), [("null", 4), ("2", 2), ("0", 0)])
def test_source_tasks_may_be_fewer_than_new_ones(asked: str, n: int) -> None:
    experiment = made("evaluation.n_tasks=4", f"evaluation.n_source_tasks={asked}")
    records, _ = evaluated(experiment)
    tasks = {split: {r.task for r in records if r.split == split} for split in ("new", "source_test")}
    assert (len(tasks["new"]), len(tasks["source_test"])) == (4, n)
    refused = source_refusal(experiment.source, experiment.evaluation, 1, True)
    assert refused == ("evaluation.n_source_tasks is 0" if n == 0 else None)


def test_plan_refuses_one_source_task() -> None:
    with pytest.raises(
        RequestError, match=r"^evaluation\.n_source_tasks: one task has no interval; give 0, or"
    ):
        made("evaluation.n_source_tasks=1")


def test_plan_refuses_a_limit_on_times_that_are_not_measured() -> None:
    expected = r"^evaluation\.batch_sizes: 1 is missing, to which budget\.p95_ms refers; add it$"
    with pytest.raises(RequestError, match=expected):
        made("evaluation.batch_sizes=[64]", "evaluation.budget.p95_ms=5")
    made("evaluation.batch_sizes=[64]", "evaluation.budget.parameters=5")


ROWS = "label,part,a,b\n" + "".join(
    f"{label},{part},{x + shift},{y - shift}\n"
    for part, shift, n in (("train", 0.0, 12), ("new", 0.5, 9))
    for label, x, y in (("left", -1.0, 0.0), ("right", 1.0, 0.5))
    for _ in range(n)
)


def shifted_rows(folder: Path, *overrides: str) -> Experiment:
    (folder / "rows.csv").write_text(ROWS)
    return made(
        *("dataset=tabular", f"dataset.root={folder / 'rows.csv'}", "dataset.label_column=label"),
        *("dataset.split_column=part", "dataset.split_by=file", "dataset.n_way=null", "strategy=finetune"),
        "dataset.keep=[a,b]",
        *("model=mlp", "model.hidden=[8]", "dataset.k_shot=2", "dataset.n_query=3", "evaluation.n_query=3"),
        *("dataset.validation_share=0.4", "evaluation.n_tasks=3", "evaluation.n_selection_tasks=2"),
        *("evaluation.k_shots=[0,2]", "evaluation.steps=[0,1,3]", *overrides),
    )


def test_evaluation_after_a_shift_lets_each_task_choose_its_steps(tmp_path: Path) -> None:
    experiment = shifted_rows(tmp_path)
    assert experiment.source.validation == "unshifted"
    records, chosen = evaluated(experiment)
    new = [r for r in records if (r.role, r.split) == ("strategy", "new")]
    assert Counter((r.task, r.k_shot) for r in new if r.chosen) == Counter({(r.task, r.k_shot) for r in new})
    assert not any(r.chosen for r in records if r not in new)
    assert {r.step for r in new if r.chosen and r.k_shot == 0} == {3}  # nothing to choose by: the last
    assert chosen["strategy"][0] == ("", 3)
    assert chosen["baseline"].keys() == {2}  # by validation tasks, as ever


def test_evaluation_without_validation_rows_needs_no_baseline(tmp_path: Path) -> None:
    with pytest.raises(RequestError, match=r"^baseline: its settings .*baseline=null\)$"):
        shifted_rows(tmp_path, "dataset.validation_share=0")
    alone = shifted_rows(tmp_path, "dataset.validation_share=0", "baseline=null")
    assert alone.source.validation == "none"
    records, _ = evaluated(alone)
    assert {r.split for r in records} == {"source_test", "new"}
