"""Tasks a second on one core: `python -m benchmarks.sampling [FOLDER WITH OMNIGLOT] [--write]`."""

from __future__ import annotations

import sys
import time

import torch

from benchmarks import page
from coldstart_cli.bench import measuring
from coldstart_cli.config import composition
from coldstart_cli.experiment.parts import source_of

SHAPE = ("dataset.n_way=5", "dataset.k_shot=1", "dataset.n_query=15")


def section(omniglot: str | None = None) -> str:
    torch.set_num_threads(1)
    cases = {"glyphs": ["dataset=glyphs", *SHAPE]}
    if omniglot is not None:
        words = ["dataset=omniglot", f"dataset.root={omniglot}", "dataset.held_out=0", *SHAPE]
        cases["omniglot"] = words
        cases["omniglot, rotations as classes"] = [*words, "dataset.rotations=true"]
    lines = ["| data | tasks a second | seconds to load |", "| --- | ---: | ---: |"]
    for name, overrides in cases.items():
        ((_, config),) = composition.points(overrides)
        started = time.perf_counter()
        source = source_of(config)
        loaded = time.perf_counter() - started
        rates = []
        for batch in range(60):
            started = time.perf_counter()
            source.tasks("train", range(batch * 32, batch * 32 + 32))
            rates.append(32 / (time.perf_counter() - started))
        rate = measuring.spread(rates)
        lines.append(f"| {name} | {rate.middle:,.0f} ({rate.low:,.0f}-{rate.high:,.0f}) | {loaded:.2f} |")
    words = "5-way 1-shot with 15 queries a class, on one core, in batches of 32 tasks."
    return "\n\n".join(["## Drawing tasks", words, "\n".join(lines)])


if __name__ == "__main__":
    folders = [word for word in sys.argv[1:] if not word.startswith("-")]
    page.show("sampling", section(*folders), "--write" in sys.argv)
