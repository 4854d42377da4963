"""A computation recorded once and replayed: the same operations on other values, without what chose them.

Autograd, vmap and the Python code of a network decide which operations to call, and decide the same for every
task of one shape. A recording has these decisions as a function without branches: it takes two fifths of the
time of a small network's step, five sixths of a convolutional one's, and gives the same bits. Values that are
no longer needed are freed at once; autograd frees them later.
"""

from __future__ import annotations

import operator
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

import torch
from torch import Tensor, fx, nn

from coldstart_cli.tracing.recorder import Call, Name, Recorder, Values

_aten = torch.ops.aten

FUNCTIONS: Final[Mapping[Any, Callable[..., Any]]] = {
    _aten.add.Tensor: torch.add,
    _aten.bmm.default: torch.bmm,
    _aten.div.Tensor: torch.div,
    _aten.mul.Tensor: torch.mul,
    _aten.neg.default: torch.neg,
    _aten.relu.default: torch.relu,
    _aten.sub.Tensor: torch.sub,
    _aten.sum.default: torch.sum,
    _aten.sum.dim_IntList: torch.sum,
    _aten.transpose.int: torch.transpose,
    _aten.unsqueeze.default: torch.unsqueeze,
}
METHODS: Final[Mapping[Any, str]] = {_aten.expand.default: "expand", _aten.view.default: "view"}
"""Calls of the same operation that are half a microsecond faster."""


class Recording:
    """The operations of `function`, to be called with other inputs of the same shapes, strides and types.

    Tensors that it read beside its inputs, such as parameters and buffers, are read in place. The results are
    new tensors that do not share memory. Several threads may call it at once.

    Args:
        function: tensors -> tensors, a function of its arguments and of the values of tensors: no random
            numbers, no decision by a value, no in-place change of tensors that it has not made.
        inputs: the arguments of the one call that is recorded.

    Attributes:
        results: the results of that call.
        convolves: whether a convolution is among the operations.
        calls_python: whether a function that is no operation is (`recorder.call`).
        code: the recorded lines.

    Raises:
        UnrecordableError: where the function is not of that kind.
    """

    def __init__(self, function: Callable[..., Values], inputs: Sequence[Tensor]) -> None:
        with Recorder(inputs) as recorder:
            self.results = function(*inputs)
        calls, wanted = recorder.needed(self.results)
        self.calls_python = any(not call.args and not call.results for call in calls)
        self.convolves = any(call.operation is _aten.convolution.default for call in calls)
        graph = _Graph(len(inputs), recorder.read)
        for call in calls:
            graph.add(call)
        graph.end(wanted, views=recorder.view_of)
        lines = fx.GraphModule(graph.read, graph.graph)
        self.code: str = lines.code
        self._lines = lines
        self._replay: Callable[..., Values] = lines.forward

    def lifted(self) -> tuple[fx.GraphModule, list[Tensor]]:
        """The operations as a function of the inputs and of the tensors that are read, and these tensors."""
        graph = fx.Graph()
        copies: dict[fx.Node, fx.Node] = {}
        given = [node for node in self._lines.graph.nodes if node.op == "placeholder"]
        read = [node for node in self._lines.graph.nodes if node.op == "get_attr"]
        for node in given:
            copies[node] = graph.node_copy(node)
        for node in read:
            copies[node] = graph.placeholder(f"read_{node.target}")
        for node in self._lines.graph.nodes:
            if node not in copies:
                copies[node] = graph.node_copy(node, copies.__getitem__)
        return fx.GraphModule(nn.Module(), graph), [getattr(self._lines, str(node.target)) for node in read]

    def __call__(self, *inputs: Tensor) -> Values:
        with torch.no_grad():
            # The lines were recorded below autograd, with the backward pass among them: no graph is needed.
            return self._replay(*inputs)


class _Graph:
    """The calls as a torch.fx graph, which writes and compiles the lines."""

    def __init__(self, n_inputs: int, read: Mapping[Name, Tensor]) -> None:
        self.graph, self.read = fx.Graph(), nn.Module()
        self._nodes = {Name(i): self.graph.placeholder(f"x{i}") for i in range(n_inputs)}
        for name, tensor in read.items():
            # The tensor itself, not a copy: an optimizer changes it in place and a replay sees that.
            setattr(self.read, repr(name), tensor)
            self._nodes[name] = self.graph.get_attr(repr(name))

    def add(self, call: Call) -> None:
        args, kwargs = self._filled(call.args), self._filled(call.kwargs)
        if call.operation in METHODS:
            node = self.graph.call_method(METHODS[call.operation], args, kwargs)
        else:
            node = self.graph.call_function(FUNCTIONS.get(call.operation, call.operation), args, kwargs)
        if not call.several:
            self._nodes |= {name: node for name in call.results if name is not None}
            return
        for i, name in enumerate(call.results):
            if name is not None:
                self._nodes[name] = self.graph.call_function(operator.getitem, (node, i))

    def end(self, wanted: Sequence[Name | None], views: Mapping[Name, Name]) -> None:
        """Adds the results; views, inputs and repeated results are copied, so that none share memory."""
        made = {node for node in self._nodes.values() if node.op not in ("placeholder", "get_attr")}
        made -= {self._nodes[name] for name in views if name in self._nodes}
        results: list[fx.Node | None] = []
        for name in wanted:
            node = None if name is None else self._nodes[name]
            if node is not None and (node not in made or node in results):
                node = self.graph.call_function(torch.clone, (node,))
            results.append(node)
        self.graph.output(results)

    def _filled(self, value: Any) -> Any:
        if isinstance(value, Name):
            return self._nodes[value]
        if isinstance(value, Mapping):
            return {name: self._filled(part) for name, part in value.items()}
        if isinstance(value, list | tuple):
            return type(value)(self._filled(part) for part in value)
        return value
