"""The steps of learn2learn, higher, torchopt and parallel-metalearn, each as its own examples train."""

from __future__ import annotations

import subprocess
import sys
import tarfile
import types
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from benchmarks.plain import PlainNetwork, Problem, Step, reptile_step
from coldstart_cli.core.tasks import Task

REPOSITORY = Path(__file__).resolve().parents[1]
PEERS = REPOSITORY / ".venv-bench"
Side = Callable[[Problem, PlainNetwork], Step | None]
"""A peer's step, which leaves the meta-gradient in the network; or None where the peer cannot do the row."""


def install() -> None:
    """Puts the peers into .venv-bench, unless they are there.

    Raises:
        subprocess.CalledProcessError: where the package index does not give them.
    """
    if (PEERS / ".installed").exists():
        return
    PEERS.mkdir(exist_ok=True)
    (PEERS / ".gitignore").write_text("*\n")
    lines = (REPOSITORY / "benchmarks" / "requirements.txt").read_text().splitlines()
    names = [line for line in lines if line and not line.startswith("#")]
    source = [name for name in names if name.startswith("learn2learn")]
    pip = [sys.executable, "-m", "pip", "--quiet", "--disable-pip-version-check"]
    rest = [name for name in names if name not in source]
    subprocess.run([*pip, "install", "--no-deps", "--upgrade", "--target", str(PEERS), *rest], check=True)
    words = ["download", "--no-deps", "--no-binary", "learn2learn", "-d", str(PEERS), *source]
    subprocess.run([*pip, *words], check=True)
    with tarfile.open(next(PEERS.glob("learn2learn-*.tar.gz"))) as archive:
        archive.extractall(PEERS, filter="data")
    (PEERS / ".installed").touch()


def sides() -> dict[str, Side]:
    """Those that can be imported here, by the name of their column; the others are said on standard error."""
    if str(PEERS) not in sys.path:
        sys.path.append(str(PEERS))  # last: torch and numpy are this environment's
    found: dict[str, Side] = {}
    makers: dict[str, Callable[[], Side]] = {
        "learn2learn": _learn2learn,
        "higher": _higher,
        "torchopt": _torchopt,
        "parallel-metalearn": partial(_parallel_metalearn, "sequential"),
        "its vmap": partial(_parallel_metalearn, "vmap"),
    }
    for name, make in makers.items():
        try:
            found[name] = make()
        except (ImportError, ValueError) as error:
            print(f"{name} is left out: {error}", file=sys.stderr)
    return found


def _learn2learn() -> Side:
    """Its MAML, and the loops of its examples (maml_*, anil_fc100, protonet_miniimagenet, reptile_*)."""
    (root,) = PEERS.glob("learn2learn-*/learn2learn")
    for name in ("learn2learn", "learn2learn.algorithms"):
        package = types.ModuleType(name)
        package.__path__ = [str(root.joinpath(*name.split(".")[1:]))]
        sys.modules[name] = package
    from learn2learn.algorithms.maml import MAML

    def side(case: Problem, network: PlainNetwork) -> Step | None:
        if case.family == "prototypes":
            return _backward_each(network, partial(_prototype_loss, network))
        if case.family == "reptile":
            return reptile_step(case, network)
        values, loss = case.values, case.case.source.objective.loss
        moving = network.head if values["adapted"] == "head" else network
        learner = MAML(moving, lr=values["inner_lr"], first_order=not values["second_order"])

        def query_loss(task: Task) -> Tensor:
            support, query = _read(case, network, task)
            clone = learner.clone()
            for _ in range(values["inner_steps"]):
                clone.adapt(loss(clone(support), task.support.targets))
            return loss(clone(query), task.query.targets)

        return _backward_each(network, query_loss)

    return side


def _higher() -> Side:
    """innerloop_ctx as in its MAML example; first order without its graph, which is the faster way."""
    import higher

    def side(case: Problem, network: PlainNetwork) -> Step | None:
        if case.family != "gradient":
            return None
        values, loss = case.values, case.case.source.objective.loss
        moving = network.head if values["adapted"] == "head" else network
        inner = torch.optim.SGD(moving.parameters(), values["inner_lr"])
        second_order = values["second_order"]

        def step(tasks: list[Task]) -> None:
            network.zero_grad()
            for task in tasks:
                support, query = _read(case, network, task)
                with higher.innerloop_ctx(
                    moving, inner, copy_initial_weights=False, track_higher_grads=second_order
                ) as (learner, optimizer):
                    for _ in range(values["inner_steps"]):
                        optimizer.step(loss(learner(support), task.support.targets))
                    last = loss(learner(query), task.query.targets) / len(tasks)
                    if second_order:
                        last.backward()
                        continue
                    slopes = torch.autograd.grad(last, list(learner.parameters()))
                    for p, slope in zip(moving.parameters(), slopes, strict=True):
                        p.grad = slope if p.grad is None else p.grad + slope

        return step

    return side


