"""Watches: the same state where nothing has changed, another one and its name where something has."""

from __future__ import annotations

import copy
import threading
from functools import partial
from itertools import count
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from coldstart_cli.tracing import watch
from coldstart_cli.tracing.recorder import UnrecordableError
from coldstart_cli.tracing.watch import Watch


class Held:
    __slots__ = ("empty", "value")

    def __init__(self) -> None:
        self.value = 1.0


class Module(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(2, 2)
        self.array, self.held, self.lock = np.zeros(3), Held(), count()
        self.words = {"a": [1, (2, {3})]}
        self.own = [self]  # a circle

    def loss(self, factor: float) -> float:
        return factor


def test_state_is_the_same_object_where_nothing_has_changed() -> None:
    module = Module()
    watched = Watch(partial(module.loss, 1.0))
    state = watched.state
    with torch.no_grad():
        module.layer.weight.add_(1)
    module.layer.weight.grad = torch.ones(2, 2)
    assert watched.state is state
    module.held.value = float("1.0")  # another object of the same value
    assert watched.state == state
    assert hash(watched.state) == hash(state)


@pytest.mark.parametrize(
    ("change", "name"),
    [
        (lambda m: setattr(m, "temperature", 2.0), "temperature"),
        (lambda m: m.array.__setitem__(1, 5.0), "array"),
        (lambda m: setattr(m.held, "value", float("nan")), "held.value"),
        (lambda m: setattr(m.held, "empty", 1), "held.empty"),
        (lambda m: delattr(m.held, "value"), "held"),
        (lambda m: m.words["a"][1][1].add(4), "words.a[1][1]"),
        (lambda m: m.words.update(b=1), "words"),
        (lambda m: m.layer.requires_grad_(False), "layer.weight"),
        (lambda m: m.layer.eval(), "layer.training"),
        (lambda m: m.double(), "layer.weight"),
        (lambda m: setattr(m.layer, "bias", None), "layer.bias"),
        (lambda m: setattr(m, "lock", threading.Lock()), "lock"),
        (lambda m: setattr(m.held, "value", True), "held.value"),
    ],
)
def test_state_differs_and_says_where(change: Any, name: str) -> None:
    module = Module()
    watched = Watch(module.loss)
    before = watched.state
    change(module)
    assert watched.state != before
    assert watched.state.differs(before).startswith(name)
    assert before.differs(before) == "nothing"


def test_state_that_comes_back_is_equal() -> None:
    module = Module()
    watched = Watch(module)
    before = watched.state
    module.train(False)
    between = watched.state
    module.train()
    assert watched.state == before != between


def test_copies_around_the_same_tensors_are_in_one_state() -> None:
    module = Module()
    module.lock = count()
    del module.lock  # an iterator is known by its identity, and so is its copy
    memo: dict[int, object] = {id(p): p for p in module.parameters()}
    assert Watch(module).state == Watch(copy.deepcopy(module, memo)).state


def test_what_is_closed_is_not_looked_into_and_too_much_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    class Source:
        def __init__(self) -> None:
            self.n = 0

    holder = SimpleNamespace(source=Source(), listed=list(range(200)))
    closed, opened = Watch(holder, closed=(Source,)), Watch(holder)
    before = closed.state, opened.state
    holder.source.n += 1
    assert closed.state == before[0]
    assert opened.state != before[1]
    monkeypatch.setattr(watch, "MOST", 100)
    with pytest.raises(UnrecordableError, match="can read more than 100 values"):
        _ = Watch(holder).state
