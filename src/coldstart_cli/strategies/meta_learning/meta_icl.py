"""MetaICL: a language model is trained on source tasks to learn from demonstrations.

Min, Lewis, Zettlemoyer and Hajishirzi 2022, arXiv:2110.15943, section 3: a step reads a task's demonstrations
before a question and raises the likelihood of its answer; on a new task nothing is trained. Channel MetaICL
(section 3.3) is score=channel. Departures: low-rank updates are trained (Hu et al. 2021, arXiv:2106.09685)
where the paper trains all weights, and loss=labels compares the labels of a task, which is what answers,
where the paper raises the likelihood of the right one alone (loss=right).
"""

from __future__ import annotations

from collections.abc import Generator, Iterator, Mapping
from functools import partial
from typing import Annotated, Literal, Unpack

from annotated_types import Ge, Gt
from torch import Tensor, nn

from coldstart_cli.core.strategy import Adapted, Strategy
from coldstart_cli.core.tasks import Examples, Objective, Support, TaskSource
from coldstart_cli.models.language.causal_lm import CausalLM
from coldstart_cli.models.language.label_likelihood import check_labels, label_scores, prefix, rows
from coldstart_cli.models.network import Encoder, tree_of
from coldstart_cli.models.updates.low_rank import check_rank, chosen, low_rank, scale_of
from coldstart_cli.models.updates.low_rank_layers import place, placed, with_low_rank_layers
from coldstart_cli.strategies.building_blocks.in_context import (
    Asked,
    InContextPredictor,
    ablations_of_demonstrations,
    apart,
    check_fits,
    in_order,
    lack_of_prompt,
    language_model,
    refusal_of_prompts,
    with_names,
)
from coldstart_cli.tracing import recorder
from coldstart_cli.training.meta_batch import Each
from coldstart_cli.training.optimizers import OptimizerFactory
from coldstart_cli.training.outer_loops import episodic


class MetaICL(Strategy):
    """Learns low-rank updates of a language model, with which it reads demonstrations better.

    Args:
        encoder, optimizer, seed: from the run; the encoder is a causal language model.
        meta_batch_size: tasks in one outer step.
        n_query: questions of each class in a training task; those of the data set that are more are not read.
        rank: of the updates, at most the smaller side of every matrix.
        alpha: updates are scaled by alpha / rank.
        targets: which linear layers are updated, by a part of their names; None for all but the last layer.
        loss: `labels`, cross-entropy among the labels of the task; `right`, minus the score of the right one.
        asked: see `Asked`; calibration is of new tasks alone.

    Raises:
        ValueError: where the model has no language head, the rank is above the smaller side of a matrix, or a
            target names none.
    """

    needs_classes = True
    needs_model = "language"
    reads_names = True
    starts_from_support = True
    replayable = False  # prompts differ in their length

    def __init__(
        self,
        encoder: Encoder,
        optimizer: OptimizerFactory,
        seed: int,
        *,
        meta_batch_size: Annotated[int, Ge(1)],
        n_query: Annotated[int, Ge(1)],
        rank: Annotated[int, Ge(1)],
        alpha: Annotated[float, Gt(0)],
        targets: list[str] | None,
        loss: Literal["labels", "right"],
        **asked: Unpack[Asked],
    ) -> None:
        super().__init__()
        self.lm, self.asked = language_model(encoder), asked
        self.needs_unlabelled = asked["calibration"] == "unlabelled"
        self.lm.freeze()
        weights = chosen(with_low_rank_layers(self.lm, self.lm.decoder_name), targets)
        check_rank(rank, weights)
        self.meta_batch_size, self.n_query = meta_batch_size, n_query
        self.rank, self.alpha, self.targets, self.loss = rank, alpha, targets, loss
        self.scale = scale_of(alpha, rank, rank_stabilised=False)
        # In float32 whatever the model's type: steps are smaller than three digits show.
        factors = low_rank({name: w.float() for name, w in weights.items()}, rank, seed)
        self.factors = nn.ParameterDict({name.replace(".", "/"): f for name, f in factors.items()})
        self.optimizer = optimizer(self.parameters())

    @property
    def transductive(self) -> bool:
        return self.asked["calibration"] == "batch"

    def refusal(self, tasks: TaskSource) -> str | None:
        return super().refusal(tasks) or refusal_of_prompts(self.lm, tasks, None)

    def refusal_of(self, support: Support) -> str | None:
        return lack_of_prompt(self.lm, support, None)

    def fit(self, source: TaskSource, start: int = 0) -> Iterator[dict[str, float]]:
        return episodic(
            self._task_loss,
            dict(self.factors.items()),
            source,
            self.optimizer,
            meta_batch_size=self.meta_batch_size,
            vectorize=False,
            start=start,
            prepare=partial(with_names, n_query=self.n_query, order_seed=self.asked["order_seed"]),
        )

    def adapt(self, support: Support) -> Generator[Adapted, None, None]:
        """Yields once: there is no step to take."""
        check_fits(self.lm, support, check_labels(support.names), None)
        assert support.names is not None
        shown = in_order(support, self.asked["order_seed"])
        trained = tree_of(self.lm)
        assert isinstance(trained, CausalLM)
        place(trained, {name.replace("/", "."): f.detach() for name, f in self.factors.items()}, self.scale)
        made = InContextPredictor(trained, shown, support.names, self.asked, None)
        made.prepare(support.unlabelled)
        yield Adapted(lambda: made, {"demonstrations": made.tokens})

    def ablations(self, support: Support, other: Support) -> Mapping[str, Iterator[Adapted]]:
        """See `ablations_of_demonstrations`."""
        return ablations_of_demonstrations(self.adapt, support, other)

    def _task_loss(
        self,
        each: Each,
        weights: Mapping[str, Tensor],
        objective: Objective,
        support: Examples,
        query: Examples,
    ) -> dict[str, Tensor]:
        recorder.refuse("prompts differ in their length")
        texts, called = apart(support.inputs)
        names = check_labels(called)
        answers = [names[label] for label in support.targets.tolist()]
        factors = {name.replace("/", "."): w for name, w in weights.items()}
        with placed(self.lm, factors, self.scale):
            tokens = prefix(self.lm, rows(texts), answers, self.asked["score"])
            past = self.lm.keys_and_values(self.lm.embedded(tokens))
            scores = label_scores(self.lm, past, rows(query.inputs), names, self.asked["score"])
        right = scores.gather(1, query.targets.unsqueeze(1))
        loss = objective.loss(scores, query.targets) if self.loss == "labels" else -right.mean()
        return {"loss": loss, **objective.metrics(scores, query.targets)}
