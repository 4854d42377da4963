"""Comparisons made up for tests of what shows them: every size, every gap, every name.

They are made as JSON has them, where a test can change any part in place; `typed` reads them.
"""

from __future__ import annotations

import hashlib
import math
import random
from collections.abc import Sequence
from typing import Any

from coldstart_cli.comparison.findings import Comparison, Setting
from coldstart_cli.metrics.json_edge import from_json

Dict = dict[str, Any]

NAMES = (
    "protonet", "finetune", "maml", "lora", "anil", "leep", "logistic", "distill", "adversarial", "ccsa",
    "metric", "ridge", "film", "head", "reptile", "bias", "mmd", "coral", "task_encoder", "imprint",
)  # fmt: skip

HOSTILE = (
    "<script>alert(1)</script>",
    "</script><img src=x onerror=alert(2)>",
    '=cmd|" /C calc"!A0',
    "[red]x[/red]",
    "\x1b[31mred\x1b[0m",
    "{{7*7}} {% raw %}",
    "'\"` onmouseover=alert(3) x='",
    "<!-- &lt;b&gt; \u2028 \u202egnp.exe \x00 \ud800",
    "__proto__",
    "items",
)


def typed(made: Dict) -> Comparison:
    """The comparison that `compare --json` would print so."""
    return from_json(Comparison, made)


def typed_setting(made: Dict) -> Setting:
    return from_json(Setting, made)


def comparison(
    n: int = 4,
    *,
    ks: Sequence[int] = (1, 5, 20),
    seeds: int = 3,
    n_tasks: int = 30,
    steps: Sequence[int] = (0, 1, 5, 10),
    names: Sequence[str] = (),
    settings: int = 1,
    regression: bool = False,
    gaps: bool = False,
    points: int = 40,
) -> Dict:
    """A comparison of n contestants, always the same for the same arguments.

    Args:
        gaps: None wherever the layout allows it.
        points: pairs of source group and new task in the panel of task similarity.
    """
    dice = random.Random(7)
    kept = [names[i] if i < len(names) else _name(i) for i in range(n)]
    made = [
        setting(
            kept, dice, ks=ks, seeds=seeds, n_tasks=n_tasks, steps=steps, regression=regression, gaps=gaps,
            points=points, title=f"sinusoid{index or ''}" if regression else f"glyphs{index or ''}, 5-way",
        )
        for index in range(settings)
    ]  # fmt: skip
    return {
        "format": 1,
        "confidence": 0.95,
        "sentences": [s for one in made for s in one["sentences"]],
        "left_out": [{"path": "outputs/maml-s9", "reason": "records.jsonl is damaged"}] if gaps else [],
        "notes": ["one training seed: intervals are conditional on it"] if gaps else [],
        "settings": made,
        "runs": [run(c, seed, gaps) for c in (made[0]["contestants"] if made else []) for seed in c["seeds"]],
    }


def setting(
    names: Sequence[str],
    dice: random.Random,
    *,
    ks: Sequence[int],
    seeds: int,
    n_tasks: int,
    steps: Sequence[int],
    regression: bool,
    gaps: bool,
    points: int,
    title: str,
) -> Dict:
    skills = {name: (dice.random(), dice.random()) for name in names}
    shots = {}
    for k in ks:
        values = {name: _value(*skills[name], k, regression) for name in names}
        absent = {names[-1]} if gaps and len(names) > 2 and k == ks[-1] else set()
        results = {
            name: result(value, steps, dice, i, regression=regression, gaps=gaps)
            for i, (name, value) in enumerate(values.items())
            if name not in absent
        }
        order = sorted(results, key=lambda name: values[name] * (1 if regression else -1))
        for name, row in results.items():
            row["rank"] = order.index(name) + 1
        shots[str(k)] = {
            "n_tasks": n_tasks,
            "bank": _hash(title, k),
            "zone": 0.005,
            "results": {name: results[name] for name in order},
            "pairs": pairs(order, values, regression, gaps),
            "winners": order[: 2 if k == ks[-1] else 1],
        }
    first = shots[str(ks[0])]["results"]
    order = [*first, *(name for name in names if name not in first)]
    return {
        "title": title,
        "dataset": title.partition(",")[0],
        "n_way": None if regression else 5,
        "headline": "mse" if regression else "accuracy",
        "higher_is_better": not regression,
        "percent": not regression,
        "units": {} if regression else dict.fromkeys(("accuracy", "balanced_accuracy", "macro_f1"), "%"),
        "zone": None if regression else 0.005,
        "sentences": [
            f"at k <= 5 {order[0]} wins by 3.1 ± 0.8 points over {order[-1]} (Holm p = 0.0003)",
            f"from k = {ks[-1]} the data cannot tell {order[0]} from {order[-1]}",
        ],
        "contestants": [contestant(name, i, ks, seeds, dice, gaps) for i, name in enumerate(order)],
        "shots": shots,
        "similarity": [] if points == 0 else [similarity(order[0], str(k), points, dice, gaps) for k in ks],
        "tasks": {str(k): [_hash(title, k, task) for task in range(n_tasks)] for k in ks},
    }


