"""What a reader should know of a bundle before using it, in sentences: what is wrong, and what to try."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import torch

from coldstart_cli.bundles.judging import temperature
from coldstart_cli.bundles.judging.batch_statistics import reads_its_batch, settling_inputs
from coldstart_cli.bundles.judging.held_out_labels import Together
from coldstart_cli.bundles.kept.card import BY_LABELS, CrossValidation
from coldstart_cli.config.building import TRUSTED
from coldstart_cli.core.stepping import adapted_after
from coldstart_cli.core.strategy import Adapted, Strategy
from coldstart_cli.core.tasks import Support, n_examples
from coldstart_cli.datasets.own.labelled import Labelled

PLAIN = "nearest_centroid"
"""The strategy that does the plainest thing, on a model's features."""
MOST_NAMED = 3
"""Examples or classes that a sentence names; the others are counted."""


def of_data(labelled: Labelled, together: Together) -> list[str]:
    """Examples that are the same, examples that contradict one another, and classes of one example."""
    found = []
    n, alike = len(labelled), together.alike
    n_different = len(np.unique(alike))
    if n_different < n:
        found.append(
            f"{n - n_different} of {n} examples repeat another one, exactly or nearly ({n_different} "
            "different ones); what repeats is never divided between learning and judging"
        )
    if not labelled.classes:
        return found
    classes = labelled.targets.numpy()
    conflicts = _conflicts(classes, alike)
    if conflicts:
        named = "; ".join(
            ", ".join(f"{labelled.places[i]}: {labelled.classes[classes[i]]}" for i in group)
            for group in conflicts[:MOST_NAMED]
        )
        found.append(
            f"{_counted(len(conflicts), 'input has', 'inputs have')} more than one label ({named}"
            f"{_further(len(conflicts))}); correct them"
        )
    sizes = np.bincount(classes, minlength=len(labelled.classes))
    single = [name for name, size in zip(labelled.classes, sizes, strict=True) if size == 1]
    if single:
        found.append(
            f"{_counted(len(single), 'class has', 'classes have')} one example, which is always learned from "
            f"and never judged ({_listed(single)}); label another one"
        )
    return found


def of_strategy(
    config: Mapping[str, Any], strategy: Strategy, support: Support, adapted: Adapted, step: int
) -> list[str]:
    """Unlabelled examples that it does not use, and statistics that it no longer reads off a batch."""
    found = []
    free = support.unlabelled
    if free is not None and not strategy.needs_unlabelled and not _uses(strategy, support, adapted, step):
        by_names = strategy.reads_names and support.names is not None
        name, n = config["names"]["strategy"], n_examples(free)
        found.append(f"dataset.unlabelled: {_unused(name, n, len(support), by_names=by_names)}")
    shown = sum(getattr(module, "holds_examples", 0) for module in adapted.module.modules())
    if shown:
        held = _counted(shown, "labelled example itself", "labelled examples themselves")
        found.append(
            f"the bundle holds {held}, which it shows to the language model before every question: whoever "
            "has the bundle can read them"
        )
    if reads_its_batch(adapted.module):
        n, kind = n_examples(settling_inputs(support)), "labelled" if len(support) else "unlabelled"
        found.append(
            "model.norm: this model normalises by the batch it is asked about; the bundle keeps the "
            f"statistics of the {n} {kind} examples instead, so that an answer does not depend on the other "
            "inputs"
        )
    return found


def _unused(name: str, n: int, n_labels: int, *, by_names: bool) -> str:
    """What n unlabelled examples are to a strategy that does not use them, and one that does."""
    if n_labels:
        return (
            f"{name} does not use the {n} unlabelled examples; leave them out, or choose a strategy that "
            "does (distill_unlabelled, coral)"
        )
    if by_names:
        return (
            f"{name} answers by the classes' names and does not use the {n} unlabelled examples; choose one "
            "that does (strategy=soft_kmeans strategy.name_weight=1)"
        )
    return (
        f"{name} learns nothing from {n} examples without labels: the bundle answers as the run does; name "
        "labelled examples (dataset.root=PATH), or a run of a strategy that learns without labels (coral, "
        "dann)"
    )


