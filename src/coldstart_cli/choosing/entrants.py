"""The candidates that can serve a task: each read, built and timed before anything is judged."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import islice
from typing import Any

import numpy as np
import torch

from coldstart_cli.bundles.adapting.preparing import AdaptPlan, Prepared, prepared
from coldstart_cli.bundles.judging.held_out_labels import Rehearsal, takes_steps
from coldstart_cli.choosing.plan import ChoosePlan
from coldstart_cli.config.candidate_files import Candidate
from coldstart_cli.errors import RequestError
from coldstart_cli.evaluation.costs import raw_inputs, repeated, timed
from coldstart_cli.experiment.parts import preprocess_of
from coldstart_cli.metrics import measures
from coldstart_cli.models.pretrained.features import WithEncoder
from coldstart_cli.runs.run import Run

TIMED_STEPS, MOST_TIMED, TIMED_SECONDS = 3, 30, 1.0
"""Steps by which the seconds of an adaptation are foretold: so many, and on until so long. One before them is
not timed: memory is asked for in it, and kernels are chosen."""
LEAST_CALLS, LEAST_SECONDS = 20, 0.2
"""Of the predictor, by which the time of an answer is measured."""


@dataclass(frozen=True, slots=True)
class Composed:
    """A candidate with what it comes to.

    Attributes:
        config: resolved, as for `adapt`.
        run: the run that is adapted, or None.
        words: by which `coldstart adapt` adapts it without choosing.
    """

    candidate: Candidate
    config: Mapping[str, Any]
    plan: AdaptPlan
    run: Run | None
    words: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Entrant:
    """A candidate that can serve the task.

    Attributes:
        frozen: whether its encoder stays as it is.
        seconds: of an adaptation to all labels, foretold by a few of its steps.
        core: the share of a core that this process had meanwhile; more than 1 with several threads.
        inner: adaptations that choose its number of steps, for each one that is judged.
        p95_ms: of an answer to one input, with the encoder.
        mb: of all that answers, with the encoder.
    """

    composed: Composed
    ready: Prepared
    frozen: bool
    seconds: float
    core: float
    inner: int
    p95_ms: float
    mb: float

    @property
    def name(self) -> str:
        return self.composed.candidate.name

    def cost(self, n_folds: int, n_repeats: int) -> float:
        """Seconds of cross-validation in so many folds, about."""
        share = 1 - 1 / n_folds
        return n_folds * n_repeats * (self.inner + 1) * self.seconds * share


def entered(all_of_them: Sequence[Composed], asked: ChoosePlan) -> tuple[list[Entrant], dict[str, str]]:
    """Those that can serve the task, and why others cannot.

    Raises:
        RequestError: where none can.
    """
    found, left_out, first = list[Entrant](), dict[str, str](), None
    for composed in all_of_them:
        name = composed.candidate.name
        try:
            entrant = _entrant(composed)
        except RequestError as error:
            left_out[name] = str(error)
            continue
        places = entrant.ready.task.labelled.places
        first = places if first is None else first
        if list(places) != list(first):
            left_out[name] = "its model reads other rows than the others'; nothing can be compared"
        elif (over := _over(entrant, asked)) is not None:
            left_out[name] = over
        else:
            found.append(entrant)
    if found:
        return found, left_out
    reasons = dict.fromkeys(left_out.values())
    if len(reasons) == 1:  # what is wrong is wrong with all of them: the data
        raise RequestError(next(iter(reasons)))
    told = "; ".join(f"{name}: {reason}" for name, reason in left_out.items())
    raise RequestError(f"choose: no candidate is left ({told}); name others (candidates=, runs=, model=)")


def _entrant(composed: Composed) -> Entrant:
    ready = prepared(composed.config, composed.plan, composed.run)
    strategy, support = ready.strategy, ready.support
    moves = any(p.requires_grad for n, p in strategy.named_parameters() if "encoder." in n)
    steps = takes_steps(strategy, support)
    rehearsal = Rehearsal(strategy, support, ready.together, lambda *_: None)
    choosing = steps and len(ready.candidates) > 1
    inner = rehearsal.n_to_select(composed.plan.folds_to_select) if choosing else 0
    ms, mb = _costs(composed, ready)
    seconds, core = _foretold(ready)
    return Entrant(composed, ready, not (moves and steps), seconds, core, inner, ms, mb)


def _foretold(ready: Prepared) -> tuple[float, float]:
    """Seconds of an adaptation to all labels, and the share of a core that this process had for it."""
    most = max(ready.candidates)
    ends = ready.strategy.last_step(ready.support)
    most = most if ends is None else min(most, ends)
    adaptation = ready.strategy.adapt(ready.support)
    before, of_core = time.perf_counter(), time.process_time()
    next(adaptation)
    warm = start = time.perf_counter()
    taken = 0
    for step, _ in enumerate(islice(adaptation, min(most, 1 + MOST_TIMED))):
        taken, now = step, time.perf_counter()
        if step == 0:
            warm = now
        elif step >= TIMED_STEPS and now - warm >= TIMED_SECONDS:
            break
    now, core = time.perf_counter(), time.process_time() - of_core
    adaptation.close()
    # where there is one step alone, that one is all there is to go by
    each = (now - warm) / taken if taken else warm - start
    return start - before + each * most, core / max(now - before, 1e-9)


def _costs(composed: Composed, ready: Prepared) -> tuple[float, float]:
    """95th percentile of the milliseconds of an answer to one input, and MB, of predictor and encoder."""
    adaptation = ready.strategy.adapt(ready.support)
    module = next(adaptation).module.eval()
    adaptation.close()
    inputs = ready.support.inputs
    preprocess = preprocess_of(composed.config["model"], "model", composed.config["trust"])
    if (read := raw_inputs(preprocess)) is not None:
        inputs, encoder = read
        module = WithEncoder(encoder, module)
    tensors = {id(t): t for t in (*module.parameters(), *module.buffers())}
    mb = sum(t.numel() * t.element_size() for t in tensors.values()) / 1e6
    if not len(ready.support) and read is None:
        return float("nan"), mb
    with torch.no_grad():
        call = partial(module, repeated(inputs, 1))
        seconds = timed({0: call}, ready.hardware, least=LEAST_CALLS, total=LEAST_SECONDS)[0]
    return float(measures.percentiles(seconds)["p95_ms"]), mb


def _over(entrant: Entrant, asked: ChoosePlan) -> str | None:
    """Which limit it breaks, or None."""
    if asked.p95_ms is not None and not np.isnan(entrant.p95_ms) and entrant.p95_ms > asked.p95_ms:
        return f"it takes {entrant.p95_ms:.3g} ms for an answer, p95_ms allows {asked.p95_ms:g}"
    if asked.max_mb is not None and entrant.mb > asked.max_mb:
        return f"it has {entrant.mb:.3g} MB, max_mb allows {asked.max_mb:g}"
    return None
