"""Whole outer steps of our strategies beside the peers': one process, interleaved, medians.

    python -m benchmarks.bench                     beside every peer that installs, in .venv-bench
    python -m benchmarks.bench --no-peers          ours alone
    python -m benchmarks.bench --only 'MAML, 4'    rows whose name begins so
    python -m benchmarks.bench --json              records;   --write  into docs/benchmarks.md

All sides compute the same meta-gradient: asserted in float64, against plain autograd, before anything is
timed. The rows are those of `coldstart bench`. Peers get the network as their users write it.
"""

from __future__ import annotations

import argparse
import copy
import json
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from typing import Any

import torch
from torch import Tensor

from benchmarks import page, peers
from benchmarks.peers import Side
from benchmarks.plain import PlainNetwork, Problem, gradients, plain_step, problem
from coldstart_cli.bench import measuring
from coldstart_cli.bench import rows as bench
from coldstart_cli.bench.measuring import FixedTasks, Step
from coldstart_cli.bench.rows import ROWS, Case
from coldstart_cli.core.tasks import Task, map_inputs
from coldstart_cli.metrics.json_edge import to_json
from coldstart_cli.tracing.flops import flops

COLUMNS = ("learn2learn", "higher", "torchopt", "parallel-metalearn", "its vmap")
BF16 = "learn2learn, bf16"
TOLERANCE = 1e-6
"""Of the gradient's norm, in float64: rounding is 1e-14, through Adam's division some 1e-9."""
Record = dict[str, Any]


def compared(case: Case, sides: Mapping[str, Side], peaks: Mapping[str, float], seconds: float) -> Record:
    """A row: every side in milliseconds, and how many times ours each takes.

    Raises:
        AssertionError: where a side computes another meta-gradient than plain autograd does.
    """
    asked = problem(case)
    case.strategy.double()
    start = asked.network()
    steps, different = _equal_sides(asked, start, sides)
    case.strategy.float()
    plain, one = plain_step(asked, copy.deepcopy(start).float()), case.source.drawn[:1]
    n_flops = flops(lambda: plain(one)) * len(case.source.drawn)
    steps = {"ours": _in_mode(case.step(), deterministic=True), **steps}
    if case.hardware.precision == "bf16" and "learn2learn" in steps:
        steps[BF16] = _autocast(case, steps["learn2learn"])
    times = measuring.interleaved(steps, seconds, least=3, hardware=case.hardware)
    record: Record = {"name": case.row.name, "flops": n_flops, "different": different}
    record["ms"] = {side: asdict(measuring.spread([1e3 * t for t in ts])) for side, ts in times.items()}
    record["times"] = {s: asdict(measuring.ratios(times, s, "ours")) for s in times if s != "ours"}
    record["of_peak"] = n_flops / record["ms"]["ours"]["middle"] / 1e6 / peaks[case.limit]
    return record


def _equal_sides(
    asked: Problem, start: PlainNetwork, sides: Mapping[str, Side]
) -> tuple[dict[str, Step], dict[str, float]]:
    """Each peer's step in float32, and how far each side's meta-gradient is from the plain one in float64."""
    case = asked.case
    exact = [_exact(task) for task in case.source.drawn[:2]]  # more would tell no more
    plain = copy.deepcopy(start)
    plain_step(asked, plain)(exact)
    wanted = gradients(plain)
    strategy: Any = case.strategy
    # Strategies with inner steps keep their hyper-parameters in one mapping, the others as attributes.
    held = getattr(strategy, "inner", None) or vars(strategy)
    whole, held["meta_batch_size"] = held["meta_batch_size"], len(exact)
    next(strategy.fit(FixedTasks(case.source.source, exact)))
    held["meta_batch_size"] = whole
    different = {"ours": difference(gradients(_learner(asked)), wanted)}
    steps: dict[str, Step] = {}
    for name, side in sides.items():
        network = copy.deepcopy(start)
        step = side(asked, network)
        if step is None:
            continue
        step(exact)
        different[name] = difference(gradients(network), wanted)
        timed = side(asked, copy.deepcopy(start).float())
        assert timed is not None
        steps[name] = _in_mode(lambda timed=timed: timed(case.source.drawn), deterministic=False)
    for name, value in different.items():
        if not value < TOLERANCE:
            raise AssertionError(
                f"{case.row.name}: the meta-gradient of {name} is {value:.1e} off plain autograd's"
            )
    return steps, different


