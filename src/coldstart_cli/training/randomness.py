"""Random operations of a loss, such as dropout, draw from a generator that is seeded for this loss alone.

A training that resumes from a checkpoint thus draws what it would have drawn, a task draws the same whatever
tasks were computed before it, and nothing outside the loss is disturbed.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from coldstart_cli.digests import whole_digest
from coldstart_cli.tracing import recorder


@dataclass(slots=True)
class Chance:
    """Whether anything was drawn, known at the end of the block."""

    drawn: bool = False


@contextlib.contextmanager
def seeded(seed: int, device: torch.device) -> Iterator[Chance]:
    """Inside, torch's generators of the CPU and of `device` begin at `seed`; later they go on as before."""
    chance = Chance()
    places = [torch] if device.type == "cpu" else [torch, torch.get_device_module(device)]
    before = [place.get_rng_state() for place in places]
    begin_generators(seed, device)
    # A state that has moved on shows that something was drawn; torch has no other way to tell.
    begun = [place.get_rng_state() for place in places]
    try:
        yield chance
    finally:
        now = [place.get_rng_state() for place in places]
        with recorder.aside():
            chance.drawn = any(map(_differ, begun, now))
        for place, state in zip(places, before, strict=True):
            place.set_rng_state(state)


def begin_generators(seed: int, device: torch.device) -> None:
    """Torch's generators of the CPU and of `device` begin at `seed`."""
    # torch.manual_seed does so for every kind of device, and notes who called for those that are not in use:
    # 0.2 ms each time, a tenth of a small step.
    torch.default_generator.manual_seed(seed)
    if device.type != "cpu":
        torch.get_device_module(device).manual_seed(seed)


def _differ(before: Tensor, after: Tensor) -> bool:
    # By their bytes: comparing tensors would count as an operation of the loss, which a recorder refuses.
    return before.numpy().tobytes() != after.numpy().tobytes()


def step_seed(seed: int, step: int) -> int:
    """32 bits that depend on both; torch's CPU generator reads no more of a seed."""
    # A digest rather than seed + step: run 1 at step 2 must not draw what run 2 draws at step 1.
    return int.from_bytes(whole_digest([f"{seed}/{step}"])[:4])
