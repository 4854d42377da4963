"""torch's optimizers without torch._dynamo: the same numbers, hooks and states."""

from __future__ import annotations

import subprocess
import sys

import pytest
import torch

from coldstart_cli.training.eager import eagerly

PROGRAM = """
import sys, torch
from coldstart_cli.training.eager import eagerly
for name in ("Adam", "SGD"):
    weight = torch.nn.Parameter(torch.ones(3))
    optimizer = eagerly(getattr(torch.optim, name))([weight], lr=0.1)
    weight.sum().backward()
    optimizer.step()
    optimizer.zero_grad()
    optimizer.load_state_dict(optimizer.state_dict())
    assert "torch._dynamo" not in sys.modules, name
"""


def test_eager_optimizers_never_import_dynamo() -> None:
    subprocess.run([sys.executable, "-c", PROGRAM], check=True, timeout=100)


@pytest.mark.parametrize("name", ["Adam", "SGD"])
def test_eager_optimizer_steps_as_torchs_own(name: str) -> None:
    plain = getattr(torch.optim, name)
    ends, calls = [], []
    for cls in (plain, eagerly(plain)):
        weight = torch.nn.Parameter(torch.linspace(-1, 2, 30))
        optimizer = cls([weight], lr=0.1, weight_decay=0.01)
        optimizer.register_step_pre_hook(lambda *_: calls.append(1))
        for _ in range(5):
            optimizer.zero_grad()
            (weight**3).sum().backward()
            optimizer.step()
        assert weight.requires_grad and isinstance(optimizer, plain)
        ends.append((weight.detach().clone(), optimizer.state_dict()))
    assert torch.equal(ends[0][0], ends[1][0]) and len(calls) == 10
    assert str(ends[0][1]) == str(ends[1][1])
