"""Whole meta-steps of our strategies against learn2learn's: one process, interleaved, medians.

make bench                         ours alone
make bench ARGS="--peers"          against learn2learn, whose source is downloaded once to .venv-bench
make bench ARGS="--peers --write"  writes docs/benchmarks.md;  --json prints records

Both sides compute the same meta-gradient: asserted in float64 before anything is timed. learn2learn
gets the network that its users write: contiguous, torch's batch norm, ReLU, pool.
"""

import argparse
import json
import os
import platform
import statistics
import time
from collections.abc import Callable
from pathlib import Path

import torch
from torch import Tensor, nn

from benchmarks.peer import Case, learn2learn_maml, peer_step, plain_network
from coldstart_cli.core import Examples, Support, Task
from coldstart_cli.models.conv import Conv4
from coldstart_cli.models.mlp import MLP
from coldstart_cli.models.network import Encoder
from coldstart_cli.objectives import Classification, Regression
from coldstart_cli.strategies.maml import MAML
from coldstart_cli.strategies.protonet import ProtoNet

REPOSITORY = Path(__file__).resolve().parents[1]

CASES = (
    Case("MAML, sinusoid, MLP 40-40, 25 tasks, K=10", 25, Regression(1), inner_lr=0.01),
    Case("MAML, Conv4, 5-way 1-shot, 4 tasks, 15 queries", 4, Classification(5)),
    Case("FOMAML, the same", 4, Classification(5), second_order=False),
    Case("ANIL, the same", 4, Classification(5), adapted="head"),
    Case("ProtoNet, Conv4, 5-way 1-shot, 15 queries", 1, Classification(5), prototypes=True),
)


class FixedTasks:
    """The same tasks in every step, so that no side pays for data."""

    def __init__(self, case: Case, dtype: torch.dtype) -> None:
        self.objective = case.objective
        generator = torch.Generator().manual_seed(0)
        self.all = [self._task(generator, dtype) for _ in range(case.n_tasks)]

    def tasks(self, split: str, indices: range) -> list[Task]:
        return self.all

    def _task(self, generator: torch.Generator, dtype: torch.dtype) -> Task:
        def examples(n: int) -> tuple[Tensor, Tensor]:
            if isinstance(self.objective, Regression):
                x = 10 * torch.rand(10, 1, generator=generator, dtype=torch.float64) - 5
                return x.to(dtype), x.sin().to(dtype)
            images = torch.rand(5 * n, 1, 28, 28, generator=generator, dtype=torch.float64)
            return images.to(dtype), torch.arange(5).repeat(n)

        return Task(Support(*examples(1), self.objective, 0), Examples(*examples(15)), "")


def our_strategy(case: Case) -> nn.Module:
    def still(parameters) -> torch.optim.Optimizer:
        return torch.optim.SGD(parameters, 0.0)  # steps like any other; the weights stay equal

    if isinstance(case.objective, Regression):
        encoder: Encoder = MLP((1,), hidden=[40, 40], activation="relu")
    else:
        encoder = Conv4((1, 28, 28), hidden=64, norm="batch_transductive", groups=1, downsample="pool")
    vectorize = isinstance(case.objective, Regression)  # what `auto` finds on a CPU
    if case.prototypes:
        return ProtoNet(encoder, still, vectorize, meta_batch_size=case.n_tasks)
    return MAML(
        encoder, still, case.objective.n_outputs, vectorize,
        inner_lr=case.inner_lr, inner_steps=1, second_order=case.second_order, adapted=case.adapted,
        learned_rates=False, meta_batch_size=case.n_tasks,
    )  # fmt: skip


