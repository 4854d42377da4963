"""What is said of divided tensors, where this process has all parts; two processes: test_sharding.py."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from coldstart_cli.processes import ranks, shards


@pytest.fixture
def mesh(tmp_path: Path) -> Iterator[Any]:
    """A mesh of this process alone, so that a part is the whole."""
    with ranks.joined(ranks.Place(), f"file://{tmp_path / 'group'}"):
        from torch.distributed.device_mesh import init_device_mesh

        yield init_device_mesh("cpu", (1,))


def part(tensor: Tensor, mesh: Any) -> Tensor:
    from torch.distributed.tensor import Shard, distribute_tensor

    return distribute_tensor(tensor, mesh, [Shard(0)])


def test_a_part_is_told_from_a_tensor_and_made_whole(mesh: Any) -> None:
    plain = torch.arange(6.0).view(3, 2)
    divided = part(plain, mesh)
    assert (shards.is_part(plain), shards.is_part(divided)) == (False, True)
    for held in (plain, divided):
        assert torch.equal(shards.own(held), plain) and torch.equal(shards.whole(held), plain)
        assert type(shards.own(held)) is type(shards.whole(held)) is Tensor
    assert shards.total([plain, divided]) == 30.0
    assert shards.total([plain]) == 15.0


def test_a_gathered_state_is_a_copy_of_plain_tensors(mesh: Any) -> None:
    plain = torch.ones(2)
    state = {"a": plain, "of": {0: {"step": 3, "moment": part(plain, mesh)}}, "groups": [{"params": [0]}]}
    found = shards.gathered(state)
    plain.zero_()
    assert torch.equal(found["a"], torch.ones(2)) and torch.equal(found["of"][0]["moment"], torch.ones(2))
    assert type(found["of"][0]["moment"]) is Tensor
    assert (found["of"][0]["step"], found["groups"]) == (3, [{"params": [0]}])


@pytest.mark.parametrize("max_norm", [0.5, 100.0])
def test_a_mixture_of_parts_and_whole_tensors_is_clipped_as_torch_clips(mesh: Any, max_norm: float) -> None:
    whole = [nn.Parameter(torch.zeros(3, 2)), nn.Parameter(torch.zeros(4))]
    for i, parameter in enumerate(whole):
        parameter.grad = torch.full_like(parameter, 1.0 + i)
    mixed = [nn.Parameter(part(whole[0].detach(), mesh)), copy.deepcopy(whole[1])]
    assert whole[0].grad is not None and whole[1].grad is not None
    mixed[0].grad, mixed[1].grad = part(whole[0].grad.clone(), mesh), whole[1].grad.clone()
    nn.utils.clip_grad_norm_(whole, max_norm)
    shards.clip_gradients(mixed, max_norm)
    for ours, theirs in zip(mixed, whole, strict=True):
        assert ours.grad is not None and theirs.grad is not None
        torch.testing.assert_close(shards.own(ours.grad), theirs.grad)
