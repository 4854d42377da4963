"""In-context learning: a language model reads the support set as demonstrations and says the label.

Brown et al. 2020, arXiv:2005.14165; see `building_blocks.in_context` for calibration and the choice of
demonstrations. Without them, at k = 0, it answers by the names of the classes alone.
"""

from __future__ import annotations

from collections.abc import Generator, Iterator, Mapping
from typing import Annotated, Unpack

from annotated_types import Ge

from coldstart_cli.core.strategy import Adapted, Strategy
from coldstart_cli.core.tasks import Support, TaskSource
from coldstart_cli.errors import RequestError
from coldstart_cli.models.language.label_likelihood import check_labels
from coldstart_cli.models.network import Encoder
from coldstart_cli.strategies.building_blocks.in_context import (
    Asked,
    InContextPredictor,
    ablations_of_demonstrations,
    check_fits,
    in_order,
    lack_of_prompt,
    language_model,
    refusal_of_prompts,
)


class InContext(Strategy):
    """Learns nothing: adaptation computes keys and values of the demonstrations.

    Args:
        encoder: from the run, a causal language model.
        nearest: demonstrations of a query, the most similar ones by the model's features, which are then read
            anew for each query; None: all of the support set, once.
        asked: see `Asked`.

    Raises:
        ValueError: where the model has no language head.
    """

    learns_from_source = False
    needs_classes = True
    needs_labels = False
    needs_model = "language"
    reads_names = True
    starts_from_support = True
    replayable = False  # prompts differ in their length

    def __init__(
        self, encoder: Encoder, *, nearest: Annotated[int, Ge(1)] | None, **asked: Unpack[Asked]
    ) -> None:
        super().__init__()
        self.lm, self.nearest, self.asked = language_model(encoder), nearest, asked
        self.needs_unlabelled = asked["calibration"] == "unlabelled"
        self.lm.freeze()

    @property
    def transductive(self) -> bool:
        return self.asked["calibration"] == "batch"

    def refusal(self, tasks: TaskSource) -> str | None:
        return super().refusal(tasks) or refusal_of_prompts(self.lm, tasks, self.nearest)

    def refusal_of(self, support: Support) -> str | None:
        return lack_of_prompt(self.lm, support, self.nearest)

    def fit(self, source: TaskSource, start: int = 0) -> Iterator[dict[str, float]]:
        return iter(())

    def adapt(self, support: Support) -> Generator[Adapted, None, None]:
        """Yields once: there is no step to take."""
        labels = check_labels(support.names)
        assert support.names is not None
        try:
            check_fits(self.lm, support, labels, self.nearest)
        except ValueError as error:
            raise RequestError(f"strategy: {error}") from error
        shown = in_order(support, self.asked["order_seed"])
        made = InContextPredictor(self.lm, shown, support.names, self.asked, self.nearest)
        made.prepare(support.unlabelled)
        yield Adapted(lambda: made, {"demonstrations": made.tokens})

    def ablations(self, support: Support, other: Support) -> Mapping[str, Iterator[Adapted]]:
        """See `ablations_of_demonstrations`."""
        return ablations_of_demonstrations(self.adapt, support, other)
