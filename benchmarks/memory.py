"""Resident memory, each case in a process of its own: `python -m benchmarks.memory [FOLDER WITH OMNIGLOT]`.

VmHWM of /proc is the most a process ever held, RssAnon what it shares with no file. Linux alone.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile

SHAPE = "'dataset.n_way=5', 'dataset.k_shot=1', 'dataset.n_query=15'"
TELL = """
def held(name):
    for line in open("/proc/self/status"):
        if line.startswith(name):
            return int(line.split()[1]) / 1024
"""
IMPORT = "import torch\n"
DATA = """
import torch
from coldstart_cli.config import composition
from coldstart_cli.experiment.parts import source_of
((_, config),) = composition.points({overrides})
before = held("RssAnon")
source = source_of(config)
after = held("RssAnon")
peak = held("VmHWM")
source.tasks("train", range(32))
"""
SMOKE = """
import os, sys, torch
from coldstart_cli.cli import main
os.chdir({folder!r})
code = main(["train", "experiment=smoke", "--quiet", "hardware=cpu", *{overrides}])
assert code == 0
"""


def measured(program: str, ends: str) -> float:
    done = subprocess.run(
        [sys.executable, "-c", f'{TELL}\n{program}\nprint("MiB", {ends})'],
        capture_output=True,
        text=True,
        check=True,
    )
    return float(done.stdout.split()[-1])


def main() -> None:
    torch = measured(IMPORT, 'held("VmHWM")')
    print(f"import torch: {torch:.0f} MiB at most")
    sets = {"glyphs": f"['dataset=glyphs', {SHAPE}]"}
    if len(sys.argv) > 1:
        root = f"'dataset=omniglot', 'dataset.root={sys.argv[1]}'"
        sets["omniglot"] = f"[{root}, {SHAPE}]"
        sets["omniglot, rotations as classes"] = f"[{root}, 'dataset.rotations=true', {SHAPE}]"
    for name, overrides in sets.items():
        program = DATA.format(overrides=overrides)
        print(f"{name}: {measured(program, 'after - before'):.0f} MiB")
    cases = {
        "smoke run": "[]",
        "conv4 MAML, 16 tasks, 15 queries": (
            "['strategy=maml', 'strategy.meta_batch_size=16', 'dataset.n_query=15', 'baseline=null']"
        ),
    }
    for name, overrides in cases.items():
        with tempfile.TemporaryDirectory() as folder:
            peak = measured(SMOKE.format(folder=folder, overrides=overrides), 'held("VmHWM")')
        print(f"{name}: {peak:.0f} MiB at most, {peak - torch:.0f} above the import of torch")


if __name__ == "__main__":
    main()