def result(
    value: float, steps: Sequence[int], dice: random.Random, i: int, *, regression: bool, gaps: bool
) -> Dict:
    worst = 4.0 if regression else 0.2
    half = abs(value - worst) * 0.04 + 0.002
    kept = steps[:1] if i % 4 == 3 else steps

    def at(step: int) -> Dict:
        share = 1.0 if i % 4 == 3 else 0.4 + 0.6 * (1 - math.exp(-step / 2))
        return {"mean": worst + (value - worst) * share, "half_width": half}

    empty = gaps and i % 3 == 1
    return {
        "mean": None if gaps and i % 5 == 2 else value,
        "half_width": None if empty else half,
        "bootstrap": [None, None] if empty else [value - half, value + half],
        "rank": 1,
        "steps": [kept[0], kept[-1]] if i % 2 and len(kept) > 1 else kept[-1],
        "source_test": None if empty else {"mean": value, "half_width": half},
        "before": None if empty else at(kept[0]),
        "gain": None
        if empty
        else {"mean": abs(value - worst) / 8 * dice.uniform(-0.5, 1.5), "half_width": half},
        "curve": {
            str(step): {"mean": None, "half_width": None} if empty and step == steps[-1] else at(step)
            for step in kept
        },
        "metrics": {}
        if empty or regression
        else {
            "balanced_accuracy": {"mean": value, "half_width": half},
            "macro_f1": {"mean": 0.98 * value, "half_width": None},
        },
        "area": None if empty else value,
        "steps_to_95": None if empty else kept[-1],
        "calibration": {}
        if regression and gaps
        else {
            "nll": None if empty else 0.31,
            "brier": 0.14,
            "coverage": 0.97,
            "set_size": 1.7,
            "ece": 0.041,
        },
    }


def pairs(order: Sequence[str], values: dict[str, float], regression: bool, gaps: bool) -> list[Dict]:
    found = []
    for i, a in enumerate(order):
        for j, b in enumerate(order[i + 1 :], i + 1):
            if (i + j) % 2:
                a, b = b, a
            difference = (values[a] - values[b]) * (-1 if regression else 1)
            verdict = "tie" if abs(difference) < 0.005 else "undecided" if abs(difference) < 0.02 else ""
            verdict = verdict or ("win" if difference > 0 else "loss")
            found.append(
                {
                    "a": a,
                    "b": b,
                    "difference": None if gaps and j % 5 == 2 else difference,
                    "half_width": None if gaps and j % 3 == 1 else 0.012,
                    "p": None if gaps else 1e-6,
                    "p_holm": None if gaps else 0.00034,
                    "p_wilcoxon": None if gaps else 0.02,
                    "verdict": verdict,
                    "seeds": 3,
                    "seeds_needed": None if gaps else 7,
                    "tasks_needed": None,
                }
            )
            a = order[i]
    return found


