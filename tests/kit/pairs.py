"""What the processes of a pair do in test_ranks.py: they are started by name and import no test."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping, Sequence
from itertools import islice
from pathlib import Path
from typing import Any

import torch

from coldstart_cli.errors import RequestError
from coldstart_cli.experiment.assembly import assemble
from coldstart_cli.processes import ranks
from coldstart_cli.tracing.replays import as_written
from coldstart_cli.training.outer_loops import counting
from coldstart_cli.training.randomness import step_seed

STEPS = 3


def trained(config: Mapping[str, Any], *, recorded: bool) -> dict[str, Any]:
    """A few steps: the state they lead to, the metrics of each and the examples that were counted.

    In float64, where rounding is too small to grow in an inner loop.

    Args:
        recorded: whether tasks are replayed, as in a run. To record one takes as long as all these steps.
    """
    torch.set_default_dtype(torch.float64)
    try:
        with contextlib.nullcontext() if recorded else as_written():
            return _trained(config)
    finally:
        torch.set_default_dtype(torch.float32)


def _trained(config: Mapping[str, Any]) -> dict[str, Any]:
    experiment = assemble(config)
    counted: list[int] = []
    steps = experiment.strategy.fit(experiment.source)
    metrics = []
    with counting(counted.append):
        for step in range(STEPS):
            torch.manual_seed(step_seed(config["seed"], step))
            experiment.strategy.train()
            metrics += list(islice(steps, 1))
    return {"state": dict(experiment.strategy.state_dict()), "metrics": metrics, "examples": sum(counted)}


def answer_and_train(configs: Mapping[str, Mapping[str, Any]], recorded: Sequence[str], folder: str) -> None:
    """Each process keeps what it has in the end."""
    answers(folder)
    found = {name: trained(config, recorded=name in recorded) for name, config in configs.items()}
    torch.save(found, Path(folder, f"{ranks.place().rank}.pt"))


def answers(folder: str) -> None:
    """Every function of ranks.py with two processes; what is wrong is raised."""
    rank = ranks.place().rank
    assert (ranks.world(), ranks.first()) == (2, rank == 0)
    assert list(range(5)[ranks.mine()]) == ([0, 2, 4] if rank == 0 else [1, 3])
    assert ranks.largest(3 * rank) == 3
    assert ranks.agreed(lambda: ["of", rank]) == ["of", 0]
    assert ranks.gathered(rank) == [0, 1]
    assert ranks.averaged({"loss": float(rank)}, 2 + rank) == ({"loss": 0.5}, 5)
    done: list[int] = []

    def squares(numbers: Any) -> Any:
        for number in numbers:
            done.append(number)
            yield number**2

    assert list(ranks.spread(iter(range(101)), squares)) == [n**2 for n in range(101)]
    assert len(done) == (51 if rank == 0 else 50)
    ranks.alone(lambda: Path(folder, "written").write_text(str(rank)) and None)()
    try:
        ranks.agreed(_refuse)
    except RequestError as error:
        assert str(error) == "first: refuses; always"
    else:
        raise AssertionError("a refusal of the first is one of all")
    parameters = [torch.nn.Parameter(torch.zeros(2)) for _ in range(3)]
    parameters[0].grad = torch.full((2,), float(rank))
    if rank == 0:
        parameters[1].grad = torch.ones(2)
    ranks.average_gradients(parameters)
    gradients = [None if p.grad is None else p.grad.tolist() for p in parameters]
    assert gradients == [[0.5, 0.5], [0.5, 0.5], None]


def _refuse() -> Sequence[str]:
    assert ranks.first()
    raise RequestError("first: refuses; always")
