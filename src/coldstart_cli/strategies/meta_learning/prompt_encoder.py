"""A task encoder for a frozen language model: the support set becomes a soft prompt in one pass.

This project's task vector (`task_encoder`) in the place where a language model is told a task. What is
generated are soft prompts (Lester et al. 2021, arXiv:2104.08691), as hypernetworks generate them from texts
or demonstrations (HyperPrompt, He et al. 2022, arXiv:2203.00759; HINT, Ivison et al. 2022, arXiv:2212.10315),
here from statistics of labelled features.
"""

from __future__ import annotations

from collections.abc import Generator, Iterator, Mapping, Sequence
from functools import partial
from itertools import islice
from typing import Annotated, Unpack, final

import torch
from annotated_types import Ge, Len
from torch import Tensor, nn
from torch.nn import functional as F

from coldstart_cli.core.strategy import Adapted, Strategy
from coldstart_cli.core.tasks import Examples, Objective, Support, TaskSource
from coldstart_cli.models.language.causal_lm import CausalLM
from coldstart_cli.models.language.label_likelihood import check_labels, label_scores, rows
from coldstart_cli.models.mlp import perceptron, zeroed
from coldstart_cli.models.network import Encoder
from coldstart_cli.strategies.building_blocks.answers import (
    AnswerTuning,
    Way,
    ablations_of_words,
    answers,
    lack_of_length,
    nothing_placed,
    refusal_of_length,
    soft_prompt,
)
from coldstart_cli.strategies.building_blocks.in_context import apart, language_model, with_names
from coldstart_cli.strategies.building_blocks.set_statistics import logs, set_statistics
from coldstart_cli.tracing import recorder
from coldstart_cli.training.meta_batch import Each
from coldstart_cli.training.optimizers import OptimizerFactory
from coldstart_cli.training.outer_loops import episodic


class PromptEncoder(Strategy):
    """Learns on source tasks to turn a support set into a soft prompt; the language model stays frozen.

    The prompt has a demonstration for each class: `n_vectors` generated vectors in the place of a text, then
    the class's name. They are trained by the likelihood of the queries' names. The generated prompt may be
    fitted further to the support set by gradient steps, through which training does not differentiate.

    Args:
        encoder, optimizer: from the run; the encoder is a causal language model.
        task_dim: width of the task vector.
        hidden: units of the hidden layers of set encoder and decoder.
        n_vectors: generated for each class.
        n_query: questions of each class in a training task; those of the data set that are more are not read.
        meta_batch_size: tasks in one outer step.
        inner_steps: most steps from the generated prompt on a new task; 0 for none.
        tuning: see `AnswerTuning`; lr and support_batch_size are of these steps.

    Raises:
        ValueError: where the model has no language head.
    """

    needs_classes = True
    needs_model = "language"
    reads_names = True
    starts_from_support = True
    replayable = False  # texts differ in their number of tokens

    def __init__(
        self,
        encoder: Encoder,
        optimizer: OptimizerFactory,
        *,
        task_dim: Annotated[int, Ge(1)],
        hidden: Annotated[list[Annotated[int, Ge(1)]], Len(1)],
        n_vectors: Annotated[int, Ge(1)],
        n_query: Annotated[int, Ge(1)],
        meta_batch_size: Annotated[int, Ge(1)],
        inner_steps: Annotated[int, Ge(0)],
        **tuning: Unpack[AnswerTuning],
    ) -> None:
        super().__init__()
        self.lm = language_model(encoder)
        self.lm.freeze()
        self.task_dim, self.hidden, self.n_vectors, self.n_query = task_dim, hidden, n_vectors, n_query
        self.meta_batch_size, self.inner_steps, self.tuning = meta_batch_size, inner_steps, tuning
        self.generator = PromptGenerator(self.lm, task_dim, hidden, n_vectors)
        self.optimizer = optimizer(self.parameters())

    def refusal(self, tasks: TaskSource) -> str | None:
        return super().refusal(tasks) or refusal_of_length(self.lm, tasks, self._n_tokens)

    def refusal_of(self, support: Support) -> str | None:
        return lack_of_length(self.lm, support, self._n_tokens)

    def fit(self, source: TaskSource, start: int = 0) -> Iterator[dict[str, float]]:
        return episodic(
            self._task_loss,
            dict(self.generator.named_parameters()),
            source,
            self.optimizer,
            meta_batch_size=self.meta_batch_size,
            vectorize=False,
            start=start,
            prepare=partial(with_names, n_query=self.n_query, order_seed=None),
        )

    def adapt(self, support: Support) -> Generator[Adapted, None, None]:
        """Yields the generated prompt, then after each of `inner_steps`, `changed` being the prompt."""
        with torch.no_grad():
            vectors = self._generated(support, support)
        return self._told(support, vectors)

    def ablations(self, support: Support, other: Support) -> dict[str, Iterator[Adapted]]:
        """`swap`, the vectors that another task's set gives, `off`, those of no task, and names."""
        with torch.no_grad():
            theirs, none = self._generated(support, other), self._generated(support, None)
        vectors = {"swap": self._told(support, theirs), "off": self._told(support, none)}
        return vectors | ablations_of_words(self.adapt, support, other)

    def _told(self, support: Support, vectors: Tensor) -> Generator[Adapted, None, None]:
        lm = self.lm
        with torch.no_grad():
            before = lm.keys_and_values(lm.embedded(lm.get_buffer("begins")))
            prompt = self._prompt(vectors, check_labels(support.names))
        way = Way(lm, partial(soft_prompt, before), nothing_placed, in_layers=False)
        start = {"prompt": prompt.to(vectors.dtype)}
        return (item for item in islice(answers(way, support, start, self.tuning), self.inner_steps + 1))

    def _generated(self, support: Support, told: Support | None) -> Tensor:
        """(n_way, n_vectors, width) by what `told` says; of no task where it says nothing."""
        n_way = support.objective.n_outputs
        if told is None or not len(told) or told.objective.n_outputs != n_way:
            return self.generator.of_no_task(n_way)
        assert told.names is not None
        found: Tensor = self.generator(self.lm(told.inputs), told.targets, self.lm(told.names))
        return found

    def _prompt(self, vectors: Tensor, labels: list[Tensor]) -> Tensor:
        """(P, width) of the model's type: the header, then of each class vectors, between, name and after."""
        lm = self.lm
        between, after = lm.piece("between"), lm.piece("after")
        parts = [lm.embedded(lm.piece("header"))]
        for own, name in zip(vectors.to(lm.dtype), labels, strict=True):
            parts += [own, lm.embedded(torch.cat([between, name, after]))]
        return torch.cat(parts)

    def _n_tokens(self, labels: Sequence[Tensor]) -> int:
        """P of `_prompt`."""
        around = sum(len(self.lm.piece(name)) for name in ("between", "after"))
        return len(self.lm.piece("header")) + sum(self.n_vectors + around + len(name) for name in labels)

    def _task_loss(
        self,
        each: Each,
        weights: Mapping[str, Tensor],
        objective: Objective,
        support: Examples,
        query: Examples,
    ) -> dict[str, Tensor]:
        """The generator is called directly, not with `weights`, which are its own."""
        recorder.refuse("prompts differ in their length")
        texts, names = apart(support.inputs)
        labels, lm = check_labels(names), self.lm
        with torch.no_grad():
            features, of_names = lm(texts), lm(names)
        prompt = self._prompt(self.generator(features, support.targets, of_names), labels)
        begin = lm.embedded(lm.get_buffer("begins"))
        past = lm.keys_and_values(torch.cat([begin, prompt]))
        scores = label_scores(lm, past, rows(query.inputs), labels, self.tuning["score"])
        return {"loss": objective.loss(scores, query.targets), **objective.metrics(scores, query.targets)}


