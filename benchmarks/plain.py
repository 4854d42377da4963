"""A row of the benchmark as it is usually written: the network, and the meta-gradient by autograd alone.

The plain step is what every side's meta-gradient is compared with, and what FLOPs are counted on.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import islice
from typing import Any

import torch
from torch import Tensor, nn
from torch.func import functional_call
from torch.nn import functional as F

from coldstart_cli.bench.rows import Case
from coldstart_cli.core.tasks import Examples, Task, joined
from coldstart_cli.training.inner_loop import batches

Step = Callable[[list[Task]], object]
FAMILIES = {"MAML": "gradient", "ProtoNet": "prototypes", "Reptile": "reptile"}


class PlainConv4(nn.Module):
    """The same network as Conv4, as it is usually written: contiguous, torch's batch norm, ReLU, pool."""

    def __init__(self) -> None:
        super().__init__()
        self.convs = nn.ModuleList(nn.Conv2d(64 if i else 1, 64, 3, padding=1) for i in range(4))
        self.norms = nn.ModuleList(nn.BatchNorm2d(64, track_running_stats=False) for _ in range(4))

    def forward(self, images: Tensor) -> Tensor:
        for conv, norm in zip(self.convs, self.norms, strict=True):
            images = F.max_pool2d(F.relu(norm(conv(images))), 2)
        return images.flatten(1)


class PlainMLP(nn.Module):
    """40 and 40 units with ReLU."""

    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.Sequential(nn.Linear(1, 40), nn.ReLU(), nn.Linear(40, 40), nn.ReLU())

    def forward(self, inputs: Tensor) -> Tensor:
        features: Tensor = self.layers(inputs)
        return features


class PlainNetwork(nn.Module):
    def __init__(self, encoder: nn.Module, head: nn.Linear) -> None:
        super().__init__()
        self.encoder, self.head = encoder, head

    def forward(self, inputs: Tensor) -> Tensor:
        outputs: Tensor = self.head(self.encoder(inputs))
        return outputs


@dataclass(frozen=True)
class Problem:
    """What a side needs to know of a row, read from its config, so that no value stands twice.

    Attributes:
        family: `gradient` (MAML and its kin), `prototypes`, `reptile`, or None: no peer has it.
    """

    case: Case
    family: str | None

    @property
    def values(self) -> dict[str, Any]:
        return dict(self.case.config["strategy"])

    def network(self) -> PlainNetwork:
        """The plain network with the strategy's weights, in their precision."""
        strategy: Any = self.case.strategy
        ours = strategy if self.family == "prototypes" else strategy.network
        encoder, width = (PlainMLP(), 40) if self.case.limit.startswith("gemm") else (PlainConv4(), 64)
        network = PlainNetwork(encoder, nn.Linear(width, self.case.source.objective.n_outputs))
        network.to(next(strategy.parameters()).dtype)
        network.load_state_dict(ours.state_dict(), strict=self.family != "prototypes")
        return network


def problem(case: Case) -> Problem:
    return Problem(case, FAMILIES.get(type(case.strategy).__name__))


def gradients(network: nn.Module) -> dict[str, Tensor]:
    """The gradient of every parameter by its name; what a step left at none is left out."""
    return {name: p.grad.clone() for name, p in network.named_parameters() if p.grad is not None}


def plain_step(case: Problem, network: PlainNetwork) -> Step:
    """Accumulates the meta-gradient of a batch of tasks in `network`."""
    one = {"gradient": _adapted, "prototypes": _by_prototypes, "reptile": None}[str(case.family)]
    if one is None:
        return reptile_step(case, network)

    def step(tasks: list[Task]) -> None:
        network.zero_grad()
        for task in tasks:
            (one(case, network, task) / len(tasks)).backward()

    return step


def _adapted(case: Problem, network: PlainNetwork, task: Task) -> Tensor:
    values, loss = case.values, case.case.source.objective.loss
    support, query, moving = task.support.inputs, task.query.inputs, network
    if values["adapted"] == "head":
        support, query, moving = network.encoder(support), network.encoder(query), network.head
    weights = dict(moving.named_parameters())
    for _ in range(values["inner_steps"]):
        inner = loss(functional_call(moving, weights, (support,)), task.support.targets)
        slopes = torch.autograd.grad(inner, list(weights.values()), create_graph=values["second_order"],
                                     retain_graph=values["adapted"] == "head" or None)  # fmt: skip
        weights = {
            name: w - values["inner_lr"] * g for (name, w), g in zip(weights.items(), slopes, strict=True)
        }
    return loss(functional_call(moving, weights, (query,)), task.query.targets)


def _by_prototypes(case: Problem, network: PlainNetwork, task: Task) -> Tensor:
    features = network.encoder(torch.cat([task.support.inputs, task.query.inputs]))
    points, rest = features[: len(task.support)], features[len(task.support) :]
    order = task.support.targets.argsort()  # one shot: an example is its class's mean
    return F.cross_entropy(
        -((rest.unsqueeze(1) - points[order].unsqueeze(0)) ** 2).sum(2), task.query.targets
    )


def reptile_step(case: Problem, network: PlainNetwork) -> Step:
    """A copy of the network for each task, torch's Adam without momentum on it: theta - theta'."""
    values, loss = case.values, case.case.source.objective.loss

    def step(tasks: list[Task]) -> None:
        for p in network.parameters():
            p.grad = torch.zeros_like(p)
        for task in tasks:
            learner = copy.deepcopy(network)
            optimizer = torch.optim.Adam(learner.parameters(), values["inner_lr"], betas=(0.0, 0.999))
            for batch in islice(_batches(task, values["inner_batch_size"]), values["inner_steps"]):
                optimizer.zero_grad()
                loss(learner(batch.inputs), batch.targets).backward()
                optimizer.step()
            for p, moved in zip(network.parameters(), learner.parameters(), strict=True):
                p.grad += (p.detach() - moved.detach()) / len(tasks)

    return step


def _batches(task: Task, size: int) -> Iterator[Examples]:
    """The mini-batches that our Reptile draws."""
    inputs = joined(task.support.inputs, task.query.inputs)
    examples = Examples(inputs, torch.cat([task.support.targets, task.query.targets]))
    return (examples.take(chosen) for chosen in batches(len(examples), size, task.support.seed))
