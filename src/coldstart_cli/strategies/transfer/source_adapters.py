"""Transfer from those low-rank updates of one frozen encoder that suit the new task.

One update W + (alpha / rank) B A for each source group (alphabet, script, domain), with a head of its own,
and one for all groups; a similarity to the support set says which to start from, as among whole networks
(`source_selection`, where the papers of the similarities are named). Updates: Hu et al. 2021,
arXiv:2106.09685. A library of updates, chosen among for a new task: Ostapenko et al. 2024, arXiv:2405.11157,
who compare updates by their own directions, where these measures read the task's labels.
"""

from __future__ import annotations

from collections.abc import Generator, Iterator, Mapping
from functools import partial
from typing import Annotated, Unpack, cast, final

import torch
from annotated_types import Ge, Gt
from torch import Tensor, nn

from coldstart_cli.core.strategy import Adapted, Strategy
from coldstart_cli.core.tasks import Examples, Objective, Pool, Support, TaskSource
from coldstart_cli.models.network import Encoder, Network, Predictor, linear_head
from coldstart_cli.models.norm import refuse_running_statistics
from coldstart_cli.models.pretrained.features import Pretrained
from coldstart_cli.models.updates.low_rank import check_rank, chosen, constants, low_rank, matrices, merged
from coldstart_cli.strategies.building_blocks.candidates import (
    ALL,
    Measure,
    Use,
    lack_of_groups,
    measured,
    used,
)
from coldstart_cli.strategies.building_blocks.scores import scores
from coldstart_cli.strategies.building_blocks.source_classifier import (
    FineTuning,
    descended,
    for_task,
    rule_of,
    support_loss,
    weights_of,
)
from coldstart_cli.strategies.building_blocks.source_groups import by_turns, group_pools
from coldstart_cli.training.inner_loop import Weights, canonical
from coldstart_cli.training.optimizers import OptimizerFactory
from coldstart_cli.training.outer_loops import supervised


