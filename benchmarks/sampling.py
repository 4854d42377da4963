"""Tasks a second on one core: `python -m benchmarks.sampling [FOLDER WITH OMNIGLOT]`."""

from __future__ import annotations

import statistics
import sys
import time

import torch

from coldstart_cli import composition
from coldstart_cli.building import source_of


def main() -> None:
    torch.set_num_threads(1)
    shape = ["dataset.n_way=5", "dataset.k_shot=1", "dataset.n_query=15"]
    cases = {"glyphs": ["dataset=glyphs", *shape]}
    if len(sys.argv) > 1:
        omniglot = ["dataset=omniglot", f"dataset.root={sys.argv[1]}", "dataset.held_out=0", *shape]
        cases["omniglot"] = omniglot
        cases["omniglot, rotations as classes"] = [*omniglot, "dataset.rotations=true"]
    for name, overrides in cases.items():
        ((_, config),) = composition.points(overrides)
        started = time.perf_counter()
        source = source_of(config)
        loaded = time.perf_counter() - started
        seconds = []
        for batch in range(60):
            started = time.perf_counter()
            source.tasks("train", range(batch * 32, batch * 32 + 32))
            seconds.append(time.perf_counter() - started)
        print(f"{name}: {32 / statistics.median(seconds):,.0f} tasks/s, loaded in {loaded:.2f} s")


if __name__ == "__main__":
    main()