def contestant(name: str, i: int, ks: Sequence[int], seeds: int, dice: random.Random, gaps: bool) -> Dict:
    baseline = i % 7 == 6 or (gaps and i == 1)
    speed = math.exp(dice.uniform(-3, 3))
    return {
        "name": name,
        "strategy": name,
        "model": "conv4",
        "baseline": baseline,
        "transductive": i == 2,
        "seeds": list(range(seeds)),
        "runs": [f"outputs/{name}-conv4-s{seed}" for seed in range(seeds)],
        "costs": None
        if baseline
        else {
            "inference": {
                "1": {"p50_ms": speed, "p95_ms": None if gaps and i == 0 else 1.4 * speed},
                "64": {"p50_ms": 9 * speed, "p95_ms": 11 * speed},
            },
            "adaptation_ms": {str(k): 4 * speed * (1 + k / 10) for k in ks},
            "parameters": 0 if gaps and i == 0 else 112_000 * (1 + i),
            "flops": 2.1e7,
            "peak_memory": None if gaps else 5.1e8,
        },
        "hardware": None
        if baseline
        else {"device": "cpu", "name": "AMD EPYC", "threads": 2, "precision": "fp32", "deterministic": True},
        "budgets": {"p95_ms": {"limit": 5.0, "measured": 1.4 * speed, "kept": 1.4 * speed <= 5}}
        if not gaps
        else {},
        "training": {
            "steps": 0 if baseline else 1000,
            "seconds": None if baseline else 51.2,
            "examples": 0 if baseline else 100000,
            "adaptation_steps": 10,
            "trials": 2 if baseline else None,
        },
        "over_shots": {
            "area": None if gaps else 0.93,
            "shots_to_95": None if gaps else 2.0,
            "label_efficiency": {str(k): None if k == ks[-1] else 2.5 * k for k in ks},
        },
    }


def similarity(name: str, k: str, points: int, dice: random.Random, gaps: bool) -> Dict:
    groups = ("Latin", "Greek", "Cyrillic", "Armenian", "Georgian")
    drawn = []
    for i in range(points):
        x = dice.random()
        drawn.append([x, 0.2 * x + dice.gauss(0, 0.05), groups[i % len(groups)]])
    return {
        "contestant": name, "k": k, "rho": None if gaps else 0.37, "p": None if gaps else 0.01,
        "pairs": points, "within_task_rho": None if gaps else 0.65, "regret": None if gaps else 0.028,
        "constant_rho": None if gaps else 0.55, "constant_regret": None if gaps else 0.031,
        "points": drawn,
    }  # fmt: skip


def run(contestant: Dict, seed: int, gaps: bool) -> Dict:
    name = contestant["name"]
    lines = "\n".join(f"  setting_{i}: {i / 10}" for i in range(60))
    return {
        "path": f"outputs/{name}-conv4-s{seed}",
        "contestant": name,
        "seed": seed,
        "config": f"seed: {seed}\nstrategy:\n  _target_: coldstart_cli.strategies.x.{name}\n{lines}\n",
        "differs": {"seed": seed, "strategy._target_": name, "strategy.inner_lr": 0.1},
        "environment": {}
        if gaps
        else {
            "python": "3.11.7",
            "system": "Linux-6.1",
            "packages": {"coldstart-cli": "0.1.0", "torch": "2.13.0"},
            "git": "c9b4009c015baa7062063996aadcd9e895bc2156",
            "command_line": ["coldstart", "train", f"strategy={name}", f"seed={seed}"],
        },
        "state": {} if gaps else {"state": "finished", "steps": 1000, "best_step": 800},
    }


def _name(i: int) -> str:
    return NAMES[i] if i < len(NAMES) else f"{NAMES[i % len(NAMES)]} (lr={0.1 * (i // len(NAMES)):g})"


def _value(start: float, speed: float, k: int, regression: bool) -> float:
    learned = 1 - math.exp(-(0.3 + 2 * speed) * math.log1p(k) / 2)
    if regression:
        return 4.0 * (1 - learned) * (0.3 + 0.5 * start) + 0.02
    return 0.2 + 0.35 * start + (0.78 - 0.35 * start) * learned


def _hash(*parts: object) -> str:
    return hashlib.sha256(repr(parts).encode()).hexdigest()[:8]
