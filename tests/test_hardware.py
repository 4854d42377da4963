"""The hardware target: what is refused, what is set, what is told."""

from __future__ import annotations

import contextlib
import os
import random
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from coldstart_cli.errors import RequestError
from coldstart_cli.hardware import Hardware, usable_cores
from coldstart_cli.tracing.replays import Replays

pytestmark = pytest.mark.usefixtures("torch_settings")


def hardware(**changes: Any) -> Hardware:
    values: dict[str, Any] = {
        "device": "cpu", "threads": 1, "processes": 1, "precision": "fp32", "deterministic": True,
        "vectorize": "auto", "replay": True, "shard": False, "compile": False,
    }  # fmt: skip
    return Hardware(**{**values, **changes})


def test_one_process_shares_its_weights_with_nobody() -> None:
    assert hardware(shard=True, processes=2).shard
    with pytest.raises(RequestError, match=r"^hardware.shard: true, and there is one process, "):
        hardware(shard=True)


@pytest.mark.parametrize("device", ["cuda", "mps"])
def test_hardware_that_is_absent_is_refused(device: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: False)
    with pytest.raises(RequestError) as caught:
        hardware(device=device)
    assert str(caught.value) == (
        f"hardware.device: this machine has no {device}; choose auto or one of: cpu (E51)"
    )


@pytest.mark.parametrize(
    ("cuda", "mps", "device"), [(False, False, "cpu"), (False, True, "mps"), (True, True, "cuda")]
)
def test_hardware_auto_takes_the_best(
    cuda: bool, mps: bool, device: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: cuda)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: mps)
    assert hardware(device="auto").device.type == device


@pytest.mark.parametrize(("gpus", "device"), [(1, "cpu"), (2, "cuda")])
def test_hardware_auto_takes_what_has_room_for_all_processes(
    gpus: int, device: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: gpus)
    with (
        contextlib.nullcontext() if device == "cuda" else pytest.warns(RuntimeWarning, match="machine has 1")
    ):
        made = hardware(device="auto", processes=2)
    assert (made.device.type, made.processes) == (device, 2)


def test_hardware_refuses_more_processes_than_gpus(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 3)
    assert hardware(device="cuda", processes=None).processes == 3
    with pytest.raises(RequestError) as caught:
        hardware(device="cuda", processes=4)
    assert str(caught.value) == (
        "hardware.processes: 4 need a GPU each and this machine has 3; "
        "choose hardware.processes=null for all there are"
    )


def test_hardware_processes_share_the_cores(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: set(range(8)), raising=False)
    assert hardware(threads=None, processes=2).threads == 4
    assert hardware(threads=None, processes=16).threads == 1
    assert hardware(threads=3, processes=2).threads == 3
    assert hardware(processes=2).facts()["processes"] == 2
    assert "processes" not in hardware().facts()


def test_hardware_threads_are_set_when_prepared() -> None:
    hardware(threads=2).prepare(0)
    assert torch.get_num_threads() == 2
    hardware(threads=1).prepare(0)
    assert torch.get_num_threads() == 1
    assert hardware(threads=None).threads == usable_cores() >= 1


def test_usable_cores_are_those_of_this_process(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: {3, 5, 7}, raising=False)
    assert usable_cores() == 3
    monkeypatch.delattr(os, "sched_getaffinity")
    monkeypatch.setattr(os, "cpu_count", lambda: None)
    assert usable_cores() == 1


def test_hardware_prepare_says_whether_tasks_are_replayed() -> None:
    for replay in (False, True):
        hardware(replay=replay).prepare(0)
        assert Replays("it").on == replay


def test_hardware_prepare_sets_every_seed() -> None:
    def drawn(seed: int) -> tuple[float, float, float]:
        hardware().prepare(seed)
        return random.random(), float(np.random.rand()), float(torch.rand(()))

    assert drawn(3) == drawn(3)
    assert all(one != other for one, other in zip(drawn(3), drawn(4), strict=True))
    drawn(2**40)  # larger than numpy's seeds


def test_hardware_deterministic_refuses_operations_that_are_not() -> None:
    hardware(deterministic=True).prepare(0)
    assert torch.are_deterministic_algorithms_enabled()
    torch.use_deterministic_algorithms(False)
    hardware(deterministic=False).prepare(0)
    assert not torch.are_deterministic_algorithms_enabled()


def test_hardware_vectorizes_unless_convolutions_run_on_a_cpu() -> None:
    line = nn.Linear(2, 2)
    convolutions = nn.Sequential(nn.Sequential(nn.Conv2d(1, 1, 1)))
    assert hardware().vectorizes(line)
    assert not hardware().vectorizes(convolutions)
    assert hardware(vectorize="vmap").vectorizes(convolutions)
    assert not hardware(vectorize="loop").vectorizes(line)


@pytest.mark.parametrize(
    ("precision", "dtype"),
    [("fp32", torch.float32), ("bf16", torch.bfloat16), ("bf16_second_order", torch.bfloat16)],
)
def test_hardware_precision_is_that_of_the_forward_pass(precision: str, dtype: torch.dtype) -> None:
    line = nn.Linear(2, 2)
    with hardware(precision=precision).autocast():
        assert line(torch.ones(1, 2)).dtype == dtype
    assert line(torch.ones(1, 2)).dtype == line.weight.dtype == torch.float32


def test_hardware_tells_what_a_reader_needs() -> None:
    facts = hardware(threads=1).facts()
    assert list(facts) == ["device", "name", "threads", "precision", "deterministic"]
    assert facts["device"] == "cpu"
    assert isinstance(facts["name"], str)
    assert facts["name"]
    here = hardware()
    assert here.now() <= here.now()
    assert here.peak_memory() > 10 * 2**20  # bytes, not the kibibytes that Linux counts in
