"""Several processes that train one run: which of them this is, and what they tell one another.

With one process, which is the rule, every function here does nothing and costs nothing; torch is imported
where there are more. Only outer loops, optimizers and whoever writes files ask: no strategy does.
"""

from __future__ import annotations

import contextlib
import functools
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from itertools import islice
from typing import TYPE_CHECKING, ParamSpec, TypeVar, cast

from coldstart_cli.errors import JobError, RequestError

if TYPE_CHECKING:
    from torch import nn

T = TypeVar("T")
Result = TypeVar("Result")
P = ParamSpec("P")

AT_ONCE = 16
"""Items of `spread` that a rank works on between two messages."""


@dataclass(frozen=True, slots=True)
class Place:
    """This process among those of its run.

    Attributes:
        rank: its number, 0 for the one that writes, logs and prints.
        world: processes of the run.
        local_rank, local_world: the same on this host alone.
    """

    rank: int = 0
    world: int = 1
    local_rank: int = 0
    local_world: int = 1


_place = Place()


def place() -> Place:
    return _place


def world() -> int:
    return _place.world


def first() -> bool:
    """Whether this is the process that writes, logs and prints."""
    return _place.rank == 0


@contextlib.contextmanager
def joined(place: Place, meeting: str) -> Iterator[None]:
    """Takes part in a run as one of `place.world` processes, while the block lasts.

    Args:
        meeting: where they find each other, a URL that torch.distributed.init_process_group knows.
    """
    import torch
    from torch import distributed

    global _place
    backend = "cpu:gloo,cuda:nccl" if torch.cuda.is_available() else "gloo"
    distributed.init_process_group(backend, init_method=meeting, rank=place.rank, world_size=place.world)
    _place = place
    try:
        yield
        distributed.barrier()  # none leaves while another still sends
    finally:
        _place = Place()
        distributed.destroy_process_group()


def mine() -> slice:
    """Those of a batch that this process computes: every `world`-th, from its rank on."""
    return slice(_place.rank, None, _place.world)


def weight(n_mine: int, n_all: int) -> float:
    """What a mean over `n_mine` of `n_all` counts for, so that the mean over ranks is that over all."""
    return n_mine * _place.world / n_all


def average_gradients(parameters: Iterable[nn.Parameter]) -> None:
    """Each gradient becomes its mean over ranks, in one message for each type of number.

    A parameter without a gradient on some ranks has 0 there; one without on all of them stays without. Those
    that are divided among ranks have the mean already (`shards`).
    """
    if _place.world == 1:
        return
    import torch
    from torch import distributed

    from coldstart_cli.processes.shards import is_part

    by_type: dict[tuple[torch.dtype, torch.device], list[nn.Parameter]] = {}
    for parameter in parameters:
        if is_part(parameter):
            continue
        by_type.setdefault((parameter.dtype, parameter.device), []).append(parameter)
    for (dtype, device), group in by_type.items():
        has = torch.tensor([p.grad is not None for p in group], dtype=dtype, device=device)
        parts = [torch.zeros_like(p) if p.grad is None else p.grad for p in group]
        flat = torch.cat([has, *(part.reshape(-1) for part in parts)])
        distributed.all_reduce(flat)
        sizes = [len(group), *(p.numel() for p in group)]
        some, *means = torch.split(flat.div_(_place.world), sizes)
        for parameter, any_has, mean in zip(group, some.tolist(), means, strict=True):
            if any_has:
                parameter.grad = mean.view_as(parameter)


def averaged(metrics: Mapping[str, float], n: int) -> tuple[dict[str, float], int]:
    """The mean over ranks of each metric, already weighted, and the sum of `n`."""
    if _place.world == 1:
        return dict(metrics), n
    import torch
    from torch import distributed

    values = torch.tensor([*metrics.values(), n * _place.world], dtype=torch.float64)
    distributed.all_reduce(values)
    *means, total = (values / _place.world).tolist()
    return dict(zip(metrics, means, strict=True)), round(total)


def largest(number: int) -> int:
    """The largest of all ranks' numbers."""
    if _place.world == 1:
        return number
    import torch
    from torch import distributed

    found = torch.tensor([number])
    distributed.all_reduce(found, op=distributed.ReduceOp.MAX)
    return int(found)


def agreed(ask: Callable[[], T]) -> T:
    """What the first rank answers, on every rank; where it refuses, all refuse.

    So what lies in files is read by the first rank alone, and hosts need not share a folder.

    Raises:
        RequestError, JobError: as `ask` on the first rank.
    """
    if _place.world == 1:
        return ask()
    from torch import distributed

    answer: list[object] = [None]
    if first():
        try:
            answer = [ask()]
        except (RequestError, JobError) as error:
            answer = [error]
    distributed.broadcast_object_list(answer, src=0)
    if isinstance(answer[0], RequestError | JobError):
        raise answer[0]
    return cast("T", answer[0])


def alone(write: Callable[P, None]) -> Callable[P, None]:
    """A function that the first rank runs and that does nothing on the others."""

    @functools.wraps(write)
    def run(*args: P.args, **kwargs: P.kwargs) -> None:
        if first():
            write(*args, **kwargs)

    return run


def spread(items: Iterable[T], work: Callable[[Iterable[T]], Iterator[Result]]) -> Iterator[Result]:
    """`work(items)`, which gives a result for each item: shared among ranks, and on all of them in order."""
    if _place.world == 1:
        yield from work(items)
        return
    waiting = iter(items)
    while batch := list(islice(waiting, AT_ONCE * _place.world)):
        everyones = gathered(list(work(batch[mine()])))
        for i in range(len(batch)):
            yield everyones[i % _place.world][i // _place.world]


def gathered(own: T) -> list[T]:
    """What each rank gives, by rank."""
    from torch import distributed

    everyones: list[T | None] = [None] * _place.world
    distributed.all_gather_object(everyones, own)
    return cast("list[T]", everyones)