def steppers(case: Case, maml: type[nn.Module] | None) -> dict[str, Callable[[], object]]:
    """A meta-step of each side, in float32, once their gradients were found equal in float64."""
    torch.manual_seed(0)
    strategy = our_strategy(case).double()
    exact, tasks = FixedTasks(case, torch.float64), FixedTasks(case, torch.float32)
    next(strategy.fit(exact))
    network = plain_network(case).double()
    if maml is not None:
        ours = strategy if case.prototypes else strategy.network
        network.load_state_dict(ours.state_dict(), strict=not case.prototypes)
        peer = peer_step(case, network, maml)
        peer(exact.all)
        theirs = dict(network.named_parameters())
        for name, parameter in ours.named_parameters():
            torch.testing.assert_close(parameter.grad, theirs[name].grad, rtol=1e-7, atol=1e-9)
        network.float()
    steps = strategy.float().fit(tasks)
    sides: dict[str, Callable[[], object]] = {"ours": lambda: next(steps)}
    if maml is not None:
        sides["learn2learn"] = lambda: peer(tasks.all)
    return sides


def timed(sides: dict[str, Callable[[], object]], seconds: float) -> dict[str, list[float]]:
    """Seconds of each step, side by side in turn, after a warm-up of three."""
    times: dict[str, list[float]] = {side: [] for side in sides}
    end = None
    for turn in range(10_000):
        for side, step in sides.items():
            start = time.perf_counter()
            step()
            if turn >= 3:
                times[side].append(time.perf_counter() - start)
        end = end or (time.perf_counter() + seconds if turn == 2 else None)
        if turn >= 12 and end is not None and time.perf_counter() > end:
            break
    return times


def summary(case: Case, times: dict[str, list[float]]) -> dict[str, object]:
    record: dict[str, object] = {"case": case.name, "n": len(times["ours"])}
    for side, values in times.items():
        low, middle, high = statistics.quantiles(values, n=4)
        record[side] = {"median_ms": 1e3 * middle, "quartiles_ms": [1e3 * low, 1e3 * high]}
    if "learn2learn" in times:
        pairs = zip(times["ours"], times["learn2learn"], strict=True)
        record["ratio"] = statistics.quantiles([theirs / ours for ours, theirs in pairs], n=4)
    return record


def table(records: list[dict]) -> str:
    def cell(side: dict | None) -> str:
        return (
            f"{side['median_ms']:.1f} ({side['quartiles_ms'][0]:.1f}-{side['quartiles_ms'][1]:.1f})"
            if side
            else "-"
        )

    def ratio(values: list[float] | None) -> str:
        return f"{values[1]:.2f} ({values[0]:.2f}-{values[2]:.2f})" if values else "-"

    lines = ["| meta-step | ours, ms | learn2learn, ms | times faster |", "| --- | --- | --- | --- |"]
    for r in records:
        lines.append(
            f"| {r['case']} | {cell(r['ours'])} | {cell(r.get('learn2learn'))} | {ratio(r.get('ratio'))} |"
        )
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--peers", action="store_true", help="measure learn2learn too")
    parser.add_argument("--json", action="store_true", help="print records instead of a table")
    parser.add_argument("--write", action="store_true", help="write docs/benchmarks.md")
    parser.add_argument("--threads", type=int, default=os.cpu_count(), help="intra-op threads of both sides")
    parser.add_argument("--seconds", type=float, default=10.0, help="time for each kind of step")
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    maml = learn2learn_maml() if arguments.peers else None
    records = [summary(case, timed(steppers(case, maml), arguments.seconds)) for case in CASES]
    where = f"torch {torch.__version__}, {platform.machine()}, {os.cpu_count()} cores"
    where = f"{where}, {arguments.threads} threads"
    if arguments.json:
        print(json.dumps({"machine": where, "records": records}))
        return
    peers = "Equal meta-gradients were asserted." if maml else "Without --peers: ours alone."
    text = f"{where}. Medians (quartiles) of interleaved steps in one process. {peers}\n\n{table(records)}\n"
    print(text)
    if arguments.write:
        page = f'# Benchmarks\n\nWritten by `make bench ARGS="--peers --write"`.\n\n{text}'
        (REPOSITORY / "docs" / "benchmarks.md").write_text(page)


if __name__ == "__main__":
    main()
