"""What it costs not to lose anything: a checkpoint at the default interval, and the look at the weights.

python -m benchmarks.checkpoints

One process, interleaved: a step, the check that weights are finite, a checkpoint on disk. Medians, as shares
of training time; a checkpoint is due every `training.checkpoint_seconds`.
"""

import statistics
import tempfile
import time
import warnings
from collections.abc import Callable, Iterable
from pathlib import Path

from coldstart_cli.config import composition
from coldstart_cli.experiment.assembly import assemble
from coldstart_cli.experiment.trainer import Training
from coldstart_cli.processes import streams
from coldstart_cli.runs.run import Run

CASES = {
    "maml, Conv4, glyphs": ("strategy=maml",),
    "protonet, Conv4, glyphs": ("strategy=protonet",),
    "finetune, Conv4, glyphs": ("strategy=finetune",),
    "maml, MLP 40-40, sinusoid": ("strategy=maml", "dataset=sinusoid", "model=mlp"),
    "finetune, MLP 40-40, sinusoid": ("strategy=finetune", "dataset=sinusoid", "model=mlp"),
}
STEPS = 15


def timed(call: Callable[[], object], seconds: list[float]) -> None:
    before = time.perf_counter()
    call()
    seconds.append(time.perf_counter() - before)


def measured(overrides: Iterable[str], folder: Path) -> str:
    ((_, config),) = composition.points(["hardware=cpu", "hardware.threads=1", "baseline=null", *overrides])
    experiment = assemble(config)
    run = Run(folder)
    run.path.mkdir()
    run.create(config, {})
    training = Training(
        experiment.strategy, experiment.source, experiment.training, experiment.hardware, run, seed=0
    )
    steps = experiment.strategy.fit(experiment.source, 0)
    training._one_step(steps)
    training.best, training.best_step = experiment.strategy.state_dict(), 1
    whole, checks, saves = [], [], []
    for _ in range(STEPS):
        timed(lambda: training._one_step(steps), whole)
        for _ in range(10):
            timed(training._refuse_unless_weights_are_finite, checks)
        training.best_written = -1  # as if validation had found a better state each time
        timed(training._save, saves)
    step, check, save = (statistics.median(part) for part in (whole, checks, saves))
    size = sum(path.stat().st_size for path in (run.path / "checkpoints").glob("*.ckpt")) / 2**20
    return (
        f"{1000 * step:9.2f} {1000 * check:9.3f} {100 * check / step:6.2f} % {1000 * save:9.2f} "
        f"{100 * save / experiment.training.checkpoint_seconds:7.3f} %  {size:6.2f}"
    )


def main() -> None:
    streams.set_up()
    warnings.simplefilter("ignore")
    print(f"{'':32}  step, ms check, ms   share  save, ms     share  MiB of three files")
    with tempfile.TemporaryDirectory() as folder:
        for i, (name, overrides) in enumerate(CASES.items()):
            print(f"{name:32} {measured(overrides, Path(folder) / str(i))}", flush=True)


if __name__ == "__main__":
    main()
