"""How many threads of a CPU compute the tasks of a meta-batch, and how.

Two cores that share one small convolution wait for each other at every operation, and where another
process takes one of them, the other waits all that time. Two cores with a task each do not wait, nor does
one core that computes something tiny alone.
"""

from __future__ import annotations

import contextlib
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, wait

import torch
from torch import Tensor

from coldstart_cli.core.tasks import Task
from coldstart_cli.training.meta_batch import Found, TaskGradients, in_one_call, kind, one_after_another

TINY = 1 << 16
"""Number of weights, over all tasks of a call, below which a second thread has next to nothing to do."""


class TaskThreads:
    """Recordings of tasks, replayed side by side.

    The gradients come in the order of the tasks, so their sum has the same bits whichever thread was first,
    and for any number of threads as long as each task has one thread: the bits of the plain loop on one
    thread. What cannot be recorded, or has no convolution, gets all threads for one task after another: small
    networks spend their time in Python, which runs on one thread at a time.

    Args:
        n_threads: of all tasks together.
        n_tasks: how many are computed in one step.
    """

    def __init__(self, n_threads: int, n_tasks: int) -> None:
        self.n_threads, self.n_workers = n_threads, min(n_threads, n_tasks)
        self.n_each = n_threads // self.n_workers
        self.pool = ThreadPoolExecutor(
            self.n_workers, "task", initializer=torch.set_num_threads, initargs=(self.n_each,)
        )

    def __call__(self, gradients: TaskGradients, tasks: Sequence[Task]) -> Iterator[Found]:
        """What `meta_batch.one_after_another` gives.

        Raises:
            Exception: what a task raised; no further task is started then.
        """
        first: list[Found] = []
        replays, shape = gradients.replays, kind(tasks[:1])
        if replays.recordable and replays.convolves(shape) is None:
            with intra_op_threads(self.n_each):
                # The first task is recorded here, and tells whether a recording is possible and has a
                # convolution.
                first.append(gradients(tasks[:1]))
        if not replays.convolves(shape):
            yield from one_after_another(gradients, tasks)
            return
        yield from first
        with intra_op_threads(self.n_each):
            yield from self._side_by_side(gradients, tasks[len(first) :])

    def close(self) -> None:
        self.pool.shutdown(cancel_futures=True)

    def _side_by_side(self, gradients: TaskGradients, tasks: Sequence[Task]) -> Iterator[Found]:
        waiting: deque[Future[Found]] = deque()
        try:
            for task in tasks:
                replay = gradients.ready([task])
                if replay is not None:
                    waiting.append(self.pool.submit(replay))
                else:  # on this thread only: a functional call changes the modules while it runs
                    done = Future[Found]()
                    done.set_result(gradients([task]))
                    waiting.append(done)
                if len(waiting) == 2 * self.n_workers:  # bounds the gradients that are kept in memory
                    yield waiting.popleft().result()
            while waiting:
                yield waiting.popleft().result()
        finally:
            for future in waiting:
                future.cancel()
            # A running replay cannot be cancelled, and it reads the weights that the caller may change next.
            wait(waiting)


@contextlib.contextmanager
def intra_op_threads(n: int) -> Iterator[None]:
    """Sets their number; for other threads as well, since matrix products read it from the process."""
    usual = torch.get_num_threads()
    torch.set_num_threads(n)
    try:
        yield
    finally:
        torch.set_num_threads(usual)


def in_one_call_on_one_thread(gradients: TaskGradients, tasks: Sequence[Task]) -> Iterator[Found]:
    """What `meta_batch.in_one_call` gives."""
    with intra_op_threads(1):
        yield from in_one_call(gradients, tasks)


def tiny(weights: Mapping[str, Tensor], n_tasks: int) -> bool:
    """Whether tasks that are computed in one call are best computed by one thread.

    Two threads are a tenth faster for the smallest networks, but seven times slower beside a busy process.
    """
    return n_tasks * sum(w.numel() for w in weights.values()) < TINY
