"""Classification and regression: losses, divergences and metrics.

The divergence of classes is Hinton, Vinyals and Dean (2015, arXiv:1503.02531), section 2:
T^2 KL(softmax(teacher / T) || softmax(student / T)).
"""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor
from torch.nn import functional as F

from coldstart_cli.core import Objective


@dataclass(frozen=True)
class Classification(Objective):
    """targets (n,) int64 in [0, n_outputs); outputs are logits. Headline: accuracy in [0, 1]."""

    n_outputs: int
    headline = "accuracy"
    higher_is_better = True

    def loss(self, outputs: Tensor, targets: Tensor) -> Tensor:
        """Cross-entropy in nats."""
        return F.cross_entropy(outputs, targets)

    def divergence(self, student: Tensor, teacher: Tensor, temperature: float) -> Tensor:
        """T^2 KL(teacher || student) of the softened distributions, in nats."""
        return temperature**2 * F.kl_div(
            F.log_softmax(student / temperature, -1),
            F.log_softmax(teacher / temperature, -1),
            reduction="batchmean",
            log_target=True,
        )

    def metrics(self, outputs: Tensor, targets: Tensor) -> dict[str, Tensor]:
        return {"accuracy": (outputs.argmax(-1) == targets).float().mean()}


@dataclass(frozen=True)
class Regression(Objective):
    """targets (n, n_outputs) reals. Headline: mean squared error, in squared units of the target."""

    n_outputs: int
    headline = "mse"
    higher_is_better = False

    def loss(self, outputs: Tensor, targets: Tensor) -> Tensor:
        """Mean squared error."""
        return F.mse_loss(outputs, targets)

    def divergence(self, student: Tensor, teacher: Tensor, temperature: float) -> Tensor:
        """Mean squared difference; reals have no temperature."""
        return F.mse_loss(student, teacher)

    def metrics(self, outputs: Tensor, targets: Tensor) -> dict[str, Tensor]:
        return {"mse": F.mse_loss(outputs, targets)}