def of_result(
    measured: CrossValidation | None, config: Mapping[str, Any], classes: Sequence[str]
) -> list[str]:
    """A result that something plainer reaches."""
    if measured is None or not classes or measured.low is None or measured.majority is None:
        return []
    found = []
    n, plain = measured.judged or 1, measured.nearest_centroid
    # a difference of one example is no finding
    if plain is not None and plain - measured.mean > 1 / n and config["names"]["strategy"] != PLAIN:
        found.append(
            f"the nearest class mean of the inputs as they are answers {100 * plain:.1f} % rightly, better "
            f"than {config['names']['strategy']} with {100 * measured.mean:.1f} %; try "
            f"strategy={PLAIN}{_or_another(config)}"
        )
    if measured.low <= measured.majority:
        found.append(
            "this accuracy cannot be told from that of always answering with the largest class, "
            f"{100 * measured.majority:.1f} %; label more examples, or try another model"
        )
    return found


def of_choices(
    config: Mapping[str, Any], candidates: Sequence[int], steps: tuple[int, int], how: str, t: float | None
) -> list[str]:
    """A choice at the edge of what was tried.

    Args:
        steps: that were chosen, and those of them that the strategy took.
        t: a temperature that was fitted to the labels, or None.
    """
    found = []
    step, taken = steps
    if 0 < taken < step:
        found.append(f"{config['names']['strategy']} ends by itself, here after {taken:,} steps of {step:,}")
    elif how == BY_LABELS and step == max(candidates):
        more = ",".join(str(step * factor) for factor in (1, 2, 5, 10))
        found.append(f"{step} steps are the most that were tried; try more (evaluation.steps=[{more}])")
    if how == BY_LABELS and step == min(candidates):
        rate = _rate_of(config["strategy"])
        remedy = f" with a smaller strategy.{rate}" if rate else ""
        found.append(f"{step} steps are the fewest that were tried: more did worse; try others{remedy}")
    if t is not None and temperature.at_a_limit(t):
        found.append(
            f"the temperature is at the limit of what is tried ({t:.2g}): its outputs hardly differ, or are "
            "mostly wrong; do not rely on the probabilities"
        )
    return found


def _or_another(config: Mapping[str, Any]) -> str:
    """Further remedies: another head, unless it is the one that did worse, or more steps."""
    head = "" if config["names"]["strategy"] == "logistic" else " or logistic"
    rate = _rate_of(config["strategy"])
    return head + (f", or more steps (evaluation.steps) of a larger strategy.{rate}" if rate else "")


def _rate_of(strategy: Mapping[str, Any]) -> str | None:
    """The name of its step size; of a strategy around another one, that one's."""
    own = next((key for key in ("inner_lr", "lr") if key in strategy), None)
    inner = strategy.get("transfer")
    return f"transfer.{_rate_of(inner)}" if own is None and isinstance(inner, Mapping) else own


def _conflicts(classes: np.ndarray[Any, Any], alike: np.ndarray[Any, Any]) -> list[list[int]]:
    """One example of each label, of every group of the same input that has several labels."""
    pairs, first = np.unique(np.stack([alike, classes]), axis=1, return_index=True)
    groups, counts = np.unique(pairs[0], return_counts=True)
    return [first[pairs[0] == group].tolist() for group in groups[counts > 1]]


def of_code(config: Mapping[str, Any]) -> list[str]:
    """Classes that `trust=` lets in, of no installed plug-in: what loads a bundle refuses them."""
    targets = [*_targets(config["strategy"]), *_targets(config["model"])]
    packages = [name for name in config["trust"] if name.partition(".")[0] not in TRUSTED]
    outside = [one for one in targets if any(one.startswith(f"{package}.") for package in packages)]
    return [
        f"the bundle needs {one}, which predict, evaluate, serve and export take from an installed package "
        "alone; give it an entry point in the group coldstart.plugins"
        for one in sorted(set(outside))
    ]


def _targets(node: object) -> list[str]:
    if not isinstance(node, Mapping):
        return []
    own = [node["_target_"]] if "_target_" in node else []
    return own + [target for value in node.values() for target in _targets(value)]


def _uses(strategy: Strategy, support: Support, adapted: Adapted, step: int) -> bool:
    """Whether it adapts otherwise without the unlabelled examples."""
    without = adapted_after(strategy, replace(support, unlabelled=None), step)
    return without.changed.keys() != adapted.changed.keys() or any(
        not torch.equal(tensor, adapted.changed[name]) for name, tensor in without.changed.items()
    )


def _listed(names: Sequence[str]) -> str:
    return f"{', '.join(names[:MOST_NAMED])}{_further(len(names))}"


def _further(n: int) -> str:
    return f" and {n - MOST_NAMED} more" if n > MOST_NAMED else ""


def _counted(n: int, one: str, many: str) -> str:
    return f"{n} {one if n == 1 else many}"
