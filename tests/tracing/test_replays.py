"""Replays: as many threads as there are, one recording, and none of what is met once."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import pytest
import torch
from torch import Tensor

from coldstart_cli.tracing import recorder
from coldstart_cli.tracing.recorder import Values
from coldstart_cli.tracing.replays import N_KINDS, Replays, as_written
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


def test_what_is_computed_as_it_is_written_is_not_recorded() -> None:
    def replayed() -> bool:
        replays = Replays("it")
        for _ in range(2):
            replays("a", Doubled(), [torch.ones(2)], NOTHING)
        return replays.known("a")

    with as_written():
        assert not replayed()
    assert replayed()


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


def test_what_is_recorded_under_autocast_reads_no_cast_of_before() -> None:
    """A second kind of inputs is met after the first has had its weights cast, then the weights move."""
    w = torch.ones(4, 4, requires_grad=True)

    def function(x: Tensor) -> Values:
        return [(x @ w).detach()]

    replays, shapes = Replays("it"), (2, 3)
    for step in range(4):
        with torch.autocast("cpu", torch.bfloat16):
            found = [replays(n, function, [torch.ones(n, 4)], NOTHING)[0] for n in shapes]
        for n, values in zip(shapes, found, strict=True):
            assert values is not None
            assert values.shape == (n, 4)
            assert values.flatten()[0].item() == 4 * (1 + step)
        with torch.no_grad():
            w += 1


def test_states_have_recordings_of_their_own_and_come_back() -> None:
    class Held:
        factor = 1.0

        def __call__(self, x: Tensor) -> Values:
            return [x * self.factor]

    held = Held()
    replays, watch = Replays("it"), Watch(held)
    for i in range(40):
        held.factor = 2.0 if i // 10 % 2 else 3.0
        (value,) = replays("a", held, [torch.ones(1)], watch)
        assert value is not None
        assert value.item() == held.factor
    assert len(replays._recordings) == 2
    assert replays.recordable


def test_recordings_of_earlier_states_make_room() -> None:
    class Held:
        factor = 0

        def __call__(self, x: Tensor) -> Values:
            return [x * self.factor]

    held = Held()
    replays, watch = Replays("it"), Watch(held)
    for i in range(30 * (N_KINDS + 2)):
        held.factor = i // 30
        (value,) = replays("a", held, [torch.ones(1)], watch)
        assert value is not None
        assert value.item() == held.factor
        assert len(replays._recordings) <= N_KINDS
    assert replays.recordable
    assert replays.known("a")


def test_function_that_changes_what_it_reads_is_not_recorded(caplog: pytest.LogCaptureFixture) -> None:
    class Counting:
        n_calls = 0

        def __call__(self, x: Tensor) -> Values:
            self.n_calls += 1
            return [x * self.n_calls]

    function = Counting()
    replays, watch = Replays("the product"), Watch(function)
    for i in range(10):
        (value,) = replays("a", function, [torch.ones(1)], watch)
        assert value is not None
        assert value.item() == i + 1
    assert not replays.recordable
    assert [r.getMessage() for r in caplog.records] == [
        "the product is computed as it is written, which is slower: n_calls changes from step to step"
    ]


def test_nearly_equal_is_not_equal_with_or_without_determinism() -> None:
    values = [1.0]

    def nearly(x: Tensor) -> Values:
        values[0] += 1e-6
        return [x * values[0]]

    replays = Replays("it")
    replays("a", nearly, [torch.ones(1)], NOTHING)
    with pytest.warns(RuntimeWarning, match="it depends on more than the task"):
        replays("a", nearly, [torch.ones(1)], NOTHING)
    assert not replays.recordable
