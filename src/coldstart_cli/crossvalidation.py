"""How well a strategy does on one real task, from its few labels alone.

Cross-validation (Stone 1974): adapt to all folds but one, predict that one, until every example has been
predicted by a model that had not seen it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import islice

import torch
from torch import Tensor

from coldstart_cli import statistics
from coldstart_cli.adaptation import canonical
from coldstart_cli.core import Examples, Strategy, Support


def folds_of(support: Support, n_folds: int) -> list[tuple[Support, Examples]]:
    """(all but a fold, the fold) for each fold, stratified by class; none where a class has one label.

    Pure in the support set, whatever its order: drawn from its canonical order by its seed.
    """
    ordered = canonical(support) if len(support) else support
    targets = ordered.targets.cpu().numpy()
    if support.targets.ndim == 1 and len(set(targets.tolist())) < support.objective.n_outputs:
        return []  # a class without any label
    parts = statistics.folds(targets, n_folds, support.seed)
    device = support.targets.device
    found = []
    for seen, held_out in parts:
        kept, other = (ordered.take(torch.from_numpy(ids).to(device)) for ids in (seen, held_out))
        found.append((replace(support, inputs=kept.inputs, targets=kept.targets), other))
    return found


@dataclass(frozen=True, slots=True)
class HeldOut:
    """Every example predicted by a model that had not seen it.

    Attributes:
        outputs: adaptation step -> (n, n_outputs).
        targets: (n,) or (n, n_outputs), in the same order.
        fold_of: (n,) the fold of each.
    """

    outputs: dict[int, Tensor]
    targets: Tensor
    fold_of: Tensor

    def scores(self, step: int) -> Tensor:
        """(n,) one for each example, in [0, 1] for classes (right or wrong), squared errors for reals."""
        outputs = self.outputs[step]
        if self.targets.ndim == 1:
            return (outputs.argmax(-1) == self.targets).double()
        return (outputs - self.targets).square().mean(-1).double()


def held_out(strategy: Strategy, support: Support, steps: Sequence[int], n_folds: int) -> HeldOut | None:
    """Out-of-fold outputs at every one of `steps`, or None where the support is too small for two folds."""
    parts = folds_of(support, n_folds)
    if not parts:
        return None
    outputs: dict[int, list[Tensor]] = {step: [] for step in steps}
    for seen, fold in parts:
        adaptation = strategy.adapt(seen)
        latest = None
        for step in range(max(steps) + 1):
            latest = next(adaptation, None) or latest
            assert latest is not None
            if step in outputs:
                with torch.no_grad():
                    outputs[step].append(latest.module(fold.inputs).float().cpu())
        adaptation.close()
    sizes = torch.tensor([len(fold) for _, fold in parts])
    return HeldOut(
        {step: torch.cat(parts_) for step, parts_ in outputs.items()},
        torch.cat([fold.targets.cpu() for _, fold in parts]),
        torch.repeat_interleave(torch.arange(len(parts)), sizes),
    )
