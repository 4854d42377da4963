"""Tiny sources and strategies built from the real configs, in float64 where numbers are compared."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch

from coldstart_cli import composition
from coldstart_cli.assembly import Experiment, assemble
from coldstart_cli.core import Examples, Support
from coldstart_cli.objectives import Classification

TINY = (
    "dataset=glyphs",
    "model=conv4",
    "model.hidden=8",
    "dataset.n_way=3",
    "dataset.n_query=4",
    "experiment=smoke",
    "hardware=cpu",
    "hardware.threads=1",
    "baseline=null",
)


@pytest.fixture(autouse=True)
def _torch_settings() -> Any:
    """Assembling an experiment sets torch up for it; the next test finds torch as it was."""
    threads = torch.get_num_threads()
    yield
    torch.use_deterministic_algorithms(False)
    torch.set_num_threads(threads)


@pytest.fixture
def experiment() -> Callable[..., Experiment]:
    """Assembles the config that `overrides` compose on a small image problem."""

    def made(*overrides: str) -> Experiment:
        ((_, config),) = composition.points([*TINY, *overrides])
        return assemble(config)

    return made


def support_of(inputs: torch.Tensor, targets: list[int], n_way: int) -> Support:
    return Support(inputs, torch.tensor(targets), Classification(n_way), seed=0)


def examples_of(inputs: torch.Tensor, targets: list[int]) -> Examples:
    return Examples(inputs, torch.tensor(targets))
