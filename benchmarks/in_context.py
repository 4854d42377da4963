"""In-context learning by score and calibration: each task is read once, and scored in every way.

    python benchmarks/in_context.py prompt@model.prompt=intent dataset=banking77 dataset.root=DIR \
        --split new --tasks 20 --shots 0 1 2 5

Further words are overrides as for `coldstart train`. Accuracies in percent, with the 95 % interval of the
mean over tasks; all ways see the same tasks.
"""

from __future__ import annotations

import argparse
import math
import time
from collections import defaultdict
from dataclasses import replace
from typing import cast

import torch

from coldstart_cli.config import composition
from coldstart_cli.core.tasks import Split
from coldstart_cli.experiment.assembly import assemble
from coldstart_cli.models.language.label_likelihood import check_labels, label_scores, prefix, rows
from coldstart_cli.strategies.building_blocks.in_context import in_order
from coldstart_cli.strategies.transfer.in_context import InContext


def corrected(scores: torch.Tensor, empty: torch.Tensor) -> dict[str, torch.Tensor]:
    """Scores (n, C), and those of texts without content (m, C), under each calibration."""
    said = scores.log_softmax(1)
    prior = empty.log_softmax(1).logsumexp(0) - math.log(len(empty))
    return {
        "none": scores,
        "contextual": said - prior,
        "batch": said - said.logsumexp(0),
    }


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--split", default="new")
    parser.add_argument("--tasks", type=int, default=20)
    parser.add_argument("--shots", type=int, nargs="+", default=[0, 1, 2, 5])
    parser.add_argument("--channel", action="store_true", help="score texts after labels too")
    options, words = parser.parse_known_args()
    base = ["strategy=in_context", "model=smollm2", "baseline=null", "hardware=cpu", "evaluation.k_shots=[1]"]
    ((_, config),) = composition.points([*base, *words])
    made = assemble(config)
    strategy = cast(InContext, made.strategy.eval())
    lm = strategy.lm
    for k in options.shots:
        source = made.source.with_shape(replace(made.source.shape, k_shot=k))
        right: dict[str, list[float]] = defaultdict(list)
        before = time.perf_counter()  # of all ways together
        for task in source.tasks(cast(Split, options.split), range(options.tasks)):
            labels, texts = check_labels(task.support.names), rows(task.query.inputs)
            shown = in_order(task.support, config["strategy"]["order_seed"])
            with torch.no_grad():
                for score in ("sum", "channel") if options.channel else ("sum",):
                    answers = [labels[label] for label in shown.targets.tolist()]
                    tokens = prefix(lm, rows(shown.inputs), answers, score)
                    past = lm.keys_and_values(lm.embedded(tokens))
                    scores = label_scores(lm, past, texts, labels, score)
                    empty = label_scores(lm, past, lm.without_content(), labels, score)
                    sizes = scores.new_tensor([len(label) for label in labels])
                    ways = {score: 1.0, "mean": sizes} if score == "sum" else {score: 1.0}
                    for way, by in ways.items():
                        for name, outputs in corrected(scores / by, empty / by).items():
                            hits = (outputs.argmax(1) == task.query.targets).float().mean()
                            right[f"{way}, {name}"].append(100 * float(hits))
        seconds = time.perf_counter() - before
        print(f"k = {k}: {options.tasks} tasks of {options.split}, {seconds:.0f} s", flush=True)
        for name, values in right.items():
            found = torch.tensor(values)
            half = 1.96 * float(found.std()) / math.sqrt(len(found)) if len(found) > 1 else math.nan
            print(f"  {name:20} {float(found.mean()):5.1f} +- {half:.1f}", flush=True)


if __name__ == "__main__":
    main()