def _torchopt() -> Side:
    """MetaSGD as in its few-shot example; it has no first-order form."""
    import torchopt

    def side(case: Problem, network: PlainNetwork) -> Step | None:
        if case.family != "gradient" or not case.values["second_order"]:
            return None
        values, loss = case.values, case.case.source.objective.loss
        moving = network.head if values["adapted"] == "head" else network
        inner = torchopt.MetaSGD(moving, lr=values["inner_lr"])
        parameters = dict(network.named_parameters())

        def step(tasks: list[Task]) -> None:
            for p in parameters.values():
                p.grad = None
            start = torchopt.extract_state_dict(moving, by="reference", detach_buffers=True)
            fresh = torchopt.extract_state_dict(inner, by="reference")
            for task in tasks:
                support, query = _read(case, network, task)
                for _ in range(values["inner_steps"]):
                    inner.step(loss(moving(support), task.support.targets))
                (loss(moving(query), task.query.targets) / len(tasks)).backward()
                torchopt.recover_state_dict(moving, start)
                torchopt.recover_state_dict(inner, fresh)

        return step

    return side


def _parallel_metalearn(backend: str) -> Side:
    """Its MAML on its own batch norm, all tasks in one call (vmap) or one after another (sequential)."""
    from metalearn.algorithms import MAML
    from metalearn.inner_optimizers.optimizers import InnerSGD
    from metalearn.loss.base import BaseLoss
    from metalearn.model_wrappers import MAML_Model
    from metalearn.nn_models.basic_layers.BatchNormalization import BatchNorm

    class Loss(BaseLoss):
        def __init__(self, loss: Callable[[Tensor, Tensor], Tensor]) -> None:
            super().__init__()
            self.loss = loss

        def forward(self, out_dict, targets, model_states=None, **_):
            value = self.loss(out_dict["logits"], targets["labels"])
            return value, value.detach()

    def side(case: Problem, network: PlainNetwork) -> Step | None:
        if case.family != "gradient" or case.values["adapted"] != "all":
            return None
        if backend == "vmap" and _too_large(case):
            return None
        values, dtype = case.values, next(network.parameters()).dtype
        norms: Any = network.encoder.norms if case.case.limit.startswith("conv") else []
        for i, norm in enumerate(norms):
            norms[i] = BatchNorm(norm.num_features, track_running_stats=False).to(dtype)
            norms[i].load_state_dict(norm.state_dict())
        model = MAML_Model(backbone=_Ignoring(network.encoder), head=_Ignoring(network.head))
        inner = InnerSGD(model.get_fast_weights(), first_order=not values["second_order"],
                         inner_lr=values["inner_lr"], learn_lr=False).to(dtype)  # fmt: skip
        for rate in inner.parameters():
            rate.data.fill_(values["inner_lr"])
        optimizer = torch.optim.SGD(network.parameters(), 0.0)
        learner = MAML(model=model, optimizer=optimizer, inner_optimizer=inner, backend=backend,
                       support_loss_fn=Loss(case.case.source.objective.loss),
                       inner_steps=values["inner_steps"])  # fmt: skip

        def step(tasks: list[Task]) -> None:
            sets = ([t.support for t in tasks], [t.query for t in tasks])
            stacked = [
                part
                for examples in sets
                for part in (
                    torch.stack([e.inputs for e in examples]),
                    {"labels": torch.stack([e.targets for e in examples])},
                )
            ]
            learner.step(iter([stacked]))

        return step

    return side


def _too_large(case: Problem) -> bool:
    """Whether vmap keeps the activations of more images at once than some 3 GB hold."""
    support, query = (case.case.source.drawn[0].support, case.case.source.drawn[0].query)
    images = len(case.case.source.drawn) * (case.values["inner_steps"] * len(support) + len(query))
    return case.case.limit.startswith("conv") and images > 1500


class _Ignoring(nn.Module):
    """A module that takes and ignores what parallel-metalearn says of the step."""

    def __init__(self, module: nn.Module) -> None:
        super().__init__()
        self.module = module

    def forward(self, inputs: Tensor, **_: object) -> Tensor:
        output: Tensor = self.module(inputs)
        return output


def _read(case: Problem, network: PlainNetwork, task: Task) -> tuple[Tensor, Tensor]:
    """What the moving part reads: where only the head moves, features."""
    support, query = task.support.inputs, task.query.inputs
    if case.values["adapted"] == "head":
        return network.encoder(support), network.encoder(query)
    return support, query


def _backward_each(network: PlainNetwork, query_loss: Callable[[Task], Tensor]) -> Step:
    optimizer = torch.optim.SGD(network.parameters(), 0.0)

    def step(tasks: list[Task]) -> None:
        optimizer.zero_grad()
        for task in tasks:
            (query_loss(task) / len(tasks)).backward()
        optimizer.step()

    return step


def _prototype_loss(network: PlainNetwork, task: Task) -> Tensor:
    """protonet_miniimagenet.py: sorted supports, mean over shots, squared distances by broadcasting."""
    features = network.encoder(torch.cat([task.support.inputs, task.query.inputs]))
    order = task.support.targets.argsort()
    n_way = int(task.support.targets.max()) + 1
    points = features[: len(order)][order].reshape(n_way, -1, features.shape[1]).mean(1)
    rest = features[len(order) :]
    logits = -((rest.unsqueeze(1).expand(len(rest), n_way, -1) - points.unsqueeze(0)) ** 2).sum(2)
    return F.cross_entropy(logits, task.query.targets)