def _learner(asked: Problem) -> torch.nn.Module:
    strategy: Any = asked.case.strategy
    return strategy if asked.family == "prototypes" else strategy.network


def difference(found: Mapping[str, Tensor], wanted: Mapping[str, Tensor]) -> float:
    """|found - wanted| / |wanted| over all tensors together."""
    if found.keys() != wanted.keys():
        return float("inf")
    off = sum(float((found[name] - w).square().sum()) for name, w in wanted.items())
    return (off / sum(float(w.square().sum()) for w in wanted.values())) ** 0.5


def _exact(task: Task) -> Task:
    def double(tensor: Tensor) -> Tensor:
        return tensor.double() if tensor.is_floating_point() else tensor

    support, query = task.support, task.query
    return replace(
        task,
        support=replace(support, inputs=map_inputs(double, support.inputs), targets=double(support.targets)),
        query=replace(query, inputs=map_inputs(double, query.inputs), targets=double(query.targets)),
    )


def _in_mode(step: Step, *, deterministic: bool) -> Step:
    """Ours pays for reproducible numbers, as in a run; peers do not ask for them."""

    def moded() -> None:
        torch.use_deterministic_algorithms(deterministic)
        step()

    return moded


def _autocast(case: Case, step: Step) -> Step:
    def cast() -> None:
        with case.hardware.autocast():
            step()

    return cast


def cell(ms: Mapping[str, float]) -> str:
    digits = 1 if ms["middle"] < 100 else 0
    return f"{ms['middle']:.{digits}f} ({ms['low']:.{digits}f}-{ms['high']:.{digits}f})"


def table(records: Sequence[Record]) -> str:
    """Peers' cells: milliseconds, times ours, and the quartiles of that ratio."""
    columns = [name for name in COLUMNS if any(name in record["ms"] for record in records)]
    lines = [
        f"| {' | '.join(['outer step', 'ours, ms', 'of peak', *columns])} |",
        "| --- |" + " ---: |" * (2 + len(columns)),
    ]
    for record in records:
        share = f"{record['of_peak']:.{0 if record['of_peak'] >= 0.1 else 1}%}"
        cells = [record["name"], cell(record["ms"]["ours"]), share]
        for name in columns:
            if name not in record["times"]:
                cells.append("-")
                continue
            r = record["times"][name]
            ms = f"{record['ms'][name]['middle']:.{1 if record['ms'][name]['middle'] < 100 else 0}f}"
            cells.append(f"{ms}, **{r['middle']:.2f}x** ({r['low']:.2f}-{r['high']:.2f})")
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


def without_steps(records: Sequence[Record]) -> str:
    """Strategies that take no gradient on a support set, beside ProtoNet on the same tasks."""
    lines = ["| outer step | ms | times ProtoNet's |", "| --- | ---: | ---: |"]
    for record in records:
        r = record["times"]
        times = f"{r['middle']:.2f} ({r['low']:.2f}-{r['high']:.2f})" if r else "1"
        lines.append(f"| {record['name']} | {cell(record['ms'])} | {times} |")
    return "\n".join(lines)


