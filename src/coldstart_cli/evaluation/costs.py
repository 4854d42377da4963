"""What a predictor costs: adaptation and inference time, parameters, FLOPs, peak memory."""

from __future__ import annotations

import contextlib
import gc
import statistics
from collections.abc import Callable, Hashable, Iterable, Iterator, Mapping, Sequence
from functools import partial
from typing import TypeVar

import torch
from torch import nn

from coldstart_cli.core.strategy import Strategy
from coldstart_cli.core.tasks import Inputs, Task, map_inputs, n_examples
from coldstart_cli.evaluation.adaptations import Adaptations
from coldstart_cli.evaluation.loop import EvaluationPlan
from coldstart_cli.hardware import Hardware
from coldstart_cli.metrics import measures
from coldstart_cli.metrics.results import Costs, PredictorCosts, Times
from coldstart_cli.models.preprocess import Preprocess
from coldstart_cli.models.pretrained.features import FrozenFeatures, Pretrained, WithEncoder
from coldstart_cli.tracing.flops import flops

Key = TypeVar("Key", bound=Hashable)


WARM_UP = 10
"""Untimed calls of each predictor and batch size, in which caches fill and kernels are chosen."""
TURN = 10
"""Calls in a row before another predictor or batch size has its turn."""
LONG, FEWEST = 5.0, 3
"""Seconds after which a slow predictor has been called often enough, if it was called `FEWEST` times."""


def adaptation_ms(strategy: Strategy, tasks: Iterable[Task], step: int, hardware: Hardware) -> float:
    """Median milliseconds of adaptation up to `step`, one task at a time on the whole machine."""
    with _without_garbage_collection():
        placed = (task.to(hardware.device) for task in tasks)
        # a new object for each, so that none is replayed, as with a single task in practice
        written = [Adaptations([step], hardware, beside=False)(strategy.eval(), task) for task in placed]
        seconds = [answers[0].seconds for answers in written]
    return 1000 * statistics.median(seconds)


def costs(
    strategy: Strategy,
    task: Task,
    plan: EvaluationPlan,
    hardware: Hardware,
    adaptation_ms: Mapping[int, float],
    preprocess: Preprocess,
) -> Costs:
    """What the adapted predictor costs on this hardware, and the predictors that are scored beside it.

    Times are taken after a warm-up and with the device synchronised. Where a predictor reads features of a
    frozen encoder, the encoder is a part of it: its time, its parameters and its FLOPs count.

    Args:
        adaptation_ms: by k_shot, measured before.
        preprocess: of the model.
    """
    strategy.eval()
    task = task.to(hardware.device)
    adaptation = strategy.adapt(task.support)
    first = next(adaptation)
    adaptation.close()
    # After 0 steps: a predictor's cost does not depend on the values in it.
    modules = {"": first.module, **{role: build() for role, build in first.beside.items()}}
    inputs = task.query.inputs
    if (read := raw_inputs(preprocess)) is not None:
        inputs, encoder = read
        modules = {role: WithEncoder(encoder, module) for role, module in modules.items()}
    batches = {size: repeated(inputs, size) for size in plan.batch_sizes}
    with torch.no_grad(), hardware.autocast():
        calls = {
            (role, size): partial(module, batch)
            for role, module in modules.items()
            for size, batch in batches.items()
        }
        seconds = timed(calls, hardware, least=plan.timed_calls, total=plan.timed_seconds)
    one = repeated(inputs, 1)
    with torch.no_grad():
        operations = {role: flops(partial(module, one)) for role, module in modules.items()}
    found = {
        role: PredictorCosts(
            {size: _times(seconds[role, size]) for size in batches},
            parameter_count(module),
            operations[role],
        )
        for role, module in modules.items()
    }
    own = found.pop("")
    return Costs(own.inference, own.parameters, own.flops, hardware.peak_memory(), found, adaptation_ms)


def raw_inputs(preprocess: Preprocess) -> tuple[Inputs, Pretrained] | None:
    """What a frozen encoder reads of some examples, and the encoder; None where there is none."""
    if not isinstance(preprocess, FrozenFeatures) or (inputs := preprocess.raw_inputs()) is None:
        return None
    return inputs, preprocess.encoder.to(preprocess.device).eval()


def encoding_ms(preprocess: Preprocess, n: int, hardware: Hardware) -> float:
    """Milliseconds in which a frozen encoder reads the n examples of a support set; 0 where there is none."""
    if n == 0 or (read := raw_inputs(preprocess)) is None:
        return 0.0
    inputs, encoder = read
    call = partial(encoder, repeated(inputs, n))
    with torch.no_grad(), hardware.autocast():
        call()  # warm
        seconds = []
        for _ in range(FEWEST):
            before = hardware.now()
            call()
            seconds.append(hardware.now() - before)
    return 1000 * statistics.median(seconds)


def _times(seconds: Sequence[float]) -> Times:
    return Times(**measures.percentiles(seconds), calls=len(seconds))


def timed(
    calls: Mapping[Key, Callable[[], object]], hardware: Hardware, *, least: int, total: float
) -> dict[Key, list[float]]:
    """Seconds of every single call, the keys taking turns, so that what slows the machine down slows all.

    Turns go on until each has been called `least` times and each has taken `total` seconds; what takes
    seconds a call is called less often, see `LONG`. Python's garbage collector is off meanwhile: its pauses
    belong to the process, not to the predictor.
    """
    for call in calls.values():
        before = hardware.now()
        for _ in range(WARM_UP):
            call()
            if hardware.now() - before > LONG:
                break
    seconds: dict[Key, list[float]] = {key: [] for key in calls}

    def is_slow(key: Key) -> bool:
        return len(seconds[key]) >= FEWEST and sum(seconds[key]) > max(LONG, total)

    waiting = list(calls)
    with _without_garbage_collection():
        while waiting:
            for key in waiting:
                calls[key]()  # untimed: the call before was another's, and left other data in the caches
                for _ in range(TURN):
                    before = hardware.now()
                    calls[key]()
                    seconds[key].append(hardware.now() - before)
                    if is_slow(key):
                        break
            waiting = [
                key
                for key in waiting
                if not is_slow(key) and (len(seconds[key]) < least or sum(seconds[key]) < total)
            ]
    return seconds


@contextlib.contextmanager
def _without_garbage_collection() -> Iterator[None]:
    gc.collect()
    enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if enabled:
            gc.enable()


def repeated(inputs: Inputs, n: int) -> Inputs:
    """n examples, the given ones repeated in order."""
    indices = torch.arange(n) % n_examples(inputs)
    return map_inputs(lambda tensor: tensor[indices.to(tensor.device)], inputs)


def parameter_count(module: nn.Module) -> int:
    """Real numbers in the predictor, including those that adaptation made; shared tensors count once.

    Constants count too: a frozen encoder is as large as one that learns, though no state dict has it.
    """
    # By identity: a tensor that two modules share is stored once.
    tensors = {id(tensor): tensor for tensor in (*module.parameters(), *module.buffers())}
    return sum(tensor.numel() for tensor in tensors.values() if tensor.is_floating_point())
