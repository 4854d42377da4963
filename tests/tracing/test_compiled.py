"""Compiled recordings: equal within rounding, the same bits each time, and refused where they cannot be."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from torch import Tensor

from coldstart_cli.errors import RequestError
from coldstart_cli.tracing import compiled, recorder
from coldstart_cli.tracing.compiled import Compiled
from coldstart_cli.tracing.recorder import Values
from coldstart_cli.tracing.recording import Recording
from coldstart_cli.tracing.watch import Watch

compiler = pytest.mark.skipif(
    shutil.which("g++") is None and shutil.which("clang++") is None, reason="no C++ compiler on the path"
)


@pytest.fixture(autouse=True)
def kept(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Where programs are kept: one folder for all, since nothing is compiled twice."""
    folder = tmp_path_factory.getbasetemp() / "compiled"
    monkeypatch.delenv("TORCHINDUCTOR_CACHE_DIR", raising=False)
    monkeypatch.setattr(compiled, "_folder", lambda: folder)
    monkeypatch.setattr(compiled, "_on", False)
    yield folder
    os.environ.pop("TORCHINDUCTOR_CACHE_DIR", None)


class Layer:
    """The gradient of a small loss: an optimizer changes its weight in place, its scale is an attribute."""

    def __init__(self) -> None:
        self.weight = torch.linspace(-1, 1, 12).view(3, 4).requires_grad_()
        self.scale = 2.0

    def __call__(self, x: Tensor) -> Values:
        loss = (self.scale * torch.tanh(x @ self.weight) ** 2).sum()
        (gradient,) = torch.autograd.grad(loss, [self.weight])
        return [loss.detach().clone(), gradient.clone(), None]


@compiler
def test_a_program_follows_weights_and_inputs_and_gives_the_same_bits_each_time() -> None:
    layer = Layer()
    compilations, watch = Compiled("it"), Watch(layer)
    for i in range(14):  # the first, the tenth: compared with the plain computation
        x = torch.linspace(0, 1 + i, 15).view(5, 3)
        found, again = compilations("a", layer, [x], watch), compilations("a", layer, [x], watch)
        for plain, one, other in zip(layer(x), found, again, strict=True):
            if plain is None or one is None or other is None:
                assert plain is one is other is None
            else:
                torch.testing.assert_close(one, plain, rtol=1e-5, atol=1e-6)
                assert torch.equal(one, other)
        with torch.no_grad():
            layer.weight += 0.1
    assert compilations.known("a") and compilations.convolves("a") is False
    ready = compilations.ready("a", [x], watch)
    assert ready is not None
    for one, other in zip(ready(), compilations("a", layer, [x], watch), strict=True):
        assert (one is other is None) or torch.equal(one, other)


def test_another_value_of_an_attribute_is_another_program(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("torch._inductor.standalone_compile", lambda lines, inputs, **named: lines)
    layer, x = Layer(), torch.ones(5, 3)
    compilations, watch = Compiled("it"), Watch(layer)
    for scale in (2.0, 3.0, 2.0):
        layer.scale = scale
        for plain, found in zip(layer(x), compilations("a", layer, [x], watch), strict=True):
            assert (plain is found is None) or torch.equal(plain, found)  # type: ignore[arg-type]
    assert len(compilations._programs) == 2


def test_lifted_lines_are_the_recording_with_what_it_reads_as_arguments() -> None:
    layer, x = Layer(), torch.ones(5, 3)
    recording = Recording(layer, [x])
    lines, read = recording.lifted()
    assert [t.data_ptr() for t in read] == [layer.weight.data_ptr()]
    with torch.no_grad():
        found = lines(x, *(2 * tensor for tensor in read))
        layer.weight.mul_(2)
    for one, other in zip(found, recording(x), strict=True):
        assert (one is other is None) or torch.equal(one, other)


def test_what_draws_calls_python_or_has_too_many_kinds_is_refused_in_one_line() -> None:
    x = torch.ones(3)
    with pytest.raises(
        RequestError, match=r"^hardware\.compile: it cannot be compiled: .* draws random numbers; h"
    ):
        Compiled("it")("a", lambda x: [x + torch.rand(3)], [x], Watch())

    def calling(x: Tensor) -> Values:
        recorder.call(lambda: None)
        return [x * 2]

    with pytest.raises(RequestError, match=r"it calls Python code in every step; hardware\.compile=false"):
        Compiled("it")("a", calling, [x], Watch())
    compilations = Compiled("it")
    compilations._programs = {(i, False, "b"): None for i in range(16)}  # type: ignore[misc]
    with pytest.raises(RequestError, match=r"more than 16 kinds"):
        compilations("a", lambda x: [x * 2], [x], Watch())


def test_without_a_compiler_or_with_one_that_fails_a_line_says_so(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(shutil, "which", lambda name: None)
        patch.delenv("CXX", raising=False)
        with pytest.raises(RequestError, match=r"^hardware\.compile: true needs a C\+\+ compiler.* g\+\+\)"):
            compiled.switch(True, lambda: tmp_path)
        compiled.switch(False, lambda: tmp_path)
    monkeypatch.setattr("torch._inductor.standalone_compile", lambda *args, **named: 1 / 0)
    with pytest.raises(RequestError, match=r"the compiler failed \(ZeroDivisionError: division by zero\)"):
        Compiled("it")("a", lambda x: [x * 2], [torch.ones(3)], Watch())


def test_what_has_cancelled_to_nearly_nothing_may_differ_by_what_rounding_moves_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    weight = torch.tensor([1000.0, 1.0])

    def function(x: Tensor) -> Values:  # 1000.0001 - 1000, of which rounding leaves nothing certain
        return [(weight * x).sum() - 1000]

    x = torch.tensor([1.0, 1e-4])
    for off, ends in ((5e-3, False), (5e-1, True)):  # weight moves by 1e-6 of 1000
        monkeypatch.setattr(
            "torch._inductor.standalone_compile",
            lambda lines, inputs, off=off, **named: lambda *values: [lines(*values)[0] + off],
        )
        if ends:
            with pytest.raises(RequestError, match="gives other values"):
                Compiled("it")("a", function, [x], Watch())
        else:
            Compiled("it")("a", function, [x], Watch())


def test_a_program_that_gives_other_values_ends_the_run(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("torch._inductor.standalone_compile", lambda *args, **named: lambda x: [1.01 * 2 * x])
    with pytest.raises(RequestError, match=r"gives other values than it does as written"):
        Compiled("it")("a", lambda x: [x * 2], [torch.ones(3)], Watch())
    monkeypatch.setattr("torch._inductor.standalone_compile", lambda *args, **named: lambda x: [2 * x])
    doubled = Compiled("it")("a", lambda x: [x * 2], [torch.ones(3)], Watch())[0]
    assert doubled is not None and doubled.tolist() == [2.0] * 3