class SourceAdapters(Strategy):
    """Chooses, or weights, low-rank updates that were learned from each source group.

    The encoder stays as it is given, which suits pretrained ones; updates and heads take turns in training,
    so that steps and examples are those of one. Each candidate's similarity is read from the encoder with its
    update: LEEP on the probabilities of its source classes, the others on its features. Adaptation moves the
    update and a new head.

    Args:
        encoder, optimizer, n_source_outputs, source_groups, seed: from the run.
        similarity: the measure.
        use: start from the group most alike, or weight all by softmax(similarity / temperature).
        temperature: of the weights, in units of the similarity; `weight` alone.
        components: of the mixture of Gaussians, for each class of the task; `n_leep` alone.
        rank: of the updates, at most the smaller side of every matrix.
        alpha: updates are scaled by alpha / rank.
        targets: which matrices are updated, by a part of their names; None for all.
        tuning: see `FineTuning`.

    Raises:
        ValueError: where the encoder has no matrix, or one that the rank does not restrict.
    """

    needs_classes = True
    replayable = False

    def __init__(
        self,
        encoder: Encoder,
        optimizer: OptimizerFactory,
        n_source_outputs: int,
        source_groups: tuple[str, ...],
        seed: int,
        *,
        similarity: Measure,
        use: Use,
        temperature: Annotated[float, Gt(0)],
        components: Annotated[int, Ge(1)],
        rank: Annotated[int, Ge(1)],
        alpha: Annotated[float, Gt(0)],
        targets: list[str] | None,
        **tuning: Unpack[FineTuning],
    ) -> None:
        super().__init__()
        refuse_running_statistics(encoder)
        if not matrices(encoder):
            raise ValueError("model: its encoder has no weights to update; choose model=hf_text, not frozen")
        weights = chosen(matrices(encoder), targets)
        check_rank(rank, weights)
        self.names, self.seed = list(weights), seed
        self.similarity, self.use, self.temperature = similarity, use, temperature
        self.components, self.rank, self.alpha, self.targets = components, rank, alpha, targets
        self.tuning = tuning
        self.groups = tuple(dict.fromkeys(source_groups))
        of = [[c for c, group in enumerate(source_groups) if group == name] for name in self.groups]
        self.classes = [torch.tensor(own) for own in [*of, range(n_source_outputs)]]
        if isinstance(encoder, Pretrained):
            encoder.freeze()
        self.encoder = encoder.requires_grad_(False)
        factors, n = low_rank(self._frozen(), rank, seed), len(self.classes)
        made = partial(_Expert, factors, encoder.feature_dim, n_source_outputs, optimizer, 1 / n)
        # They are numbered, as a group's name may be no valid attribute; the last one is of all groups.
        self.experts = nn.ModuleList(made() for _ in range(n))

    def refusal(self, tasks: TaskSource) -> str | None:
        return super().refusal(tasks) or lack_of_groups(len(self.groups))

    def fit(self, source: TaskSource, start: int = 0) -> Iterator[dict[str, float]]:
        """Losses have names of their own: `loss` of all groups, `GROUP_loss` of one."""
        pool = source.pool("train")
        parts: list[Pool] = [*group_pools(pool, self.classes[:-1]), pool]
        prefixes = [*(f"{name}_" for name in self.groups), ""]
        turns = [
            partial(self._training, expert, part, prefix)
            for expert, part, prefix in zip(self._experts(), parts, prefixes, strict=True)
            if len(part)  # otherwise all of the group's examples are held out
        ]
        return by_turns(turns, start)

    def adapt(self, support: Support) -> Generator[Adapted, None, None]:
        """Yields after every step; the similarity of each group is noted from the first step on."""
        candidates = {
            name: partial(self._adapted, expert)
            for name, expert in zip((*self.groups, ALL), self._experts(), strict=True)
        }
        of_all, similarities = candidates[ALL], self.similarities(support)
        yield from used(self.use, candidates, of_all, similarities, self.temperature, support)

    def similarities(self, support: Support) -> list[float]:
        """Of each candidate to the support set, that of all groups last."""
        ordered, n_way, found = canonical(support), support.objective.n_outputs, []
        for expert, own in zip(self._experts(), self.classes, strict=True):
            network = self._network(expert)
            with torch.no_grad():
                features = network.features(self._full(expert.weights()), ordered.inputs)
                logits = network.head(features)[:, own].float()
            targets = ordered.targets
            found.append(measured(self.similarity, features.float(), logits, targets, n_way, self.components))
        return found

    def _adapted(self, expert: _Expert, support: Support) -> Iterator[Adapted]:
        network = for_task(self._network(expert), support)
        factors = {n: w for n, w in expert.weights().items() if not n.startswith("head.")}
        start = factors | weights_of(network, "head.")
        loss = support_loss(lambda moving, inputs: network.outputs(self._full(moving), inputs), support, None)
        for changed in descended(loss, start, rule_of(self.tuning), support):
            yield Adapted(partial(self._predictor, network, changed), changed)

    def _training(self, expert: _Expert, pool: Pool, prefix: str, start: int) -> Iterator[dict[str, float]]:
        network = self._network(expert)

        def batch_loss(objective: Objective, batch: Examples) -> dict[str, Tensor]:
            outputs = network.outputs(self._full(expert.weights()), batch.inputs)
            return scores(objective, outputs, batch.targets)

        steps = supervised(
            batch_loss,
            pool,
            expert.optimizer,
            batch_size=self.tuning["batch_size"],
            seed=self.seed,
            device=expert.head.weight.device,
            start=start,
        )
        return ({prefix + name: value for name, value in metrics.items()} for metrics in steps)

    def _experts(self) -> list[_Expert]:
        return [cast("_Expert", expert) for expert in self.experts]

    def _network(self, expert: _Expert) -> Network:
        """The encoder without an update, under the expert's head."""
        return Network(self.encoder, expert.head)

    def _frozen(self) -> Weights:
        return constants(self.encoder, self.names, "encoder.")

    def _full(self, moving: Mapping[str, Tensor]) -> Weights:
        """Of factors and head, the weights that a network reads."""
        head = {name: w for name, w in moving.items() if name.startswith("head.")}
        return merged(self._frozen(), moving, self.alpha / self.rank) | head

    def _predictor(self, network: Network, moving: Weights) -> Predictor:
        return Predictor(network, self._full(moving))


@final
class _Expert(nn.Module):
    """Factors of an update with a head over the source's classes."""

    def __init__(
        self,
        factors: Mapping[str, Tensor],
        feature_dim: int,
        n_outputs: int,
        optimizer: OptimizerFactory,
        share: float,
    ) -> None:
        super().__init__()
        self.factors = nn.ParameterDict({name.replace(".", "/"): f.clone() for name, f in factors.items()})
        self.head = linear_head(feature_dim, n_outputs)
        self.optimizer = optimizer(self.parameters(), share=share)

    def weights(self) -> Weights:
        """Factors by their names in a network, `encoder.NAME.lora_A`, and the head's weights."""
        factors: Weights = {name.replace("/", "."): f for name, f in self.factors.items()}
        return factors | {f"head.{name}": w for name, w in self.head.named_parameters()}
