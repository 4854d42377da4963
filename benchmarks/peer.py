"""learn2learn's side of the benchmark: its MAML, and the training loops of its examples."""

import subprocess
import sys
import tarfile
import types
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from coldstart_cli.core import Objective, Task
from coldstart_cli.models.mlp import MLP
from coldstart_cli.models.network import Encoder, Network, linear_head
from coldstart_cli.objectives import Regression

REPOSITORY = Path(__file__).resolve().parents[1]
PEERS = REPOSITORY / ".venv-bench"


@dataclass(frozen=True)
class Case:
    """One kind of meta-step."""

    name: str
    n_tasks: int
    objective: Objective
    inner_lr: float = 0.4
    second_order: bool = True
    adapted: str = "all"
    prototypes: bool = False


class PlainConv4(Encoder):
    """The same network as Conv4, as it is usually written."""

    def __init__(self) -> None:
        super().__init__()
        self.convs = nn.ModuleList(nn.Conv2d(64 if i else 1, 64, 3, padding=1) for i in range(4))
        self.norms = nn.ModuleList(nn.BatchNorm2d(64, track_running_stats=False) for _ in range(4))

    def forward(self, images: Tensor) -> Tensor:
        for conv, norm in zip(self.convs, self.norms, strict=True):
            images = F.max_pool2d(F.relu(norm(conv(images))), 2)
        return images.flatten(1)


def plain_network(case: Case) -> Network:
    if isinstance(case.objective, Regression):
        encoder: Encoder = MLP((1,), hidden=[40, 40], activation="relu")
    else:
        encoder = PlainConv4()
    return Network(
        encoder, linear_head(40 if isinstance(case.objective, Regression) else 64, case.objective.n_outputs)
    )


def peer_step(case: Case, network: Network, maml: type[nn.Module]) -> Callable[[list[Task]], None]:
    """learn2learn's training loop, as in its examples (maml_*, anil_fc100, protonet_miniimagenet)."""
    moving = network.head if case.adapted == "head" else network
    learner = maml(moving, lr=case.inner_lr, first_order=not case.second_order)
    optimizer = torch.optim.SGD(network.parameters(), 0.0)

    def step(tasks: list[Task]) -> None:
        optimizer.zero_grad()
        for task in tasks:
            (query_loss(task) / len(tasks)).backward()
        optimizer.step()

    def query_loss(task: Task) -> Tensor:
        support, query = task.support.inputs, task.query.inputs
        if case.prototypes:
            features = network.encoder(torch.cat([support, query]))
            points, rest = features[: len(support)], features[len(support) :]
            return F.cross_entropy(
                -((rest.unsqueeze(1) - points.unsqueeze(0)) ** 2).sum(2), task.query.targets
            )
        if case.adapted == "head":
            support, query = network.encoder(support), network.encoder(query)
        clone = learner.clone()
        clone.adapt(case.objective.loss(clone(support), task.support.targets))
        return case.objective.loss(clone(query), task.query.targets)

    return step


def learn2learn_maml() -> type[nn.Module]:
    """learn2learn's MAML, without its package's own imports (gym, compiled data loaders)."""
    if not list(PEERS.glob("learn2learn-*/learn2learn")):
        PEERS.mkdir(exist_ok=True)
        (PEERS / ".gitignore").write_text("*\n")
        command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--no-binary", ":all:"]
        requirements = str(REPOSITORY / "benchmarks" / "requirements.txt")
        subprocess.run([*command, "-r", requirements, "-d", str(PEERS)], check=True)
        with tarfile.open(next(PEERS.glob("learn2learn-*.tar.gz"))) as archive:
            archive.extractall(PEERS, filter="data")
    (root,) = PEERS.glob("learn2learn-*/learn2learn")
    for name in ("learn2learn", "learn2learn.algorithms"):
        package = types.ModuleType(name)
        package.__path__ = [str(root.joinpath(*name.split(".")[1:]))]
        sys.modules[name] = package
    from learn2learn.algorithms.maml import MAML as PeerMAML

    return PeerMAML