def measured(arguments: argparse.Namespace) -> tuple[dict[str, float], list[Record], list[Record]]:
    """Peaks, the rows that a peer may have, and those beside ProtoNet."""
    rows = [row for row in ROWS if row.name.startswith(arguments.only)]
    alone = [row for row in rows if row.group == bench.ONE_PASS]
    sides = {} if arguments.no_peers else _peers()
    hardware = bench.built(ROWS[0], ["hardware=cpu"]).hardware
    peaks = measuring.peaks(hardware, 2.0)
    records = []
    for row in rows:
        if row not in alone:
            print(row.name, file=sys.stderr, flush=True)
            case = bench.built(row, ["hardware=cpu"])
            records.append(compared(case, sides, peaks, arguments.seconds))
    timed = bench.measured(alone, ["hardware=cpu"], peaks, arguments.seconds)
    return peaks, records, [to_json(row) for row in timed]


def _peers() -> dict[str, Side]:
    try:
        peers.install()
    except (subprocess.CalledProcessError, OSError) as error:
        print(f"peers are left out, for they could not be installed: {error}", file=sys.stderr)
        return {}
    return peers.sides()


def section() -> str:
    return text(*measured(_arguments([])))


SETTING = """\
One process, all sides in turn, on the same tasks, drawn beforehand. Where a row does not say otherwise:
5-way 1-shot, 15 queries a class, 28x28, Conv4 with 64 channels, batch statistics and pooling; the
sinusoid has an MLP 40-40 and 10 points."""
LIMIT = """\
Peak: the best rate of a 3x3 convolution of 64 to 64 channels, channels last, {conv_fp32:.0f} GFLOP/s
({conv_bf16:.0f} in bf16), for the sinusoid of a matrix product of 1,024, {gemm_fp32:.0f}
({gemm_bf16:.0f}). FLOPs are those of convolutions and matrix products of the plain network
(torch.utils.flop_counter), a multiply-add is 2; all else, such as normalisation, takes time and counts
nothing."""
EQUAL = """\
The meta-gradient of every side was first found equal to plain autograd's in float64: at most
{worst:.0e} of its norm off. Peers: milliseconds, **times ours** and the quartiles of this ratio, turn
by turn; a dash where a peer has no such strategy, or vmap would take gigabytes. In rows of bf16 ours
computes under bf16 autocast, the peers in fp32."""


def text(peaks: Mapping[str, float], records: Sequence[Record], alone: Sequence[Record]) -> str:
    """The section: the rows beside peers, then those beside ProtoNet."""
    parts = ["## Outer steps", SETTING, LIMIT.format_map(peaks)]
    if records:
        worst = max(value for record in records for value in record["different"].values())
        parts += [EQUAL.format(worst=worst), table(records)]
    bf16 = [
        f"{r['name']} {r['ms'][BF16]['middle']:.1f} ms, {r['times'][BF16]['middle']:.2f}x"
        for r in records
        if BF16 in r["ms"]
    ]
    if bf16:
        parts.append(f"With learn2learn under bf16 autocast too: {'; '.join(bf16)}.")
    if alone:
        words = "Strategies without a gradient on the support set, beside ProtoNet on the same tasks:"
        parts += [words, without_steps(alone)]
    return "\n\n".join(parts)


def _arguments(words: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--no-peers", action="store_true", help="measure ours alone")
    parser.add_argument("--json", action="store_true", help="print records instead of a table")
    parser.add_argument("--write", action="store_true", help="write the section into docs/benchmarks.md")
    parser.add_argument("--only", default="", help="rows whose name begins so")
    parser.add_argument("--seconds", type=float, default=8.0, help="time for each row, all sides together")
    arguments = parser.parse_args(words)
    if arguments.write and arguments.only:
        parser.error("--write: takes the place of all rows; leave --only out")
    return arguments


def main() -> None:
    arguments = _arguments(None)
    peaks, records, alone = measured(arguments)
    if arguments.json:
        print(json.dumps({"peaks": peaks, "records": records, "without_steps": alone}, indent=1))
        return
    page.show("bench", text(peaks, records, alone), arguments.write)


if __name__ == "__main__":
    main()
