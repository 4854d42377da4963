"""What a loss draws depends on its own seed, and nothing outside the loss is disturbed by it."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from coldstart_cli.training.randomness import begin_generators, seeded, step_seed

CPU = torch.device("cpu")


def test_a_seeded_block_draws_by_its_seed_and_leaves_the_generator_as_it_was() -> None:
    torch.manual_seed(1)
    expected = torch.rand(3)
    torch.manual_seed(1)
    with seeded(7, CPU):
        first = torch.rand(2)
    with seeded(7, CPU):
        again = torch.rand(2)
    with seeded(8, CPU):
        other = torch.rand(2)
    assert torch.equal(first, again) and not torch.equal(first, other)
    assert torch.equal(torch.rand(3), expected)


def test_a_block_knows_afterwards_whether_anything_was_drawn() -> None:
    with seeded(0, CPU) as drawing:
        torch.rand(1)
    with seeded(0, CPU) as idle:
        torch.ones(1)
    assert (drawing.drawn, idle.drawn) == (True, False)


def test_generators_begin_as_torchs_own_seeding_has_them_begin() -> None:
    torch.manual_seed(7)
    expected = torch.rand(3)
    begin_generators(7, CPU)
    assert torch.equal(torch.rand(3), expected)


def test_a_block_that_fails_gives_the_generator_back() -> None:
    before = torch.get_rng_state()
    with pytest.raises(ZeroDivisionError), seeded(0, CPU):
        torch.rand(1)
        raise ZeroDivisionError
    assert torch.equal(torch.get_rng_state(), before)


@given(st.integers(0, 2**31 - 1), st.integers(0, 10**9))
def test_seeds_of_steps_have_32_bits_and_depend_on_seed_and_step(seed: int, step: int) -> None:
    found = step_seed(seed, step)
    assert 0 <= found < 2**32 and found == step_seed(seed, step)
    assert len({found, step_seed(seed, step + 1), step_seed(seed + 1, step)}) == 3
