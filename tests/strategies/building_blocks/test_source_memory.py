"""Source examples kept as state: any size loads, uint8 stays uint8, filling is a function of the seed."""

from __future__ import annotations

import torch
from torch import Tensor

from coldstart_cli.core.objectives import Classification
from coldstart_cli.core.tasks import Examples, Inputs, Pool
from coldstart_cli.strategies.building_blocks.source_memory import Memory


class Numbers(Pool):
    """Twenty examples whose inputs are their numbers, as one tensor or as a mapping."""

    objective = Classification(4)

    def __init__(self, mapping: bool) -> None:
        self.mapping = mapping

    def __len__(self) -> int:
        return 20

    def examples(self, indices: Tensor) -> Examples:
        numbers = indices.to(torch.uint8).unsqueeze(1)
        inputs: Inputs = {"ids": numbers, "mask": numbers + 1} if self.mapping else numbers
        return Examples(inputs, indices % 4)


def test_memory_is_a_function_of_pool_and_seed_without_repeats() -> None:
    kept = []
    for seed in (0, 0, 1):
        memory = Memory(12)
        memory.fill(Numbers(False), seed)
        assert isinstance(memory.examples.inputs, Tensor)
        assert memory.examples.inputs.dtype == torch.uint8
        kept.append(memory.examples.inputs.flatten().tolist())
        assert torch.equal(memory.examples.targets, memory.examples.inputs.flatten().long() % 4)
    assert kept[0] == kept[1] != kept[2]
    assert len(set(kept[0])) == 12


def test_memory_keeps_the_whole_pool_where_it_is_smaller() -> None:
    memory = Memory(100)
    assert len(memory) == 0
    memory.fill(Numbers(False), 0)
    assert len(memory) == 20


def test_memory_state_loads_into_an_empty_one() -> None:
    for mapping in (False, True):
        full, empty = torch.nn.ModuleDict({"m": Memory(5)}), torch.nn.ModuleDict({"m": Memory(3)})
        memory, loaded = full["m"], empty["m"]
        assert isinstance(memory, Memory) and isinstance(loaded, Memory)
        memory.fill(Numbers(mapping), 0)
        empty.load_state_dict(full.state_dict())
        assert torch.equal(loaded.examples.targets, memory.examples.targets)
        ours, theirs = loaded.examples.inputs, memory.examples.inputs
        if isinstance(ours, Tensor):
            assert torch.equal(ours, theirs)  # type: ignore[arg-type]
        else:
            assert ours.keys() == {"ids", "mask"}
            assert all(torch.equal(ours[name], theirs[name]) for name in ours)  # type: ignore[index,call-overload]
