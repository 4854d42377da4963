"""CoOp: vectors before the names of classes, learned in the place of a caption's words.

Zhou, Yang, Loy and Liu 2022, arXiv:2109.01134, section 3.2, with a unified context, one for all classes,
and the class's name at the end.
"""

from __future__ import annotations

from collections.abc import Generator, Iterator, Mapping
from functools import partial
from typing import Annotated, Literal

import torch
from annotated_types import Ge, Gt
from torch import Tensor
from torch.nn import functional as F

from coldstart_cli.core.strategy import Adapted, Strategy
from coldstart_cli.core.tasks import Inputs, Support, TaskSource
from coldstart_cli.models.network import Encoder
from coldstart_cli.models.pretrained.clip import CLIP
from coldstart_cli.strategies.building_blocks.answers import ablations_of_words
from coldstart_cli.strategies.building_blocks.prototypes import NearestCentroidPredictor
from coldstart_cli.strategies.building_blocks.source_classifier import descended
from coldstart_cli.training.inner_loop import Weights, adam

_DEVIATION = 0.02
"""Of random vectors, as in the authors' code."""


class CoOp(Strategy):
    """Fits vectors v_1 ... v_m before the classes' names to the support set; the model stays frozen.

    Class c has the features w_c of the caption [v_1] ... [v_m] [name of c] and the logit cos(f, w_c) / T
    for an image's features f; the loss is their cross-entropy. Started from words, step 0 is zero-shot
    classification with these words.

    Departures: images are not augmented, so that their features are computed once; steps are Adam's at a
    constant rate, each on all labels, where the authors take SGD with a cosine schedule.

    Args:
        encoder: from the run, a model of images and captions.
        start: `words`, those that a caption says before the name (`model.preprocess.before`), or `random`,
            by the task's seed.
        n_context: m, to which the words are repeated or cut; None: as many as they have tokens.
        temperature: T, CLIP's own.
        lr: rate of Adam.

    Raises:
        ValueError: where the model reads no captions, or the number of vectors is that of words which are not
            there.
    """

    learns_from_source = False
    needs_classes = True
    needs_model = "captions"
    reads_names = True
    starts_from_support = True  # from the names of its classes
    replayable = False  # captions differ in their number of tokens

    def __init__(
        self,
        encoder: Encoder,
        *,
        start: Literal["words", "random"],
        n_context: Annotated[int, Ge(1)] | None,
        temperature: Annotated[float, Gt(0)],
        lr: Annotated[float, Gt(0)],
    ) -> None:
        super().__init__()
        if not isinstance(encoder, CLIP):
            raise ValueError("model: it has no text tower, and captions are learned here; choose model=clip")
        if not len(encoder.before) and (start == "words" or n_context is None):
            raise ValueError(
                "start: captions say nothing before the name; write words (model.preprocess.before), or "
                "choose strategy.start=random strategy.n_context=16"
            )
        self.encoder = encoder
        self.encoder.freeze()
        self.start, self.n_context, self.temperature, self.lr = start, n_context, temperature, lr

    def refusal(self, tasks: TaskSource) -> str | None:
        return super().refusal(tasks) or self._lack_of_captions(tasks)

    def refusal_of(self, support: Support) -> str | None:
        names, before = support.names, self.encoder.before.to(support.targets.device)
        assert isinstance(names, Mapping)
        if not (names["input_ids"][:, 1 : 1 + len(before)] == before).all():
            return "model.preprocess.before has other tokens where a name follows; write whole words"
        return self.encoder.lack_of_room(self.n_context or len(before), self.encoder.without_before(names))

    def fit(self, source: TaskSource, start: int = 0) -> Iterator[dict[str, float]]:
        return iter(())

    def adapt(self, support: Support) -> Generator[Adapted, None, None]:
        """Yields after every step, `changed` being the vectors; once where there are no labels."""
        assert support.names is not None, "refusal"
        captions, objective = self.encoder.without_before(support.names), support.objective
        with torch.no_grad():
            features = F.normalize(self.encoder(support.inputs), dim=-1)

        def loss(moving: Weights) -> Tensor:
            names = F.normalize(self.encoder.after_context(moving["context"], captions), dim=-1)
            return objective.loss(features @ names.T / self.temperature, support.targets)

        context = {"context": self._context(support.seed)}
        for changed in descended(loss, context, adam(self.lr, beta1=0.9), support):
            yield Adapted(partial(self._predictor, changed["context"], captions), changed)

    def ablations(self, support: Support, other: Support) -> dict[str, Iterator[Adapted]]:
        """`names of another class` and, of another task's names for the classes, `names off`."""
        return ablations_of_words(self.adapt, support, other)

    def _lack_of_captions(self, tasks: TaskSource) -> str | None:
        """Why the classes' captions do not serve, by those of the first tasks."""
        if not tasks.named:
            return (
                "it learns what stands before the names of classes, which have none; choose strategy=logistic"
            )
        lacks = (self.refusal_of(task.support) for task in tasks.tasks("new", range(3)))
        return next(filter(None, lacks), None)

    def _context(self, seed: int) -> Tensor:
        """(m, width) that training starts from."""
        before = self.encoder.before
        m = self.n_context or len(before)
        if self.start == "words":
            return self.encoder.embedded(before.repeat(-(-m // len(before)))[:m])
        chance = torch.Generator().manual_seed(seed % 2**32)
        like = self.encoder.embedded(before[:0])
        return (_DEVIATION * torch.randn(m, self.encoder.width, generator=chance)).to(like)

    @torch.no_grad()
    def _predictor(self, context: Tensor, captions: Inputs) -> NearestCentroidPredictor:
        names = self.encoder.after_context(context, captions)
        return NearestCentroidPredictor(self.encoder, names, "cosine", self.temperature)