@final
class PromptGenerator(nn.Module):
    """Labelled features -> (n_way, n_vectors, width) vectors of a prompt.

    With the task vector r = h(log W, log B) of the variances of each feature within and between classes
    (`set_statistics.logs`), class c has the vectors v + s D(r, m_c - m, e_c - e): m_c its mean feature and
    e_c its name's, m and e their means over classes, all differences scaled to unit variance. D starts at
    zero, v at the tokens that stand before a text, and s is the deviation of the model's embedded tokens.
    """

    scale: Tensor

    def __init__(self, lm: CausalLM, task_dim: int, hidden: list[int], n_vectors: int) -> None:
        super().__init__()
        width, self.n_vectors = lm.feature_dim, n_vectors
        self.set_encoder = perceptron([2 * width, *hidden, task_dim])
        self.decoder = zeroed(perceptron([task_dim + 2 * width, *hidden, n_vectors * lm.width]))
        with torch.no_grad():
            piece = torch.cat([lm.piece("before"), lm.piece("between")])
            first = lm.embedded(piece.repeat(n_vectors)[:n_vectors]).float()
            known = lm.embedded(piece).float()
        self.vectors = nn.Parameter(first)
        self.register_buffer("scale", known.std(), persistent=False)

    def forward(self, features: Tensor, targets: Tensor, of_names: Tensor) -> Tensor:
        found = set_statistics(features.to(self.vectors.dtype), targets, len(of_names))
        task = self.set_encoder(logs(found)[:2].flatten()).expand(len(of_names), -1)
        apart = [_unlike(found.means), _unlike(of_names.to(self.vectors.dtype))]
        said: Tensor = self.decoder(torch.cat([task, *apart], dim=1))
        return self.vectors + self.scale * said.view(len(of_names), *self.vectors.shape)

    def of_no_task(self, n_way: int) -> Tensor:
        """v of each class."""
        return self.vectors.expand(n_way, -1, -1)


def _unlike(values: Tensor) -> Tensor:
    """(n_way, d): differences from the mean, each row of unit variance."""
    return F.layer_norm(values - values.mean(0), values.shape[1:])
