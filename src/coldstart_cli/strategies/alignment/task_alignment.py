"""Task alignment: a model learns on source tasks what resemblance, names and unlabelled examples are worth.

Three models. The source model, a classifier of all source classes, is frozen after its training and remembers
where they lie and what they are called. The alignment model (`models/alignment.py`) says where a new task's
classes should lie, and learns from what that would have gained on the queries of source tasks. The target
model starts there and is trained on the new task's labels, names and unlabelled examples.

Our own combination. Centred features of length 1 are those of SimpleShot, Wang et al. 2019, arXiv:1911.04623;
moving few examples' mean towards similar source classes follows Yang, Liu and Xu 2021, arXiv:2101.06395; soft
labels of a classifier on unlabelled examples are those of pseudo-labelling, Lee 2013.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Generator, Iterator, Mapping
from dataclasses import replace
from functools import partial
from typing import Annotated, Unpack

import torch
from annotated_types import Ge, Gt, Lt
from torch import Tensor, nn
from torch.func import functional_call
from torch.nn import functional as F

from coldstart_cli.core.objectives import one_hot
from coldstart_cli.core.strategy import Adapted, Strategy
from coldstart_cli.core.tasks import Examples, Inputs, Objective, Support, TaskSource, joined, n_examples
from coldstart_cli.models.alignment import AlignmentModel, Evidence, Seen, Steered
from coldstart_cli.models.network import Encoder, Network, Predictor, linear_head
from coldstart_cli.strategies.alignment.source_knowledge import SourceKnowledge
from coldstart_cli.strategies.alignment.target_model import TargetModel, blank_network
from coldstart_cli.strategies.building_blocks.prototypes import prototypes
from coldstart_cli.strategies.building_blocks.source_classifier import FineTuning, fit_classifier, rule_of
from coldstart_cli.training.meta_batch import Each
from coldstart_cli.training.optimizers import OptimizerFactory
from coldstart_cli.training.outer_loops import episodic, in_turn

Steer = Callable[[AlignmentModel, Seen, Collection[Evidence]], Steered]
"""How the alignment model is asked: plainly, or otherwise in an ablation."""


class TaskAlignment(Strategy):
    """Trains the source model, freezes it, then learns the alignment model on source tasks.

    A training task's class is hidden from what the source knows (where labels are shared, it is known without
    the task's own examples), and half of its queries serve as unlabelled examples, in class shares drawn at
    random. `fit` logs `gain` and `gain of X`: by how many nats the other half's loss falls through all
    evidence, and rises without X. On a new task gradient steps then lower, over the whole target model,
    CE(labels) + CE(names) + unlabelled_weight * CE(unlabelled, their soft classes) + weight * distance, where
    distance = mean_c (1 - cos(u_c, mean feature of the labelled and unlabelled examples of c)), soft classes
    and points u as they were before the first step. It notes `distance`, `worth of X`, and the attention that
    each group of source classes receives, where the data have groups.

    Args:
        encoder, optimizer, n_source_outputs, source_groups, n_steps, vectorize, seed: from the run.
        source_share: of the outer steps, for the source model; over a frozen encoder it needs none.
        meta_batch_size: tasks in one outer step of the alignment model.
        evidence: what may steer the target model.
        most: labelled examples that a piece of evidence may count as.
        unlabelled_weight: of the loss on unlabelled examples.
        weight: of the distance.
        tuning: see `FineTuning`; the outer steps it names are the source model's, and each step of
            adaptation is on the whole support set.
    """

    needs_classes = True
    needs_labels = False
    starts_from_support = True
    lowers_distance_by, replayable = "weight", False

    def __init__(
        self,
        encoder: Encoder,
        optimizer: OptimizerFactory,
        n_source_outputs: int,
        source_groups: tuple[str, ...],
        n_steps: int,
        vectorize: bool,
        seed: int,
        *,
        source_share: Annotated[float, Gt(0), Lt(1)],
        meta_batch_size: Annotated[int, Ge(1)],
        evidence: list[Evidence],
        most: Annotated[float, Gt(0)],
        unlabelled_weight: Annotated[float, Ge(0)],
        weight: Annotated[float, Ge(0)],
        **tuning: Unpack[FineTuning],
    ) -> None:
        super().__init__()
        self.network = Network(encoder, linear_head(encoder.feature_dim, n_source_outputs))
        self.alignment = AlignmentModel(most)
        self.memory = SourceKnowledge(n_source_outputs, encoder.feature_dim)
        self.source_groups, self.n_steps, self.vectorize, self.seed = source_groups, n_steps, vectorize, seed
        self.source_share, self.meta_batch_size = source_share, meta_batch_size
        self.reads_names = "names" in evidence
        self.evidence, self.most, self.unlabelled_weight = tuple(evidence), most, unlabelled_weight
        self.weight, self.tuning = weight, tuning
        # At least one: without it the source model knows no classes.
        learning = any(p.requires_grad for p in encoder.parameters())
        self.preparing_steps = max(1, round(source_share * n_steps)) if learning else 0
        self.source_optimizer = optimizer(self.network.parameters(), share=source_share)
        self.optimizer = optimizer(self.alignment.parameters(), share=1 - source_share)

    def fit(self, source: TaskSource, start: int = 0) -> Iterator[dict[str, float]]:
        phases = [
            (self.preparing_steps, partial(self._fit_source, source)),
            (self.n_steps, partial(self._fit_alignment, source)),
        ]
        return in_turn(phases, start)

    def _fit_source(self, source: TaskSource, start: int) -> Iterator[dict[str, float]]:
        steps = fit_classifier(
            self.network,
            source,
            self.source_optimizer,
            batch_size=self.tuning["batch_size"],
            seed=self.seed,
            start=start,
        )
        for metrics in steps:
            yield {f"source_{name}": value for name, value in metrics.items()}

    def _fit_alignment(self, source: TaskSource, start: int) -> Iterator[dict[str, float]]:
        pool = source.pool("train")
        # The frozen source model reads as it does on new tasks, whatever mode the strategy is in.
        encoder = Predictor(self.network.encoder, {})
        if start == 0:  # a resumed run has it from its checkpoint
            self.memory.fill(encoder, pool)
        yield from episodic(
            partial(self._task_loss, encoder, shared=source.shares_labels, named=pool.read_names is not None),
            dict(self.alignment.named_parameters()),
            source,
            self.optimizer,
            meta_batch_size=self.meta_batch_size,
            vectorize=self.vectorize,
            start=start,
        )

    def _task_loss(
        self,
        encoder: nn.Module,
        each: Each,
        weights: Mapping[str, Tensor],
        objective: Objective,
        support: Examples,
        query: Examples,
        *,
        shared: bool,
        named: bool,
    ) -> dict[str, Tensor]:
        """The loss on half of the query set where the alignment model puts the classes."""
        score = partial(self._scores, encoder, objective, shared=shared, named=named)
        scores: dict[str, Tensor] = each(score)(
            weights, support.inputs, support.targets, query.inputs, query.targets
        )
        return scores

    def _scores(
        self,
        encoder: nn.Module,
        objective: Objective,
        weights: Mapping[str, Tensor],
        support: Inputs,
        support_targets: Tensor,
        query: Inputs,
        query_targets: Tensor,
        *,
        shared: bool,
        named: bool,
    ) -> dict[str, Tensor]:
        n_way = objective.n_outputs
        with torch.no_grad():
            features = self.memory.centred(encoder(joined(support, query)))
            n = n_examples(support)
            queries = features[n:]
            is_free = torch.arange(len(queries), device=queries.device) % 2 == 0
            # Shares of the classes as good as random, or the model would learn that all are equally frequent.
            # The digits of their features give them: unlike a draw, that can be replayed.
            digits = 1e3 * prototypes(features, torch.cat([support_targets, query_targets]), n_way).sum(-1)
            share = digits.frac().abs()[query_targets]
            targets = torch.cat([support_targets, query_targets])
            hidden = self.memory.without(features, targets, n_way, shared=shared)
            seen = Seen(
                means=prototypes(features[:n], support_targets, n_way),
                counts=one_hot(support_targets, n_way).sum(0),
                known=hidden.known,
                open=hidden.open,
                names=self.memory.names[hidden.own] if named else None,
                known_names=self.memory.names,
                unlabelled=queries,
                weights=share * is_free,
            )

        def judged(weights: Mapping[str, Tensor], evidence: Collection[Evidence]) -> tuple[Tensor, Tensor]:
            said: Steered = functional_call(self.alignment, dict(weights), (seen, evidence))
            outputs = said.scale * queries @ said.points.T
            losses = F.cross_entropy(outputs, query_targets, reduction="none") * ~is_free
            return losses.sum() / (~is_free).sum().clamp(min=1), outputs

        loss, outputs = judged(weights, self.evidence)
        fixed, found = {name: w.detach() for name, w in weights.items()}, loss.detach()
        gains = {"gain": judged(fixed, ())[0] - found}
        for name in self.evidence:
            others = [other for other in self.evidence if other != name]
            gains[f"gain of {name}"] = judged(fixed, others)[0] - found
        return {"loss": loss, **objective.metrics(outputs.detach(), query_targets), **gains}

    def adapt(self, support: Support) -> Generator[Adapted, None, None]:
        return self._adapted(support, _steer)

    def ablations(self, support: Support, other: Support) -> dict[str, Iterator[Adapted]]:
        """Each piece of evidence `off`, and all of them: `alignment off`; every class moved to where another
        one's should be; and attention to all source classes alike.
        """
        found: dict[str, Steer] = {"alignment off": partial(_steer_by, others=())}
        if "source" in self.evidence or "names" in self.evidence:
            found["points of another class"] = _steer_by_others
        if "source" in self.evidence:
            found["constant attention"] = _steer_without_attention
        for name in self.evidence:
            others = tuple(other for other in self.evidence if other != name)
            found[f"{name} off"] = partial(_steer_by, others=others)
        return {name: self._adapted(support, steer) for name, steer in found.items()}

    def _adapted(self, support: Support, steer: Steer) -> Generator[Adapted, None, None]:
        network = blank_network(self.network.encoder, self.memory, support.objective.n_outputs)
        with torch.no_grad():
            said = steer(self.alignment, self._seen(network.encoder, support), self.evidence)
        model = TargetModel(
            network=network,
            memory=self.memory,
            support=support,
            said=said,
            names=support.names if "names" in said.worth else None,
            unlabelled_weight=self.unlabelled_weight,
            weight=self.weight,
        )
        for weights, distance in model.trained(rule_of(self.tuning)):
            notes = {"distance": distance, **self._notes(said)}
            yield Adapted(partial(Predictor, network, weights), weights, notes)

    def _seen(self, centred: Encoder, support: Support) -> Seen:
        n_way, memory = support.objective.n_outputs, self.memory
        names = None
        if support.names is not None and bool(memory.names.any()):
            names = memory.centred_names(self.network.encoder(support.names))
        return Seen(
            means=prototypes(centred(support.inputs), support.targets, n_way),
            counts=one_hot(support.targets, n_way).sum(0),
            known=memory.known,
            open=memory.open_to(n_way, support.source_classes),
            names=names,
            known_names=memory.names,
            unlabelled=None if support.unlabelled is None else centred(support.unlabelled),
            weights=None,
        )

    def _notes(self, said: Steered) -> dict[str, float]:
        """Means over the task's classes."""
        notes = {f"worth of {name}": float(worth.mean()) for name, worth in said.worth.items()}
        attention = said.attention.mean(0)
        for group in sorted(set(self.source_groups)):
            members = [name == group for name in self.source_groups]
            notes[f"attention to {group}"] = float(attention[members].sum())
        return notes


def _steer(model: AlignmentModel, seen: Seen, evidence: Collection[Evidence]) -> Steered:
    said: Steered = model(seen, evidence)
    return said


def _steer_by(
    model: AlignmentModel, seen: Seen, evidence: Collection[Evidence], *, others: Collection[Evidence]
) -> Steered:
    """By `others` in place of the evidence."""
    return _steer(model, seen, others)


def _steer_by_others(model: AlignmentModel, seen: Seen, evidence: Collection[Evidence]) -> Steered:
    """Every class is moved to where the next one should be."""
    names = None if seen.names is None else seen.names.roll(1, 0)
    said: Steered = model(replace(seen, names=names), evidence, lambda attention: attention.roll(1, 0))
    return said


def _steer_without_attention(model: AlignmentModel, seen: Seen, evidence: Collection[Evidence]) -> Steered:
    """Every class attends to all source classes alike."""
    said: Steered = model(
        seen, evidence, lambda attention: torch.full_like(attention, 1 / attention.shape[1])
    )
    return said
