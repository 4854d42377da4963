"""Contestants: what differs in nothing but its seed; settings: what shares tasks."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

from coldstart_cli.comparison.contestant_facts import facts
from coldstart_cli.comparison.contestants import settings_of
from coldstart_cli.comparison.findings import OverShots
from coldstart_cli.comparison.results import read
from coldstart_cli.files.durable import flat

Make = Callable[..., Path]
VALUES = {1: {"a": 0.5, "b": 0.75}}


def names(path: Path) -> list[list[tuple[str, list[int]]]]:
    return [[(m.name, m.seeds) for m in members] for members in settings_of(read([path])[0])]


def test_contestants_gather_seeds_and_are_told_apart_by_what_differs(tmp_path: Path, make_run: Make) -> None:
    make_run("m0", VALUES, settings={"inner_lr": 0.1})
    make_run("m1", VALUES, settings={"inner_lr": 0.1}, seed=1)
    make_run("m2", VALUES, settings={"inner_lr": 0.4})
    make_run("p0", VALUES, strategy="protonet")
    (found,) = names(tmp_path)
    assert sorted(found) == [
        ("maml (inner_lr=0.1)", [0, 1]), ("maml (inner_lr=0.4)", [0]), ("protonet", [0]),
    ]  # fmt: skip


def test_contestants_of_two_models_are_told_apart_by_the_model_alone(tmp_path: Path, make_run: Make) -> None:
    make_run("a", VALUES, model="conv4")
    make_run("b", VALUES, model="mlp")
    (found,) = names(tmp_path)
    assert sorted(name for name, _ in found) == ["maml (conv4)", "maml (mlp)"]


def test_contestants_that_only_a_key_of_one_tells_apart_have_two_names(
    tmp_path: Path, make_run: Make
) -> None:
    make_run("a", VALUES)
    make_run("b", VALUES, settings={"inner_lr": 0.1})
    (found,) = names(tmp_path)
    assert sorted(name for name, _ in found) == ["maml (inner_lr=0.1)", "maml (inner_lr=unset)"]


def test_contestants_of_equal_settings_on_data_of_two_fingerprints_are_numbered(
    tmp_path: Path, make_run: Make
) -> None:
    make_run("a", VALUES)
    other = make_run("b", VALUES) / "environment.json"
    other.write_text(other.read_text().replace('"f"', '"g"'))
    (found,) = names(tmp_path)
    assert sorted(name for name, _ in found) == ["maml", "maml #2"]


def test_a_baseline_beside_several_runs_is_one_contestant(tmp_path: Path, make_run: Make) -> None:
    for seed in (0, 1):
        make_run(f"m{seed}", VALUES, seed=seed, baseline=VALUES)
        make_run(f"p{seed}", VALUES, seed=seed, baseline=VALUES, strategy="protonet")
    (found,) = names(tmp_path)
    assert sorted(found) == [("maml", [0, 1]), ("protonet", [0, 1]), ("scratch", [0, 1])]


def test_contestants_that_share_no_task_fall_into_settings_of_their_own(
    tmp_path: Path, make_run: Make
) -> None:
    make_run("a", VALUES)
    make_run("b", VALUES, strategy="protonet")
    make_run("c", {1: {"x": 0.5, "y": 0.75}}, strategy="reptile")
    assert [sorted(n for n, _ in group) for group in names(tmp_path)] == [["maml", "protonet"], ["reptile"]]


def test_a_contestant_with_more_shots_joins_those_that_have_one_each(tmp_path: Path, make_run: Make) -> None:
    make_run("a", {1: {"a": 0.5, "b": 0.5}})
    make_run("b", {5: {"a": 0.5, "b": 0.5}}, strategy="protonet")
    make_run("c", {1: {"a": 0.5, "b": 0.5}, 5: {"a": 0.5, "b": 0.5}}, strategy="reptile")
    ((*found,),) = names(tmp_path)
    assert len(found) == 3


def test_a_diverged_value_is_kept_as_not_a_number(make_run: Make) -> None:
    path = make_run("a", {1: {"a": None, "b": 0.5}})
    ((contestant,),) = settings_of(read([path])[0])
    first, second = contestant.shots[1][0].new[1].values()
    assert first != first and second == 0.5


def test_flat_joins_keys_by_dots_and_keeps_empty_nodes() -> None:
    assert flat({"a": {"b": 1, "c": {"d": [2]}}, "e": {}}) == {"a.b": 1, "a.c.d": [2], "e": {}}


def test_the_constant_answer_beside_several_runs_is_one_contestant(tmp_path: Path, make_run: Make) -> None:
    values = {1: {"t0": 0.9, "t1": 0.8}}
    for strategy in ("maml", "finetune"):
        beside = {"constant": {"t0": 0.5, "t1": 0.6}}
        make_run(strategy, values, strategy=strategy, headline="mse", beside=beside)
    (members,) = settings_of(read([tmp_path])[0])
    assert sorted(m.name for m in members) == ["constant", "finetune", "maml"]
    constant = next(m for m in members if m.name == "constant")
    assert (constant.name, constant.role, constant.baseline) == ("constant", "constant", True)
    assert list(constant.shots[1][0].adapted.values()) == [0.5, 0.6]
    found = facts(constant, OverShots(None, None, {}))
    assert found.training is None and found.costs is None


def hashed(run: Path, task_hash: str, raw_hash: str | None) -> None:
    """Rewrites the run's records: each task's hash, and that of its examples as the files hold them."""
    path = run / "evaluations" / "0123abcd" / "records.jsonl"
    rows = [json.loads(line) for line in path.read_text().splitlines()]
    for row in rows:
        raw = {} if raw_hash is None else {"raw_hash": raw_hash + row["task"]}
        row |= {"task_hash": task_hash + row["task"], **raw}
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))


def test_models_that_read_the_same_examples_differently_share_tasks(tmp_path: Path, make_run: Make) -> None:
    hashed(make_run("tokens", VALUES, model="causal_lm"), "tokens", "texts")
    hashed(make_run("features", VALUES, model="features"), "features", "texts")
    hashed(make_run("others", VALUES, model="mlp"), "tokens", "other texts")
    assert [len(members) for members in names(tmp_path)] == [2, 1]


def test_runs_of_earlier_versions_meet_others_by_one_that_knows_both_hashes(
    tmp_path: Path, make_run: Make
) -> None:
    hashed(make_run("earlier", VALUES, settings={"inner_lr": 0.1}), "features", None)
    hashed(make_run("tokens", VALUES, model="causal_lm"), "tokens", "texts")
    assert [len(members) for members in names(tmp_path)] == [1, 1]
    hashed(make_run("features", VALUES, settings={"inner_lr": 0.2}), "features", "texts")
    assert [len(members) for members in names(tmp_path)] == [3]
