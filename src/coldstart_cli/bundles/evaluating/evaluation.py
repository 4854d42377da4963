"""What a labelled file says of a bundle, as values; `evaluating` finds them, `to_json` writes them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from coldstart_cli.metrics.fresh import Answered, Foreign
from coldstart_cli.metrics.json_edge import to_json


@dataclass(frozen=True, slots=True, kw_only=True)
class Estimate:
    """A number with its interval; None: not known."""

    value: float | None
    low: float | None
    high: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class ClassScore:
    """A class; precision is None where nothing is answered with it, recall where no row is of it."""

    label: str
    rows: int
    answers: int
    recall: float | None
    precision: float | None
    f1: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Confusion:
    """How many rows of a label have this answer."""

    label: str
    answer: str
    rows: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Doubt:
    """A row whose answer is not its label.

    Attributes:
        place: where it was read.
        probability, probability_of_label: of the answer, and of what it is labelled.
        label_looks_wrong: by confident learning; see `metrics.fresh.confident_disagreement`.
        columns: the row as it was read; empty where the layout has no columns.
    """

    place: str
    label: str
    answer: str
    probability: float
    probability_of_label: float
    label_looks_wrong: bool
    columns: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Bin:
    """Answers of about the same probability: how many, its mean, and the share of them that is right."""

    rows: int
    probability: float
    accuracy: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Believed:
    """How far probabilities at a temperature can be believed: ECE in [0, 1], NLL in nats, Brier in [0, 2].

    Attributes:
        bins: those that hold an answer, by probability; the ECE is the mean of their gaps, weighed by rows.
    """

    temperature: float
    ece: float | None
    nll: float
    brier: float
    bins: Sequence[Bin]


@dataclass(frozen=True, slots=True, kw_only=True)
class Unknown:
    """Rows whose label the bundle does not know; they are in no other number.

    Attributes:
        labels: label -> rows, the most frequent first.
        by_probability, by_energy: how well 1 - the largest probability, and the energy -log sum exp(z / T)
            (Liu et al. 2020, arXiv:2010.03759) of the logits z, tell them from rows of known labels.
    """

    rows: int
    labels: Mapping[str, int]
    by_probability: Foreign
    by_energy: Foreign


@dataclass(frozen=True, slots=True, kw_only=True)
class Guarantee:
    """The lowest threshold that keeps a precision.

    Attributes:
        sure: the probability that the answers from `found.threshold` on do keep it.
        found: None: no threshold does.
    """

    precision: float
    sure: float
    found: Answered | None


@dataclass(frozen=True, slots=True, kw_only=True)
class OfClasses:
    """Of answers with classes; intervals of 95 %.

    Attributes:
        majority: share of the most frequent label.
        confusion: pairs that occur, the most frequent first; right answers among them.
        calibrated, before: at the bundle's temperature, and at 1.
        coverage: of the rows answered most surely.
        curve: the same of more shares, the largest first.
        at_threshold: what the bundle answers by its own threshold; None where it answers all.
        doubts: the rows answered wrongly, the most sure first.
    """

    accuracy: Estimate
    balanced_accuracy: Estimate
    macro_f1: Estimate
    majority: float
    classes: Sequence[ClassScore]
    confusion: Sequence[Confusion]
    calibrated: Believed
    before: Believed
    coverage: Sequence[Answered]
    curve: Sequence[Answered]
    at_threshold: Answered | None
    doubts: Sequence[Doubt]
    unknown: Unknown | None
    guarantee: Guarantee | None


@dataclass(frozen=True, slots=True, kw_only=True)
class OfReals:
    """Of a regression, in the unit of its target; intervals of 95 %."""

    mse: Estimate
    rmse: Estimate
    mae: Estimate
    r2: Estimate


@dataclass(frozen=True, slots=True, kw_only=True)
class Evaluation:
    """What a labelled file says of a bundle.

    Attributes:
        bundle, input: folder, and file or folder, as they were named.
        classes, reals: what was found; one of them is None.
        rows: that are scored.
        different: of them, those that are equal or nearly so counted once.
        origins: groups of them that come from one person, session or document, where the file says so.
        said: what a reader should know of it, one line each.
    """

    bundle: str
    input: str
    rows: int
    different: int
    origins: int | None
    classes: OfClasses | None
    reals: OfReals | None
    said: Sequence[str]

    def as_json(self) -> dict[str, Any]:
        """JSON values, key for key."""
        return to_json(self)
