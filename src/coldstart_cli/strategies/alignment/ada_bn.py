"""AdaBN: the statistics of batch norms are re-estimated on the task, and every weight stays.

Li, Wang, Shi, Liu and Hou 2016, arXiv:1603.04779, algorithm 1.
"""

from __future__ import annotations

from collections.abc import Generator, Iterator, Mapping
from functools import partial
from typing import Annotated, Unpack

import torch
from annotated_types import Ge, Le
from torch import Tensor, nn

from coldstart_cli.core.strategy import Adapted, Strategy
from coldstart_cli.core.tasks import Inputs, Support, TaskSource, joined
from coldstart_cli.models.network import Encoder, Network, Predictor, linear_head, tree_of
from coldstart_cli.models.norm import EPSILON
from coldstart_cli.strategies.building_blocks.source_classifier import (
    FineTuning,
    descended,
    fit_classifier,
    for_task,
    head_loss,
    rule_of,
    weights_of,
)
from coldstart_cli.training.optimizers import OptimizerFactory


class AdaBN(Strategy):
    """Trains a source classifier; on a task, batch norms take the mean and variance of the task's inputs.

    statistics = (1 - weight) source's + weight * task's, of all inputs that the task gives, labelled or not,
    layer by layer: each reads what the layers before make under the task's statistics. 1 is the paper's; less
    is for few inputs. Where the task has labels the head then takes gradient steps on these features, which
    the paper, without labels, does not.

    The note `distance` is `statistics_distance` of the statistics in use from the task's.

    Args:
        encoder, optimizer, n_source_outputs, seed: from the run.
        weight: share of the task's statistics.
        tuning: see `FineTuning`; each step moves the head alone, on the whole support set.
    """

    needs_classes = True
    needs_labels = False
    needs_unlabelled = True
    needs_running_statistics = True
    lowers_distance_by, replayable = "weight", False
    shardable = True

    def __init__(
        self,
        encoder: Encoder,
        optimizer: OptimizerFactory,
        n_source_outputs: int,
        seed: int,
        *,
        weight: Annotated[float, Ge(0), Le(1)],
        **tuning: Unpack[FineTuning],
    ) -> None:
        super().__init__()
        self.network = Network(encoder, linear_head(encoder.feature_dim, n_source_outputs))
        self.seed, self.weight, self.tuning = seed, weight, tuning
        self.optimizer = optimizer(self.parameters())

    def fit(self, source: TaskSource, start: int = 0) -> Iterator[dict[str, float]]:
        return fit_classifier(
            self.network,
            source,
            self.optimizer,
            batch_size=self.tuning["batch_size"],
            seed=self.seed,
            start=start,
        )

    def adapt(self, support: Support) -> Generator[Adapted, None, None]:
        """Yields the source model, then the task's statistics with the head after each of its steps.

        Item n has taken n steps of the head; without labels there are two items.
        """
        network = for_task(self.network, support)
        assert support.unlabelled is not None, "needs_unlabelled"
        source = statistics(network.encoder)
        task = statistics_on(network.encoder, joined(support.inputs, support.unlabelled))
        mixed = {name: old.lerp(task[name], self.weight) for name, old in source.items()}
        head = weights_of(network, "head.")
        yield self._adapted(network, {**_named(source), **head}, statistics_distance(source, task))
        adapted = tree_of(network)
        assert isinstance(adapted, Network)
        for name, tensor in mixed.items():
            owner, _, leaf = name.rpartition(".")
            setattr(adapted.encoder.get_submodule(owner), leaf, tensor)
        steps = descended(head_loss(adapted, support), head, rule_of(self.tuning), support)
        if len(support):
            next(steps)  # the head before a step, which the source model was shown with
        for changed in steps:
            distance = statistics_distance(mixed, task)
            yield self._adapted(network, {**_named(mixed), **changed}, distance)

    def _adapted(self, network: Network, changed: dict[str, Tensor], distance: float) -> Adapted:
        return Adapted(partial(Predictor, network, changed), changed, {"distance": distance})


def statistics(encoder: nn.Module) -> dict[str, Tensor]:
    """The running means and variances, by their names in the encoder."""
    return {
        f"{name}.{kind}": getattr(module, kind).detach()
        for name, module in encoder.named_modules()
        if getattr(module, "running_statistics", False)
        for kind in ("running_mean", "running_var")
    }


def statistics_on(encoder: nn.Module, inputs: Inputs) -> dict[str, Tensor]:
    """The same where every norm has the mean and biased variance of what it reads of `inputs`, (n, ...)."""
    own = tree_of(encoder).eval()  # the encoder's own buffers serve other tasks too
    for part in own.modules():
        if getattr(part, "running_statistics", False):
            part.settling = True  # type: ignore[assignment]
    with torch.no_grad():
        own(inputs)  # each layer settles before the next one reads what it has made
    return statistics(own)


def statistics_distance(used: Mapping[str, Tensor], task: Mapping[str, Tensor]) -> float:
    """Mean over channels of KL(N(task's mean, variance) || N(those in use)), in nats."""
    terms = []
    for name, mean in used.items():
        if name.endswith("running_mean"):
            of_var = name.replace("running_mean", "running_var")
            var, theirs = used[of_var] + EPSILON, task[of_var] + EPSILON
            terms.append(0.5 * ((theirs + (task[name] - mean).square()) / var - 1 + (var / theirs).log()))
    return float(torch.cat(terms).mean())


def _named(statistics: Mapping[str, Tensor]) -> dict[str, Tensor]:
    return {f"encoder.{name}": tensor for name, tensor in statistics.items()}
