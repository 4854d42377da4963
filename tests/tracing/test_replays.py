"""Replays: as many threads as there are, one recording, and none of what is met once."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import pytest
import torch
from torch import Tensor

from coldstart_cli.tracing import recorder
from coldstart_cli.tracing.recorder import Values
from coldstart_cli.tracing.replays import Replays
from coldstart_cli.tracing.watch import Watch

NOTHING = Watch()


class Doubled:
    def __init__(self) -> None:
        self.n_calls = 0

    def __call__(self, x: Tensor) -> Values:
        self.n_calls += 1
        return [x * 2, None]


def test_third_of_a_kind_is_replayed_and_kinds_are_apart() -> None:
    replays, function = Replays("it"), Doubled()
    for i in range(6):
        x = torch.full((3,), float(i))
        assert torch.equal(replays("a", function, [x], NOTHING)[0], 2 * x)  # type: ignore[arg-type]
        assert replays.known("a") == (i > 0)
    assert function.n_calls == 2
    replays("b", function, [torch.ones(2)], NOTHING)
    assert function.n_calls == 3
    assert not replays.known("b")


def test_nothing_is_recorded_before_its_time() -> None:
    replays, function = Replays("it", after=3), Doubled()
    for _ in range(3):
        replays("a", function, [torch.ones(1)], NOTHING)
    assert function.n_calls == 3
    assert not replays._recordings
    replays("a", function, [torch.ones(1)], NOTHING)
    assert [kind for *_, kind in replays._recordings] == ["a"]


def test_many_threads_make_one_recording() -> None:
    replays, function = Replays("it"), Doubled()
    with ThreadPoolExecutor(8) as pool:
        found = list(
            pool.map(lambda i: replays("a", function, [torch.full((64,), float(i))], NOTHING)[0], range(400))
        )
    for i, values in enumerate(found):
        assert values is not None
        assert values.tolist() == [2.0 * i] * 64
    assert len(replays._recordings) == 1
    assert replays.known("a")


def test_what_is_called_in_a_recording_is_called_in_every_replay() -> None:
    bells: list[int] = []

    def ring() -> None:
        bells.append(len(bells))

    def function(x: Tensor) -> Values:
        recorder.call(ring)
        y = x + 1
        recorder.call(ring)
        return [y]

    replays = Replays("it")
    for n in (1, 2, 3, 4):
        bells.clear()
        replays("a", function, [torch.ones(1)], NOTHING)
        assert len(bells) == (4 if n == 2 else 2)  # the second is computed both ways


def test_autocast_is_in_the_recording_and_not_around_it() -> None:
    replays = Replays("it")
    w = torch.ones(4, 4)

    def function(x: Tensor) -> Values:
        with torch.autocast("cpu", enabled=False):
            exact = x @ w
        return [x @ w, exact]

    for _ in range(3):
        with torch.autocast("cpu", torch.bfloat16):
            rough, exact = replays("a", function, [torch.ones(4, 4)], NOTHING)
        assert rough is not None
        assert exact is not None
        assert (rough.dtype, exact.dtype) == (torch.bfloat16, torch.float32)


def test_replay_that_differs_ends_all_replays_with_a_warning() -> None:
    replays, function = Replays("the sum"), Doubled()
    known: list[int] = []

    def impure(x: Tensor) -> Values:
        return [x + len(known)]

    for _ in range(2):
        replays("sound", function, [torch.ones(1)], NOTHING)
    assert replays.known("sound")
    replays("a", impure, [torch.ones(1)], NOTHING)
    known.append(1)
    with pytest.warns(RuntimeWarning, match="the sum depends on more than the task"):
        (value,) = replays("a", impure, [torch.ones(1)], NOTHING)
    assert value is not None
    assert value.item() == 2
    assert not replays.recordable
    assert not replays.known("sound")
