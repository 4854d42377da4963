"""Transfer from those parts of the source that resemble the new task.

A network for all source classes and one for each source group (alphabet, script, domain); a similarity
(building_blocks/similarity.py) between each group and the support set says which to fine-tune, or with what
weight the predictions of all are averaged. `strategy_notes.similarity_check` reports whether it foretold
the gain.

- LEEP: Nguyen, Hassner, Seeger and Archambeau 2020, arXiv:2002.12462.
- LogME: You, Liu, Wang and Long 2021, arXiv:2102.11005.
- Task2Vec: Achille et al. 2019, arXiv:1902.03545.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Generator, Iterator, Sequence
from functools import partial
from itertools import islice
from typing import Annotated, Literal, Unpack, cast, final

import torch
from annotated_types import Ge, Gt
from torch import Tensor, nn
from torch.nn import functional as F

from coldstart_cli.core.tasks import Adapted, Examples, Inputs, Objective, Pool, Strategy, Support, TaskSource
from coldstart_cli.models.network import Encoder
from coldstart_cli.strategies.building_blocks.scores import scores
from coldstart_cli.strategies.building_blocks.similarity import (
    cycled,
    leep,
    logme,
    sampled_labels,
    task2vec,
    task_embedding,
)
from coldstart_cli.strategies.building_blocks.source_classifier import FineTuning, rule_of
from coldstart_cli.strategies.building_blocks.source_groups import by_turns, group_pools
from coldstart_cli.strategies.transfer.fine_tune import FineTune
from coldstart_cli.training.inner_loop import Weights, canonical, descend
from coldstart_cli.training.optimizers import OptimizerFactory
from coldstart_cli.training.outer_loops import supervised
from coldstart_cli.training.randomness import step_seed


class SourceSelection(Strategy):
    """Chooses, or weights, what was learned from each source group by its similarity to the new task.

    Training takes turns: step s trains network s mod (1 + n_groups), starting with the one of all groups, so
    steps and examples are those of a single network. Similarities are computed on the network of all
    groups: LEEP on its probabilities of the group's classes, LogME on its logits of them (the paper compares
    whole networks by their features; ours share one), Task2Vec with it as the probe.

    The first item knows nothing of the support set: with `choose` the network of all groups, with `weight`
    all groups alike, under a new head.

    Args:
        encoder, optimizer, n_source_outputs, source_groups, n_steps, seed: from the run.
        similarity: the measure.
        use: fine-tune the group most alike, or weight all by softmax(similarity / temperature).
        temperature: of the weights, in units of the similarity; `weight` alone.
        trainable: what adaptation changes: all weights, or the head on frozen features.
        probe_draws: examples, each with one label drawn, of a task's embedding; `task2vec` alone.
        probe_steps: gradient steps on the new task's head before it is embedded; `task2vec` alone.
        embed_every: outer steps between two embeddings of the source groups; `task2vec` alone.
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
        similarity: Literal["leep", "logme", "task2vec"],
        use: Literal["weight", "choose"],
        temperature: Annotated[float, Gt(0)],
        trainable: Literal["all", "head"],
        probe_draws: Annotated[int, Ge(1)],
        probe_steps: Annotated[int, Ge(1)],
        embed_every: Annotated[int, Ge(1)],
        **tuning: Unpack[FineTuning],
    ) -> None:
        super().__init__()
        self.groups = tuple(dict.fromkeys(source_groups))
        self.n_steps, self.seed = n_steps, seed
        self.similarity, self.use, self.temperature = similarity, use, temperature
        self.trainable, self.tuning = trainable, tuning
        self.probe_draws, self.probe_steps, self.embed_every = probe_draws, probe_steps, embed_every
        expert = partial(
            FineTune,
            # Each network takes one step in 1 + n_groups, so its schedule has to span as many fewer.
            optimizer=partial(optimizer, share=1 / (1 + len(self.groups))),
            n_source_outputs=n_source_outputs,
            seed=seed,
            source_training=True,
            trainable=trainable,
            support_batch_size=None,
            **tuning,
        )
        # All start from the same weights; they are numbered, as a group's name may be no valid attribute.
        self.experts = nn.ModuleList(expert(copy.deepcopy(encoder)) for _ in self.groups)
        self.pooled = expert(encoder)
        self.classes = [
            torch.tensor([c for c, group in enumerate(source_groups) if group == name])
            for name in self.groups
        ]
        n_filters = sum(len(w) for w in self._filters().values()) if similarity == "task2vec" else 0
        if similarity == "task2vec" and not n_filters:
            raise ValueError("similarity: task2vec needs weights, this encoder is frozen; choose leep")
        self.embeddings: Tensor
        # A buffer: adaptation compares a task with the groups without having their data.
        self.register_buffer("embeddings", torch.zeros(len(self.groups), n_filters))

    def refusal(self, tasks: TaskSource) -> str | None:
        reason = super().refusal(tasks)
        if reason is None and len(self.groups) < 2:
            return (
                f"it chooses among groups of source classes and these data name {len(self.groups)}; "
                "choose dataset=glyphs or omniglot, or strategy=finetune"
            )
        return reason

    def fit(self, source: TaskSource, start: int = 0) -> Iterator[dict[str, float]]:
        """Each network's losses have names of their own: `loss` of all groups, `GROUP_loss` of one."""
        pool = source.pool("train")
        parts = group_pools(pool, self.classes)
        turns = [partial(self._training, self.pooled, pool, "")]
        for name, expert, part in zip(self.groups, self._experts(), parts, strict=True):
            if len(part):  # otherwise all of the group's examples are held out
                turns.append(partial(self._training, expert, part, f"{name}_"))
        for step, metrics in enumerate(by_turns(turns, start), start + 1):
            if self.similarity == "task2vec" and (step % self.embed_every == 0 or step == self.n_steps):
                # At the last step as well, because embeddings belong to the weights that made them.
                self._embed_groups(parts)
            yield metrics

    def adapt(self, support: Support) -> Generator[Adapted, None, None]:
        """Yields after every step; the similarity of each group is noted from the first step on."""
        similarities = self.similarities(support)
        notes = {f"similarity of {g}": s for g, s in zip(self.groups, similarities, strict=True)}
        steps = (
            self._chosen(support, similarities)
            if self.use == "choose"
            else self._mixed(support, similarities)
        )
        for step, adapted in enumerate(steps):
            yield Adapted(adapted.build, adapted.changed, notes if step else {}, adapted.beside)

    def similarities(self, support: Support) -> list[float]:
        """Of each group to the support set, in the order of `groups`."""
        ordered = canonical(support)
        n_way = support.objective.n_outputs
        if self.similarity == "task2vec":
            embedding = self._embedding_of(ordered, support)
            return [task2vec(group, embedding) for group in self.embeddings]
        with torch.no_grad():
            logits = self.pooled.network(ordered.inputs).float()
        if self.similarity == "leep":
            return [leep(logits[:, own].softmax(-1), ordered.targets, n_way) for own in self.classes]
        one_hot = F.one_hot(ordered.targets, n_way)
        return [logme(logits[:, own], one_hot) for own in self.classes]

    def _chosen(self, support: Support, similarities: list[float]) -> Iterator[Adapted]:
        """The network of all groups before a step, then the expert of the group most alike."""
        best = max(range(len(similarities)), key=similarities.__getitem__)
        before = next(self.pooled.adapt(support))
        for step, adapted in enumerate(self._experts()[best].adapt(support)):
            beside = {
                name: partial(_after, expert, support, step)
                for name, expert in zip(self.groups, self._experts(), strict=True)
            }
            # Before a step nothing may be known of the support set, also not which expert it chose.
            shown = adapted if step else before
            yield Adapted(shown.build, shown.changed, {}, beside)

    def _mixed(self, support: Support, similarities: list[float]) -> Iterator[Adapted]:
        """All experts, one step further each time; weighted equally at first, then by similarity."""
        # Generators side by side: each step of the mixture takes one step of every expert.
        trajectories = [expert.adapt(support) for expert in self._experts()]
        weights = (torch.tensor(similarities) / self.temperature).softmax(0).to(support.targets.device)
        for step, together in enumerate(zip(*trajectories, strict=True)):
            shares = weights if step else torch.full_like(weights, 1 / len(weights))
            builds = [adapted.build for adapted in together]
            changed = {
                f"experts.{i}.network.{name}": tensor
                for i, adapted in enumerate(together)
                for name, tensor in adapted.changed.items()
            }
            yield Adapted(
                partial(Mixture, builds, shares),
                {**changed, "weights": shares},
                {},
                dict(zip(self.groups, builds, strict=True)),
            )

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

    def _experts(self) -> list[FineTune]:
        return [cast("FineTune", expert) for expert in self.experts]

    def _filters(self) -> Weights:
        """What a task is embedded by: the probe's weights that make filters."""
        encoder = self.pooled.network.encoder
        return {f"encoder.{n}": w.detach() for n, w in encoder.named_parameters() if w.ndim > 1}

    def _embed_groups(self, parts: Sequence[Pool]) -> None:
        """For a group, the probe's head consists of its own rows for the group's classes."""
        head = self.pooled.network.head
        training = self.pooled.training
        self.pooled.eval()
        for i, (part, own) in enumerate(zip(parts, self.classes, strict=True)):
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


@final
class Mixture(nn.Module):
    """The weighted mean of several classifiers' log-probabilities, (n, ...) -> (n, n_way).

    Args:
        builds: make the classifiers.
        weights: (n_classifiers,), which add up to 1.
    """

    weights: Tensor

    def __init__(self, builds: Sequence[Callable[[], nn.Module]], weights: Tensor) -> None:
        super().__init__()
        self.classifiers = nn.ModuleList(build() for build in builds)
        self.register_buffer("weights", weights)

    def forward(self, inputs: Inputs) -> Tensor:
        each = [classifier(inputs).log_softmax(-1) for classifier in self.classifiers]
        return torch.einsum("g,gnc->nc", self.weights.to(each[0].dtype), torch.stack(each))


def _after(expert: FineTune, support: Support, step: int) -> nn.Module:
    """The expert's predictor after `step` steps, computed on demand."""
    return next(islice(expert.adapt(support), step, None)).module


def _linear(rows: Weights, features: Tensor) -> Tensor:
    return F.linear(features, rows["head.weight"], rows["head.bias"])
