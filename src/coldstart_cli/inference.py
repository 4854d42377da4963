"""What a predictor costs: adaptation and inference time, parameters, FLOPs, peak memory."""

from __future__ import annotations

import statistics
from collections.abc import Iterable
from typing import Any

import torch
from torch import nn

from coldstart_cli import metrics
from coldstart_cli.core import Inputs, Strategy, Task, map_inputs, n_examples
from coldstart_cli.evaluation import EvaluationPlan, scored
from coldstart_cli.hardware import Hardware


def adaptation_ms(strategy: Strategy, tasks: Iterable[Task], step: int, hardware: Hardware) -> float:
    """Median milliseconds of adaptation up to `step`, one task at a time on the whole machine."""
    seconds = [
        float(scored(strategy, task, [step], hardware, beside=False)[0]["adapt_seconds"]) for task in tasks
    ]
    return 1000 * statistics.median(seconds)


def costs(strategy: Strategy, task: Task, plan: EvaluationPlan, hardware: Hardware) -> dict[str, Any]:
    """What the adapted predictor costs on this hardware.

    Returns:
        p50 and p95 of a call in milliseconds for each batch size, after a warm-up and with the device
        synchronised; parameters; FLOPs for one input (a multiply-add is 2); the same of each predictor
        that is scored beside it (`beside`); peak memory of the process in bytes.
    """
    strategy.eval()
    task = task.to(hardware.device)
    adaptation = strategy.adapt(task.support)
    first = next(adaptation)
    adaptation.close()
    beside = {role: _predictor_costs(build(), task, plan, hardware) for role, build in first.beside.items()}
    own = _predictor_costs(first.module, task, plan, hardware)
    return {**own, "peak_memory": hardware.peak_memory(), "beside": beside}


def _predictor_costs(
    module: nn.Module, task: Task, plan: EvaluationPlan, hardware: Hardware
) -> dict[str, Any]:
    inference = {}
    for batch_size in plan.batch_sizes:
        batch = repeated(task.query.inputs, batch_size)
        seconds = _call_seconds(module, batch, plan.timed_calls, hardware)
        inference[str(batch_size)] = metrics.percentiles(seconds)
    return {
        "inference": inference,
        "parameters": parameter_count(module),
        "flops": flops(module, repeated(task.query.inputs, 1)),
    }


def repeated(inputs: Inputs, n: int) -> Inputs:
    """n examples, the given ones over and over."""
    indices = torch.arange(n) % n_examples(inputs)
    return map_inputs(lambda tensor: tensor[indices.to(tensor.device)], inputs)


def parameter_count(module: nn.Module) -> int:
    """Real numbers that the predictor holds, those that adaptation made included, shared ones once.

    Constants count too: a frozen encoder is as large as one that learns, though no state dict holds it.
    """
    tensors = {id(tensor): tensor for tensor in (*module.parameters(), *module.buffers())}
    return sum(tensor.numel() for tensor in tensors.values() if tensor.is_floating_point())


def flops(module: nn.Module, inputs: Inputs) -> int:
    """Floating-point operations of a call, a multiply-add counted as 2."""
    from torch.utils.flop_counter import FlopCounterMode

    with torch.no_grad(), FlopCounterMode(display=False) as counter:
        module(inputs)
    return int(counter.get_total_flops())


def _call_seconds(module: nn.Module, batch: Inputs, calls: int, hardware: Hardware) -> list[float]:
    seconds = []
    with torch.no_grad(), hardware.autocast():
        for _ in range(calls + 10):
            before = hardware.now()
            module(batch)
            seconds.append(hardware.now() - before)
    return seconds[10:]
