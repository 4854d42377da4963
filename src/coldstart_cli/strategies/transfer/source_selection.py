"""Transfer from those parts of the source that resemble the new task.

A network for all source classes and, started from it, one for each source group (alphabet, script, domain);
a similarity (building_blocks/similarity.py) between each of them and the support set says which to
fine-tune, or with what weight the predictions of all are averaged. `strategy_notes.similarity_check` reports
whether it foretold the gain, beside a ranking that is the same for every task.

- LEEP: Nguyen, Hassner, Seeger and Archambeau 2020, arXiv:2002.12462.
- N-LEEP: Li et al. 2021, arXiv:2011.11200.
- H-score: Bao et al. 2019 (ICIP), as in Ibrahim et al. 2021, arXiv:2110.06893.
- LogME: You, Liu, Wang and Long 2021, arXiv:2102.11005.
- Task2Vec: Achille et al. 2019, arXiv:1902.03545.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Generator, Iterator, Sequence
from functools import partial
from itertools import islice
from typing import Annotated, Literal, Unpack, cast

import torch
from annotated_types import Ge, Gt, Lt
from torch import Tensor, nn
from torch.nn import functional as F

from coldstart_cli.core.strategy import Adapted, Strategy
from coldstart_cli.core.tasks import Examples, Inputs, Objective, Pool, Support, TaskSource
from coldstart_cli.models.network import Encoder, Network
from coldstart_cli.strategies.building_blocks.candidates import (
    ALL,
    Use,
    lack_of_groups,
    measured,
    used,
)
from coldstart_cli.strategies.building_blocks.scores import scores
from coldstart_cli.strategies.building_blocks.similarity import (
    cycled,
    sampled_labels,
    task2vec,
    task_embedding,
)
from coldstart_cli.strategies.building_blocks.source_classifier import FineTuning, rule_of
from coldstart_cli.strategies.building_blocks.source_groups import by_turns, group_pools
from coldstart_cli.strategies.transfer.fine_tune import FineTune
from coldstart_cli.training.inner_loop import Weights, canonical, descend
from coldstart_cli.training.optimizers import OptimizerFactory
from coldstart_cli.training.outer_loops import in_turn, supervised
from coldstart_cli.training.randomness import step_seed


class SourceSelection(Strategy):
    """Chooses, or weights, what was learned from each source group by its similarity to the new task.

    The network of all groups trains first; the groups' networks start from its weights and take turns for
    the rest of the steps, so steps and examples are those of a single network. The network of all groups is a
    candidate like them, `all groups`. As in the papers each candidate's similarity is read from its own
    network: LEEP on its probabilities of its classes, LogME, N-LEEP and H-score on its features; Task2Vec has
    the network of all groups as its probe.

    The first item knows nothing of the support set: with `choose` the network of all groups, with `weight`
    all groups alike, under a new head.

    Args:
        encoder, optimizer, n_source_outputs, source_groups, n_steps, seed: from the run.
        similarity: the measure.
        use: fine-tune the group most alike, or weight all by softmax(similarity / temperature).
        temperature: of the weights, in units of the similarity; `weight` alone.
        pooled_share: share of the steps that train the network of all groups, before the groups' networks
            start from it. None is how runs of before were trained: all networks take turns from the same
            initial weights, the one of all groups is no candidate, and what LEEP and LogME read are its
            logits of a group's classes.
        trainable: what adaptation changes: all weights, or the head on frozen features.
        probe_draws: examples, each with one label drawn, of a task's embedding; `task2vec` alone.
        probe_steps: gradient steps on the new task's head before it is embedded; `task2vec` alone.
        embed_every: outer steps between two embeddings of the source groups; `task2vec` alone.
        components: of the mixture of Gaussians, for each class of the task; `n_leep` alone.
        tuning: see `FineTuning`.
    """

    needs_classes = True
    replayable = False

    def __init__(
        self,
        encoder: Encoder,
        optimizer: OptimizerFactory,
        n_source_outputs: int,
        source_groups: tuple[str, ...],
        n_steps: int,
        seed: int,
        *,
        similarity: Literal["leep", "logme", "task2vec", "n_leep", "h_score"],
        use: Use,
        temperature: Annotated[float, Gt(0)],
        pooled_share: Annotated[float, Gt(0), Lt(1)] | None,
        trainable: Literal["all", "head"],
        probe_draws: Annotated[int, Ge(1)],
        probe_steps: Annotated[int, Ge(1)],
        embed_every: Annotated[int, Ge(1)],
        components: Annotated[int, Ge(1)],
        **tuning: Unpack[FineTuning],
    ) -> None:
        super().__init__()
        self.groups = tuple(dict.fromkeys(source_groups))
        self.n_steps, self.seed = n_steps, seed
        self.similarity, self.use, self.temperature = similarity, use, temperature
        self.pooled_share, self.components = pooled_share, components
        self.trainable, self.tuning = trainable, tuning
        self.probe_draws, self.probe_steps, self.embed_every = probe_draws, probe_steps, embed_every
        shares = self._shares()
        made = partial(
            FineTune,
            n_source_outputs=n_source_outputs,
            seed=seed,
            source_training=True,
            trainable=trainable,
            support_batch_size=None,
            **tuning,
        )
        # All start from the same weights; they are numbered, as a group's name may be no valid attribute.
        for_groups, for_all = (partial(optimizer, share=share) for share in shares)
        self.experts = nn.ModuleList(made(copy.deepcopy(encoder), for_groups) for _ in self.groups)
        self.pooled = made(encoder, for_all)
        self.classes = [
            torch.tensor([c for c, group in enumerate(source_groups) if group == name])
            for name in self.groups
        ]
        self.candidates = self.groups if pooled_share is None else (*self.groups, ALL)
        n_filters = sum(len(w) for w in self._filters().values()) if similarity == "task2vec" else 0
        if similarity == "task2vec" and not n_filters:
            raise ValueError("similarity: task2vec needs weights, this encoder is frozen; choose leep")
        self.embeddings: Tensor
        # A buffer: adaptation compares a task with the groups without having their data.
        self.register_buffer("embeddings", torch.zeros(len(self.candidates), n_filters))

    def refusal(self, tasks: TaskSource) -> str | None:
        return super().refusal(tasks) or lack_of_groups(len(self.groups))

    def fit(self, source: TaskSource, start: int = 0) -> Iterator[dict[str, float]]:
        """Each network's losses have names of their own: `loss` of all groups, `GROUP_loss` of one."""
        pool = source.pool("train")
        parts = group_pools(pool, self.classes)
        of_all = partial(self._training, self.pooled, pool, "")
        turns = [
            partial(self._training, expert, part, f"{name}_")
            for name, expert, part in zip(self.groups, self._experts(), parts, strict=True)
            if len(part)  # otherwise all of the group's examples are held out
        ]
        if self.pooled_share is None:
            steps = by_turns([of_all, *turns], start)
        else:
            steps = in_turn([(self.preparing_steps, of_all), (0, partial(self._from_pooled, turns))], start)
        for step, metrics in enumerate(steps, start + 1):
            if self.similarity == "task2vec" and (step % self.embed_every == 0 or step == self.n_steps):
                # At the last step as well, because embeddings belong to the weights that made them.
                self._embed_candidates(parts if self.pooled_share is None else [*parts, pool])
            yield metrics

    def adapt(self, support: Support) -> Generator[Adapted, None, None]:
        """Yields after every step; the similarity of each group is noted from the first step on."""
        named = {n: c.adapt for n, c in zip(self.candidates, self._candidates(), strict=True)}
        similarities = self.similarities(support)
        yield from used(self.use, named, self.pooled.adapt, similarities, self.temperature, support)

    def similarities(self, support: Support) -> list[float]:
        """Of each candidate to the support set, in the order of `candidates`."""
        ordered = canonical(support)
        n_way = support.objective.n_outputs
        if self.similarity == "task2vec":
            embedding = self._embedding_of(ordered, support)
            return [task2vec(candidate, embedding) for candidate in self.embeddings]
        found = []
        for network, own in self._readings():
            with torch.no_grad():
                features = network.encoder(ordered.inputs)
                logits = network.head(features)[:, own].float()
            # Earlier runs have one network for all groups: only its logits tell the groups apart.
            read = logits if self.pooled_share is None else features.float()
            found.append(measured(self.similarity, read, logits, ordered.targets, n_way, self.components))
        return found

    def _training(self, expert: FineTune, pool: Pool, prefix: str, start: int) -> Iterator[dict[str, float]]:
        network = expert.network

        def batch_loss(objective: Objective, batch: Examples) -> dict[str, Tensor]:
            return scores(objective, network(batch.inputs), batch.targets)

        steps = supervised(
            batch_loss,
            pool,
            expert.optimizer,
            batch_size=self.tuning["batch_size"],
            seed=self.seed,
            device=network.head.weight.device,
            start=start,
        )
        return ({prefix + name: value for name, value in metrics.items()} for metrics in steps)

    def _from_pooled(
        self, turns: Sequence[Callable[[int], Iterator[dict[str, float]]]], start: int
    ) -> Iterator[dict[str, float]]:
        """The groups' networks by turns; before the first step they get the weights of the one of all."""
        if start == 0:
            for expert in self._experts():
                expert.network.load_state_dict(self.pooled.network.state_dict())
        return by_turns(turns, start)

    def _shares(self) -> tuple[float, float]:
        """Of the run's steps: those of one group's network, and of the one of all groups."""
        if self.pooled_share is None:
            return (1 / (1 + len(self.groups)),) * 2
        # Whatever the share rounds to, both phases get at least one step.
        self.preparing_steps = min(max(1, round(self.pooled_share * self.n_steps)), self.n_steps - 1)
        share = self.preparing_steps / self.n_steps
        return (1 - share) / max(1, len(self.groups)), share

    def _candidates(self) -> list[FineTune]:
        """In the order of `candidates`."""
        return self._experts() if self.pooled_share is None else [*self._experts(), self.pooled]

    def _readings(self) -> list[tuple[Network, Tensor]]:
        """Of each candidate, the network that its similarity is read from, and its source classes."""
        if self.pooled_share is None:
            return [(self.pooled.network, own) for own in self.classes]
        candidates = zip(self._candidates(), self._candidate_classes(), strict=True)
        return [(candidate.network, own) for candidate, own in candidates]

    def _candidate_classes(self) -> list[Tensor]:
        """The source classes of each candidate."""
        everything = torch.arange(len(self.pooled.network.head.weight))
        return self.classes if self.pooled_share is None else [*self.classes, everything]

    def _experts(self) -> list[FineTune]:
        return [cast("FineTune", expert) for expert in self.experts]

    def _filters(self) -> Weights:
        """What a task is embedded by: the probe's weights that make filters."""
        encoder = self.pooled.network.encoder
        return {f"encoder.{n}": w.detach() for n, w in encoder.named_parameters() if w.ndim > 1}

    def _embed_candidates(self, parts: Sequence[Pool]) -> None:
        """For a group, the probe's head consists of its own rows for the group's classes."""
        head = self.pooled.network.head
        training = self.pooled.training
        self.pooled.eval()
        for i, (part, own) in enumerate(zip(parts, self._candidate_classes(), strict=True)):
            if len(part):
                # A function of seed and group: the embeddings do not depend on the step, nor on other
                # groups.
                generator = torch.Generator().manual_seed(step_seed(self.seed, i))
                drawn = torch.randint(len(part), (self.probe_draws,), generator=generator)
                inputs = part.examples(drawn).to(head.weight.device).inputs
                rows = {"head.weight": head.weight.detach()[own], "head.bias": head.bias.detach()[own]}
                self.embeddings[i] = self._embedding(inputs, rows, generator)
        self.pooled.train(training)

    def _embedding_of(self, ordered: Examples, support: Support) -> Tensor:
        """For the new task, the probe's head is trained on it from zero, on fixed features."""
        network, objective = self.pooled.network, support.objective
        with torch.no_grad():
            features = network.encoder(ordered.inputs)
        head = network.head.weight
        start = {
            "head.weight": head.new_zeros(objective.n_outputs, head.shape[1]).requires_grad_(),
            "head.bias": head.new_zeros(objective.n_outputs).requires_grad_(),
        }
        steps = descend(
            lambda rows: objective.loss(_linear(rows, features), ordered.targets),
            start,
            rule_of(self.tuning),
            second_order=False,
        )
        rows = {n: w.detach() for n, w in next(islice(steps, self.probe_steps, None)).items()}
        generator = torch.Generator().manual_seed(step_seed(support.seed, 0))
        # As many draws as for a group, so that the two embeddings are equally noisy.
        return self._embedding(cycled(ordered, self.probe_draws).inputs, rows, generator)

    def _embedding(self, inputs: Inputs, rows: Weights, generator: torch.Generator) -> Tensor:
        network = self.pooled.network

        def log_probabilities(weights: Weights, inputs: Inputs) -> Tensor:
            return _linear(rows, network.features(weights, inputs)).log_softmax(-1)

        with torch.no_grad():
            labels = sampled_labels(log_probabilities({}, inputs), generator)
        return task_embedding(log_probabilities, self._filters(), inputs, labels)


def _linear(rows: Weights, features: Tensor) -> Tensor:
    return F.linear(features, rows["head.weight"], rows["head.bias"])
