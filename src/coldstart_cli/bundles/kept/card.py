"""A bundle's card: what it holds, written and read; somebody else may have written it, so it is checked.

card.json is a card as nested JSON objects, key for key, and a digest of them (`files.card_digest`).
"""

from __future__ import annotations

import dataclasses
import json
import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal

from coldstart_cli.config.from_json import from_json
from coldstart_cli.datasets.own.shift import InputRange
from coldstart_cli.errors import RequestError
from coldstart_cli.files.card_digest import check_digest, with_digest
from coldstart_cli.files.durable import read_json
from coldstart_cli.metrics.drift import Drift
from coldstart_cli.models.pretrained.files_read import FilesRead
from coldstart_cli.renamed import renamed

FORMAT = 4
"""Written into card.json; 2 names the other files by their content, 3 keeps hashes of the rows and earlier
versions, 4 has a digest of the card itself. A reader refuses newer ones."""
CARD = "card.json"
BY_LABELS = "cross-validation on the labels"
"""How steps were chosen, and a temperature found."""
BY_UNLABELLED = "the mutual information of unlabelled examples and their answers"
"""How steps were chosen after a shift of domain, where labels are too few."""
CLOSED_FORM = "closed form"
"""How steps were chosen where there are none to choose."""
NO_LABELS = "without labels"
"""How steps were chosen where a strategy takes some, but none on unlabelled examples alone."""
LARGEST_CARD = 2**23
MOST_VALUES = 2**28
"""Of the zeros that a predictor is built on."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DataFacts:
    """The examples that were adapted to, which a bundle does not hold.

    Attributes:
        on_bad, examples: what a row did that could not be read; how many were learned from.
        root: where they lay; None in a bundle of an earlier version.
        labelled: tables of further ones.
        hash: a digest of them.
        skipped: how many could not be read and were left out.
    """

    root: str | None = None
    labelled: tuple[str, ...] = ()
    on_bad: Literal["stop", "skip"] = "stop"
    hash: str
    examples: int
    skipped: int


@dataclass(frozen=True, slots=True, kw_only=True)
class InputFacts:
    """One tensor of the inputs that a predictor reads.

    Attributes:
        shape, dtype: without n; the type as torch names it.
    """

    shape: tuple[int, ...]
    dtype: str


@dataclass(frozen=True, slots=True, kw_only=True)
class BuildFacts:
    """What it takes to build the predictor again, as values.

    Attributes:
        seed, n_steps: of the initial weights; outer steps of the run that it started from.
        classification, n_outputs: whether it answers classes, and how many, or reals.
        n_unlabelled: unlabelled examples that it was adapted with.
        recipe: how raw inputs are read (`Labelled.recipe`).
        strategy, model, optimizer: nodes of the config.
        facts: of the strategy's training, which a task of your own cannot know.
        inputs: by name; the name of inputs that are one tensor is empty.
        names: of the classes, as `inputs`; empty where they have none that the model reads.
        counts: examples of each class; of a regression all of them in one number.
        settled: its batch norms keep the statistics of the support set.
        from_base: the tensors that the pretrained base holds.
    """

    recipe: Mapping[str, Any]
    strategy: Mapping[str, Any]
    model: Mapping[str, Any]
    optimizer: Mapping[str, Any]
    seed: int
    n_steps: int
    facts: Mapping[str, Any]
    inputs: Mapping[str, InputFacts]
    classification: bool
    n_outputs: int
    counts: tuple[int, ...]
    n_unlabelled: int
    settled: bool = False
    from_base: tuple[str, ...] = ()
    names: Mapping[str, InputFacts] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class CrossValidation:
    """How good the predictor is, by cross-validation on the labels; None: not known, or an earlier version's.

    Attributes:
        metric, mean, confidence: accuracy, or mse of a regression, and of the interval.
        half_width: of the t interval of an error that an earlier version found; now no interval is symmetric.
        low, high: the interval.
        folds, repeats: a learner saw all but one of so many parts, which were dealt so many times.
        judged: examples that were held out.
        different: of them, those that are equal or nearly so counted once.
        origins: groups of them that were kept together (`dataset.group_column`).
        balanced_accuracy, macro_f1: of the same answers.
        majority: the accuracy of always answering with the largest class.
        nearest_centroid: that of the nearest mean of the inputs as they are.
        weakest: recall of the classes that are answered least well.
        not_judged: classes of one example, which was always learned from.
    """

    metric: str
    mean: float
    half_width: float | None
    confidence: float
    folds: int
    repeats: int
    low: float | None = None
    high: float | None = None
    judged: int | None = None
    different: int | None = None
    origins: int | None = None
    balanced_accuracy: float | None = None
    macro_f1: float | None = None
    majority: float | None = None
    nearest_centroid: float | None = None
    weakest: Mapping[str, float] = field(default_factory=dict)
    not_judged: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class HeldOutRows:
    """How each labelled row was answered by learners that had not seen it.

    Attributes:
        data: a digest of the files, rows and labels, the same whatever the model reads of them.
        scores: of each row the share of right answers over repeats, or its mean squared error in the
            metric's unit; None where it was always learned from.
        clusters: of each row, what it may not be divided from (repeats, a person's rows).
    """

    data: str
    scores: tuple[float | None, ...]
    clusters: tuple[int, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class StatedTest:
    """How good the predictor is on the test examples that the files state, which it has not learned from.

    Attributes:
        metric, value: accuracy, or mse of a regression.
        low, high: the 95 % interval of Clopper and Pearson; None for a regression.
        examples: how many were scored.
    """

    metric: str
    value: float
    low: float | None
    high: float | None
    examples: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Seconds:
    """What adaptation took.

    Attributes:
        adaptation, in_all: the final one; with the choice of its steps and the estimate.
    """

    adaptation: float
    in_all: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Sizes:
    """Numbers of a predictor.

    Attributes:
        parameters, stored_parameters: all, and those that the bundle holds; its base has the others.
    """

    parameters: int
    stored_parameters: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Changed:
    """What is not as it was in the version before, whose place this one took.

    Attributes:
        since, metric: that version; accuracy, or mse of a regression.
        added, removed, relabelled: rows, known again by their content; None: not known.
        classes_added, classes_removed: names.
        classes_renamed: names before and now; a class whose every row that is in both versions has the other
            name, which was not there.
        adapted_by: what adapts otherwise than in that version, a line each: strategy, model, settings.
        judged: rows that cross-validation held out for both versions; 0: none, or not known.
        before, after: of the metric on these rows, by today's labels.
        low, high: the interval of `after` less `before`.
        drift: of the added inputs from the earlier ones; None: none was added, or `untold`.
        untold: why something of all this cannot be told, or None.
    """

    since: int
    metric: str
    added: int | None = None
    removed: int | None = None
    relabelled: int | None = None
    classes_added: tuple[str, ...] = ()
    classes_removed: tuple[str, ...] = ()
    classes_renamed: tuple[tuple[str, str], ...] = ()
    adapted_by: tuple[str, ...] = ()
    judged: int = 0
    before: float | None = None
    after: float | None = None
    low: float | None = None
    high: float | None = None
    drift: Drift | None = None
    untold: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Card:
    """What a bundle is, what it was made of, how well it does, and how it is built again.

    Attributes:
        format: of the card.
        made_by, made: the version that wrote it, and when (UTC).
        strategy, model: names of the configs.
        run: the name of the run that was adapted, or None.
        licence: as its maker gave it, or None.
        labels: names of the classes; empty for a regression.
        examples_of: labelled examples by class.
        steps, steps_chosen_by: adaptation steps, and how their number was chosen.
        threshold: predictions below this probability abstain.
        cross_validation: None where every class has one label, so that none can be held out.
        temperature, temperature_from: of the logits, and what it was fitted on.
        sizes: None before the bundle is saved.
        test: on stated test examples, or None where none are stated.
        held_out: of each row, for `compare`; None where none could be held out, and in a card of before.
        input_ranges: of what the network was trained on, or the bundle learned from; empty in one of before.
        said: what a reader should know of it and of its examples, one line each.
        files: the other files of the bundle with their SHA-256; None before it is saved, and in format 1.
        pretrained: the files at `model.path` that the predictor reads; None where it reads none, and in
            format 1.
        version: counts the bundles that lay in its folder.
        made_from: a digest of all that determined it; empty in one of before.
        changed: since the version before; None in the first one.
    """

    format: int
    made_by: str
    made: str
    strategy: str
    model: str
    run: str | None
    licence: str | None
    data: DataFacts
    labels: tuple[str, ...]
    examples_of: Mapping[str, int]
    steps: int
    steps_chosen_by: str
    threshold: float
    build: BuildFacts
    cross_validation: CrossValidation | None
    temperature: float
    temperature_from: str
    seconds: Seconds
    sizes: Sizes | None = None
    test: StatedTest | None = None
    held_out: HeldOutRows | None = None
    said: tuple[str, ...] = ()
    files: Mapping[str, str] | None = None
    pretrained: FilesRead | None = None
    input_ranges: Mapping[str, InputRange] = dataclasses.field(default_factory=dict)
    version: int = 1
    made_from: str = ""
    changed: Changed | None = None

    def as_json(self) -> str:
        """What card.json holds."""
        values = json.loads(json.dumps(asdict(self), allow_nan=False))  # as a reader will see them
        return json.dumps(with_digest(values), indent=2) + "\n"


def read_card(path: Path, *, builds: bool = True) -> Card:
    """The card of a card.json, which holds values only and builds nothing but what bundles do.

    Args:
        builds: whether its predictor may be built, which is checked with torch; False: it is only read.

    Raises:
        RequestError: where it is damaged, edited, of a newer version, or holds anything else.
    """
    if path.stat().st_size > LARGEST_CARD:
        raise RequestError(f"bundle: {path} is larger than any card; make it again")
    card = read_json(path, "bundle", "make it again")
    version = card.get("format")
    if not isinstance(version, int) or version > FORMAT:
        raise RequestError(
            f"bundle: {path.parent} has format {version}, this coldstart reads up to {FORMAT}; install a "
            "newer one (E33)"
        )
    check_digest(card, path, "bundle")
    if not isinstance(card.get("build"), Mapping):
        raise RequestError(f"bundle: {path} is damaged (build is not an object); make it again")
    build = _buildable(card["build"]) if builds else card["build"]
    try:
        found = from_json(Card, {**card, "build": build})
    except ValueError as error:
        raise RequestError(f"bundle: {path} is damaged ({error}); make it again") from error
    sound = 0 <= found.threshold <= 1 and 0 < found.temperature < math.inf and 1 <= found.version < 10**9
    if not sound or (builds and not _drawable(found.build)):
        raise RequestError(f"bundle: {path} is damaged; make it again")
    return found


def _buildable(build: Mapping[str, Any]) -> Mapping[str, Any]:
    """Its nodes name what bundles are built of; imported here, for a card can be read without torch.

    Raises:
        RequestError: where they name anything else.
    """
    from coldstart_cli.config.building import check
    from coldstart_cli.core.strategy import Strategy
    from coldstart_cli.models.network import Encoder
    from coldstart_cli.runs.migrations import as_it_was
    from coldstart_cli.training.optimizers import OptimizerFactory

    build = as_it_was(renamed(build))  # a card of before lacks keys that its strategy has gained
    for part, kind in (("strategy", Strategy), ("model", Encoder), ("optimizer", OptimizerFactory)):
        check(build.get(part), f"bundle.{part}", kind, [])
    return build


def _drawable(build: BuildFacts) -> bool:
    """Whether the zeros that a predictor is built on are tensors that fit into memory."""
    import torch

    inputs = (*build.inputs.values(), *build.names.values())
    n = sum(build.counts) + build.n_unlabelled + len(build.counts)
    sizes = [n * math.prod(spec.shape) for spec in inputs]
    whole = [*build.counts, build.n_unlabelled, build.n_outputs, *(d for spec in inputs for d in spec.shape)]
    return (
        all(value >= 0 for value in whole)
        and all(isinstance(getattr(torch, spec.dtype, None), torch.dtype) for spec in inputs)
        and bool(build.inputs)
        and max(sizes) + n * build.n_outputs <= MOST_VALUES
    )
