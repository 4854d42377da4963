"""The hardware target: device, threads, precision, determinism and a synchronised clock."""

from __future__ import annotations

import contextlib
import ctypes
import os
import platform
import random
import resource
import sys
import time
import warnings
from collections.abc import Iterator
from typing import Annotated, Literal

import numpy as np
import torch
from annotated_types import Ge
from torch import nn

from coldstart_cli.errors import RequestError
from coldstart_cli.files.caching import cache_folder
from coldstart_cli.processes import ranks
from coldstart_cli.tracing import compiled, replays

WORKSPACE = "CUBLAS_WORKSPACE_CONFIG"
"""The environment variable without which cuBLAS is not deterministic."""


class Hardware:
    """The hardware that a run computes on.

    Args:
        device: `auto` takes cuda, then mps, then cpu.
        threads: of the CPU for each process; None for all cores, divided among the processes.
        processes: number that train one run together, each on its part of every batch; None for one per
            GPU.
        precision: of the forward pass: fp32, or bf16 under autocast with weights in fp32. A gradient
            through inner gradients is some 18 % off in bf16 and is refused; `bf16_second_order` forces it.
        deterministic: the same seed gives the same numbers, on the same machine and thread count.
        vectorize: all tasks of a batch in one call (`vmap`) or one after another (`loop`). `auto` loops
            where a network with convolutions runs on a CPU, for vmap turns them into grouped convolutions, at
            half the speed and ten times the memory; and where an encoder cannot be lifted.
        shard: while a run trains, each process holds a part of the weights, gradients and moments of encoders
            (FSDP2), where otherwise each holds all of them; what is computed is the same.
        replay: the computation of a task is recorded once and replayed for later ones of its shape, with
            the same bits; otherwise each is computed as it is written, which is slower.
        compile: recordings of training are compiled by a C++ compiler, which rounds otherwise
            (`tracing.compiled`); a run is compiled from its first step on or not at all.
    """

    def __init__(
        self,
        *,
        device: Literal["auto", "cpu", "cuda", "mps"],
        threads: Annotated[int, Ge(1)] | None,
        processes: Annotated[int, Ge(1)] | None,
        precision: Literal["fp32", "bf16", "bf16_second_order"],
        deterministic: bool,
        vectorize: Literal["auto", "vmap", "loop"],
        replay: bool,
        shard: bool,
        compile: bool,
    ) -> None:
        # Under torchrun the number of processes is decided already.
        place = ranks.place()
        self.device = torch.device(_available(device, processes))
        self.processes = place.world if place.world > 1 else _processes(processes, self.device)
        if self.device.type == "cuda" and self.processes > 1:
            self.device = torch.device("cuda", place.local_rank)
        here = place.local_world if place.world > 1 else self.processes
        self.threads = max(1, usable_cores() // here) if threads is None else threads
        self.precision, self.deterministic, self.vectorize = precision, deterministic, vectorize
        self.replay, self.shard, self.compile = replay, shard, compile
        if compile and (shard or not replay):
            other = "shard=true" if shard else "replay=false"
            raise RequestError(
                f"hardware.compile: true, and recordings are what is compiled, of which hardware.{other} "
                "makes none; leave one of them out"
            )
        if shard and self.processes == 1:
            raise RequestError(
                "hardware.shard: true, and there is one process, with nobody to share the weights with; give "
                "more (hardware=gpus, or hardware.processes=2), or hardware.shard=false"
            )

    def prepare(self, seed: int) -> None:
        """Sets threads, determinism, whether tasks are replayed, and every global seed of this process."""
        torch.set_num_threads(self.threads)
        replays.switch(self.replay)
        compiled.switch(self.compile, lambda: cache_folder() / "compiled")
        if self.device.type == "cuda" and self.device.index is not None:
            torch.cuda.set_device(self.device)
        keep_freed_memory()
        if self.deterministic:
            os.environ.setdefault(WORKSPACE, ":4096:8")
            # use_deterministic_algorithms sets the same flag, but first imports torch's compiler (.7 s)
            # On MPS several operations have no deterministic form, so refusing them would refuse nearly
            # all.
            torch.set_deterministic_debug_mode("warn" if self.device.type == "mps" else "error")
            # Filling fresh memory with nan finds bugs of kernels; here it would only cost time at each
            # allocation.
            torch.utils.deterministic.fill_uninitialized_memory = False  # type: ignore[attr-defined]
        random.seed(seed)
        # numpy accepts 32 bits of a seed and refuses more.
        np.random.seed(seed % 2**32)
        torch.manual_seed(seed)

    def now(self) -> float:
        """Seconds on a monotonic clock, read after the device has finished its work."""
        if self.device.type == "cuda":
            torch.cuda.synchronize(self.device)
        elif self.device.type == "mps":
            torch.mps.synchronize()
        return time.perf_counter()

    @contextlib.contextmanager
    def autocast(self) -> Iterator[None]:
        """The precision of the forward pass, for a block that does not yield to its caller."""
        with torch.autocast(self.device.type, torch.bfloat16, enabled=self.precision != "fp32"):
            yield

    def vectorizes(self, encoder: nn.Module) -> bool:
        """Whether tasks of a batch are computed in one call for this network.

        Raises:
            RequestError: where vmap is requested and the network cannot be lifted.
        """
        lifted = all(getattr(module, "vectorizable", True) for module in encoder.modules())
        if self.vectorize == "vmap" and not lifted:
            raise RequestError(
                "hardware.vectorize: this model cannot be computed under vmap; choose auto or loop"
            )
        if self.vectorize != "auto" or not lifted:
            return self.vectorize == "vmap"
        convolves = any(isinstance(module, nn.Conv1d | nn.Conv2d) for module in encoder.modules())
        return not (convolves and self.device.type == "cpu")

    def peak_memory(self) -> int:
        """Peak bytes of the device's allocator, or of the process's resident set where there is none."""
        if self.device.type == "cuda":
            return torch.cuda.max_memory_allocated(self.device)
        if sys.platform == "linux":  # where ru_maxrss includes the peak of the parent process
            with contextlib.suppress(OSError), open("/proc/self/status", encoding="ascii") as lines:
                return next(1024 * int(line.split()[1]) for line in lines if line.startswith("VmHWM:"))
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        return peak if sys.platform == "darwin" else peak * 1024

    def facts(self) -> dict[str, str | int | bool]:
        """What a reader needs to know to judge a time."""
        name = platform.processor() or platform.machine()
        if self.device.type == "cuda":
            name = torch.cuda.get_device_name(self.device)
        elif sys.platform == "linux":
            name = _cpu_name() or name
        return {
            "device": self.device.type,
            "name": name,
            "threads": self.threads,
            **({"processes": self.processes} if self.processes > 1 else {}),
            "precision": self.precision,
            "deterministic": self.deterministic,
        }


@contextlib.contextmanager
def settings_kept() -> Iterator[None]:
    """Restores afterwards what `Hardware.prepare` sets of torch, numpy, random and the environment."""
    workspace = os.environ.get(WORKSPACE)
    numbers, random_state, numpy_state = torch.get_rng_state(), random.getstate(), np.random.get_state()
    threads, strictness = torch.get_num_threads(), torch.get_deterministic_debug_mode()
    filling = torch.utils.deterministic.fill_uninitialized_memory  # type: ignore[attr-defined]
    try:
        yield
    finally:
        if workspace is None:
            os.environ.pop(WORKSPACE, None)
        torch.set_num_threads(threads)
        torch.set_deterministic_debug_mode(strictness)
        torch.utils.deterministic.fill_uninitialized_memory = filling  # type: ignore[attr-defined]
        torch.set_rng_state(numbers)
        random.setstate(random_state)
        np.random.set_state(numpy_state)


def usable_cores() -> int:
    """Number of cores that this process may use, which may be fewer than the machine has."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def keep_freed_memory() -> None:
    """Makes glibc keep freed memory instead of returning it and faulting it in again at every step.

    Without this a convolution step takes some 70,000 page faults; with it, 2,500.
    """
    if sys.platform != "linux":
        return
    with contextlib.suppress(OSError, AttributeError):
        mallopt = ctypes.CDLL("libc.so.6").mallopt
        trim_threshold, top_pad, mmap_threshold = -1, -2, -3
        # Large blocks come from the heap rather than from mmap, whose pages are returned at every free.
        mallopt(mmap_threshold, 1 << 30)
        mallopt(trim_threshold, 1 << 30)
        mallopt(top_pad, 64 << 20)


def _available(device: str, processes: int | None) -> str:
    """The device; `auto` chooses one that has room for all processes."""
    present = {"cpu": True, "cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available()}
    if device == "auto" and processes is not None and processes > 1:
        gpus = torch.cuda.device_count() if present["cuda"] else 0
        if 0 < gpus < processes:
            warnings.warn(
                f"hardware.device: {processes} processes need a GPU each, this machine has {gpus}; the CPU "
                "is used (hardware.processes=null uses the GPUs)",
                RuntimeWarning,
                stacklevel=3,
            )
        return "cuda" if gpus >= processes else "cpu"
    if device == "auto":
        return next(name for name in ("cuda", "mps", "cpu") if present[name])
    if not present[device]:
        here = ", ".join(name for name, there in present.items() if there)
        raise RequestError(
            f"hardware.device: this machine has no {device}; choose auto or one of: {here} (E51)"
        )
    return device


def _processes(processes: int | None, device: torch.device) -> int:
    """How many processes train a run.

    Raises:
        RequestError: where the device has no room for that many.
    """
    gpus = torch.cuda.device_count() if device.type == "cuda" else 1
    if processes is None:
        return gpus
    if device.type != "cpu" and processes > max(1, gpus):
        raise RequestError(
            f"hardware.processes: {processes} need a GPU each and this machine has {gpus}; "
            "choose hardware.processes=null for all there are"
        )
    return processes


def _cpu_name() -> str | None:
    with contextlib.suppress(OSError), open("/proc/cpuinfo", encoding="utf-8") as lines:
        return next((line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")), None)
    return None
