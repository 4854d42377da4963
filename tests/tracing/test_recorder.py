"""What a recorder leaves out, and what it refuses to record."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from coldstart_cli.tracing.recorder import Recorder, UnrecordableError, Values, aside, call, refuse
from coldstart_cli.tracing.recording import Recording


def values(seed: int) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(4, 4, generator=generator), torch.randn(4, 4, generator=generator)


def test_replay_leaves_out_what_changes_nothing() -> None:
    def function(a: Tensor) -> Values:
        unused = a.exp()
        assert unused.shape == a.shape
        return [((a.T.T.view(4, 4) * 1).detach() + 1) * ((a * 1) + 1)]

    code = Recording(function, values(0)[:1]).code
    assert code.count("torch.add") == code.count("torch.mul") == 1, code
    assert code.count("(") == 3, code  # the head, the sum, the product


@pytest.mark.parametrize(
    ("function", "words"),
    [
        (lambda a: [a * torch.rand(4)], "random"),
        (lambda a: [F.dropout(a, 0.5)], "random"),
        (lambda a: [a + 1 if a.sum() > 0 else a], "value is read"),
        (lambda a: [a * float(a.mean())], "value is read"),
        (lambda a: [a + 1 if torch.equal(a, a + 1) else a], "value is read"),
        (lambda a: [a + 1 if torch.allclose(a, a + 1) else a], "value is read"),
        (lambda a: [a * len(a.tolist())], "values are read"),
        (lambda a: [a + torch.from_numpy(a.numpy())], "values are read"),
        (lambda a: [a * float(np.asarray(a).sum())], "values are read"),
        (lambda a: [a.add_(1)], "in place"),
        (lambda a: [a[:2].add_(1)], "in place"),
        (lambda a: [torch.tensor([1.0]).add_(a[0])], "in place"),
        (lambda a: [(a + 1).resize_(2)], "in place"),
        (lambda a: [refuse("a bell rings"), a][1:], "a bell rings"),
        (lambda a: [a[a > 0].mean()], "values decide the shape"),
        (lambda a: [a.nonzero()], "values decide the shape"),
    ],
)
def test_what_a_replay_would_not_do_again_is_refused(function: Callable[..., Values], words: str) -> None:
    with pytest.raises(UnrecordableError, match=words):
        Recording(function, [torch.ones(4)])
    refuse("outside of a recording nothing is refused")


def test_what_runs_aside_is_not_recorded_and_may_read_values() -> None:
    a = torch.ones(2)
    with Recorder([a]) as recorder:
        with aside():
            refuse("it is not heard here")
            assert (a + 1).tolist() == [2, 2]
        result = a * 3
    calls, names = recorder.needed([result, None])
    assert len(calls) == 1 and names[1] is None


def test_a_function_that_is_called_in_a_recording_is_a_call_of_it() -> None:
    heard: list[int] = []
    a = torch.ones(2)
    with Recorder([a]) as recorder:
        call(lambda: heard.append(1))
        unused = a + 1
        result = a * 2
    assert unused is not result and heard == [1]
    calls, _ = recorder.needed([result])
    assert [len(one.args) for one in calls] == [0, 2]  # the function, then the product; the sum is not needed
