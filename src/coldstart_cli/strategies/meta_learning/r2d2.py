"""R2-D2: ridge regression on learned features, solved in closed form for every task.

Bertinetto, Henriques, Torr and Vedaldi 2019, arXiv:1805.08136, section 3. With support features and a
column of ones X (n, d + 1) and targets Y (n, n_outputs),

    W = (X'X + n lambda I)^-1 X'Y = X'(XX' + n lambda I)^-1 Y    (Woodbury, where n is the smaller)

and the outputs for query features Q are Q W for reals, scale Q W + bias for classes, whose Y is one-hot.
"""

from __future__ import annotations

import math
from collections.abc import Generator, Iterator, Mapping
from functools import partial
from typing import Annotated, Unpack

import torch
from annotated_types import Ge, Gt
from torch import Tensor, nn

from coldstart_cli.core.objectives import one_hot
from coldstart_cli.core.strategy import Adapted, Strategy
from coldstart_cli.core.tasks import Examples, Support, TaskSource
from coldstart_cli.models.network import Encoder, Network, Predictor, blank_head
from coldstart_cli.strategies.building_blocks.embedding import fit_embedding, full_precision
from coldstart_cli.strategies.building_blocks.names import Named, ablations_of_names, known
from coldstart_cli.strategies.building_blocks.standardising import encoder_for, source_statistics
from coldstart_cli.training.optimizers import OptimizerFactory


class R2D2(Strategy):
    """Learns an encoder whose features a ridge regression of the support set tells apart.

    lambda, scale and bias are learned with the encoder, lambda by its logarithm. It is counted per support
    example (the factor n), as in the authors' code, so that it means the same for all k_shot. Departure:
    the encoder is the run's, not the paper's four blocks of 96 to 512 channels.

    Args:
        encoder, optimizer, vectorize: from the run.
        init_lambda: regularisation that learning starts from.
        init_scale: scale of class outputs that learning starts from; their bias starts from 0.
        standardise: standardise features by the task's own examples, labelled and unlabelled; the source's
            statistics count as much as this number of them. None: features as they are.
        meta_batch_size: tasks in one outer step.
        source_training: learn from the source at all; without, ridge regression of the encoder's features as
            they are, with lambda and scale as given, which is for pretrained ones.
        named: see `Named`; a name's squared error is weighted by it, and n counts it by its weight.
    """

    def __init__(
        self,
        encoder: Encoder,
        optimizer: OptimizerFactory,
        vectorize: bool,
        *,
        init_lambda: Annotated[float, Gt(0)],
        init_scale: Annotated[float, Gt(0)],
        standardise: Annotated[float, Gt(0)] | None,
        meta_batch_size: Annotated[int, Ge(1)],
        source_training: bool,
        **named: Unpack[Named],
    ) -> None:
        super().__init__()
        if standardise is not None and not source_training:
            raise ValueError(
                "standardise: nothing is known of the source's features with source_training=false; "
                "leave it at null, or learn from the source"
            )
        self.source_training = self.learns_from_source = source_training
        self.encoder, self.vectorize, self.meta_batch_size = encoder, vectorize, meta_batch_size
        self.init_lambda, self.init_scale = init_lambda, init_scale
        self.named, self.reads_names = named, named["name_weight"] > 0
        # By its logarithm, so that no step can make lambda negative.
        self.log_lambda = nn.Parameter(torch.tensor(math.log(init_lambda)))
        self.scale = nn.Parameter(torch.tensor(init_scale))
        self.bias = nn.Parameter(torch.tensor(0.0))
        self.standardise = standardise
        self.standard = source_statistics(standardise, encoder.feature_dim)
        self.optimizer = optimizer(self.parameters())

    def fit(self, source: TaskSource, start: int = 0) -> Iterator[dict[str, float]]:
        if not self.source_training:
            return iter(())
        return fit_embedding(self, outputs_by_ridge, source, start)

    def adapt(self, support: Support) -> Generator[Adapted, None, None]:
        """Yields once: there is no step to take. The solution is a head of the encoder."""
        n_outputs = support.objective.n_outputs
        with torch.no_grad():
            weights = dict(self.named_parameters())
            encoder, statistics = encoder_for(self.encoder, weights, self.standardise, support)
            own = known(encoder, support, self.named)
            learned = Examples(own.features, own.targets)
            head = ridge_head(weights, learned, n_outputs, own.weights)
        network = Network(encoder, blank_head(self.encoder.feature_dim, n_outputs).to(self.scale))
        changed = {"head.weight": head[:-1].T, "head.bias": head[-1], **statistics}
        yield Adapted(partial(Predictor, network, changed), changed)

    def ablations(self, support: Support, other: Support) -> dict[str, Iterator[Adapted]]:
        return ablations_of_names(self.adapt, support, self.named)


def outputs_by_ridge(
    weights: Mapping[str, Tensor], support: Examples, query: Tensor, n_outputs: int
) -> Tensor:
    """An `embedding.Compare` whose weights are `log_lambda`, `scale` and `bias`."""
    with torch.autocast(query.device.type, enabled=False):
        return _with_ones(full_precision(query)) @ ridge_head(weights, support, n_outputs)


def ridge_head(
    weights: Mapping[str, Tensor], support: Examples, n_outputs: int, of_each: Tensor | None = None
) -> Tensor:
    """W (feature_dim + 1, n_outputs), the bias in the last row, scale and bias of classes worked in.

    Args:
        of_each: (n,) what each example counts; None for 1.
    """
    assert isinstance(support.inputs, Tensor)
    reals = support.targets.is_floating_point()
    targets = support.targets if reals else one_hot(support.targets, n_outputs)
    with torch.autocast(support.inputs.device.type, enabled=False):
        x = _with_ones(full_precision(support.inputs))
        solution = ridge(x, targets.to(x.dtype), weights["log_lambda"].exp(), of_each)
        if reals:
            return solution
        return torch.cat(
            [weights["scale"] * solution[:-1], weights["scale"] * solution[-1:] + weights["bias"]]
        )


def ridge(x: Tensor, y: Tensor, regularisation: Tensor, of_each: Tensor | None = None) -> Tensor:
    """argmin_W |x W - y|^2 / n + regularisation |W|^2. (n, d), (n, n_outputs), () -> (d, n_outputs).

    With weights `of_each` (n,), rows of the error are multiplied by their roots, and n is their sum.
    """
    n, d = x.shape
    identity = torch.eye(min(n, d), dtype=x.dtype, device=x.device)
    if of_each is not None:
        root = of_each.sqrt().unsqueeze(-1)
        x, y, regularisation = root * x, root * y, regularisation * of_each.sum() / n
    solution: Tensor
    # Both forms are equal (Woodbury); the smaller system is solved.
    if n < d:
        solution = x.T @ torch.linalg.solve(x @ x.T + n * regularisation * identity, y)
    else:
        solution = torch.linalg.solve(x.T @ x + n * regularisation * identity, x.T @ y)
    return solution


def _with_ones(features: Tensor) -> Tensor:
    # The bias is a weight of this column, and so it is regularised as well.
    return torch.cat([features, features.new_ones(len(features), 1)], 1)
