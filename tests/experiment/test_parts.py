"""Parts of an experiment: shared where configs agree, alike in their first weights, or refused."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import nn

from coldstart_cli.errors import RequestError
from coldstart_cli.experiment import parts
from coldstart_cli.experiment.assembly import Experiment
from coldstart_cli.experiment.parts import check_inputs, shape_facts, source_of, trained

Make = Callable[..., Experiment]


def test_a_data_set_is_loaded_once_for_configs_that_agree_on_it(
    sines: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(parts, "_sources", {})
    first = source_of(sines)
    assert source_of({**sines, "seed": 7}) is first
    assert source_of({**sines, "dataset": {**sines["dataset"], "k_shot": 3}}) is not first


def test_strategies_of_a_seed_begin_with_the_same_weights(small_experiment: Make) -> None:
    one, same, other = (small_experiment(seed=seed).strategy.state_dict() for seed in (0, 0, 1))
    assert all(torch.equal(one[name], same[name]) for name in one)
    assert any(not torch.equal(one[name], other[name]) for name in one)


def test_a_shape_is_json(small_experiment: Make) -> None:
    assert shape_facts(small_experiment().source) == [1]
    tokens: Any = SimpleNamespace(input_shape={"ids": (4,), "mask": (4,)})
    assert shape_facts(tokens) == {"ids": [4], "mask": [4]}


def test_a_teacher_that_reads_other_inputs_is_refused() -> None:
    class Learner(nn.Module):
        def __init__(self, reads: str | None) -> None:
            super().__init__()
            self.teacher = nn.Identity()
            self.teacher.reads = reads  # type: ignore[assignment]

    check_inputs(Learner("a"), "strategy", "a")  # type: ignore[arg-type]
    with pytest.raises(RequestError, match=r"^strategy\.teacher: reads a, the run's model plain numbers"):
        check_inputs(Learner("a"), "strategy", None)  # type: ignore[arg-type]


def test_a_folder_that_is_no_finished_run_teaches_nothing(small_experiment: Make, tmp_path: Path) -> None:
    source = small_experiment().source
    with pytest.raises(RequestError, match=r"^strategy\.teacher: .* is not a finished run; name a run"):
        trained("teacher", str(tmp_path), source=source, trust=[], key="strategy")
