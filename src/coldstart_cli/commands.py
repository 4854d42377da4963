"""What `train` and `evaluate` do with a resolved config: build, run, write, print."""

from __future__ import annotations

import contextlib
import platform
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from coldstart_cli import config as configs
from coldstart_cli import metrics, plots, report
from coldstart_cli.assembly import Experiment, assemble, shape_facts
from coldstart_cli.errors import JobError, RequestError
from coldstart_cli.evaluation import evaluate, scored, shape_of, tasks_of
from coldstart_cli.files import read_json
from coldstart_cli.inference import adaptation_ms, costs
from coldstart_cli.loggers import Logger, Tolerated
from coldstart_cli.runner import Training
from coldstart_cli.runs import Run, evaluation_hash, run_name
from coldstart_cli.signals import StopOnSignal


@dataclass(frozen=True, slots=True)
class Options:
    """Flags of the command line that are no part of the config.

    Attributes:
        watcher: a logger of whoever started the command, such as a sweep.
    """

    quiet: bool
    dry_run: bool
    command_line: Sequence[str]
    watcher: Logger | None = None


def train(config: Mapping[str, Any], options: Options) -> str:
    """Trains, continues, or finds the run finished; evaluates where that is missing; prints.

    Returns:
        One line for a sweep's table.
    """
    experiment = assemble(config)
    run = Run(Path(config["outputs"]) / run_name(config, experiment.source.fingerprint))
    if options.dry_run:
        return dry_run(experiment, run)
    name = evaluation_hash(config, experiment.source.fingerprint)
    known = run.finished and not config["again"] and run.evaluation(name).exists()
    if known:
        _say(options, f"{run.path} is finished; this is its result (again=true trains anew)")
    else:
        with run.locked(), StopOnSignal() as stop:
            resumed = run.exists and not config["again"]
            with loggers_of(config, run, options, resumed) as loggers:
                if not resumed:
                    run.create(config, _environment(experiment, options))
                _train(experiment, run, loggers, stop, options)
                _evaluate(experiment, run, name, loggers, stop)
    return _show(run, name, options)


def reevaluate(config: Mapping[str, Any], run: Run, options: Options) -> str:
    """Evaluates a finished run as `config` asks; `config` is the run's own but for what was changed."""
    experiment = assemble(config)
    name = evaluation_hash(config, experiment.source.fingerprint)
    if run.evaluation(name).exists() and not config["again"]:
        _say(options, f"{run.path}: this evaluation is finished (again=true evaluates anew)")
    else:
        with run.locked(), StopOnSignal() as stop, loggers_of(config, run, options, True) as loggers:
            _evaluate(experiment, run, name, loggers, stop)
    return _show(run, name, options)


def dry_run(experiment: Experiment, run: Run) -> str:
    """Prints what the run would cost, from a few real steps; writes nothing."""
    strategy, plan, hardware = experiment.strategy, experiment.training, experiment.hardware
    seconds = []
    steps = strategy.train().fit(experiment.source)
    for _ in range(6):
        before = hardware.now()
        if next(steps, None) is None:
            break
        seconds.append(hardware.now() - before)
    training = statistics.median(seconds[1:] or [0.0]) * plan.steps if seconds else 0.0
    evaluating, task = 0.0, None
    for k in experiment.evaluation.k_shots:
        source = experiment.source.with_shape(shape_of(experiment.source, experiment.evaluation, k))
        for role, variants in experiment.contestants.items():
            plan_steps = experiment.evaluation.steps
            if role == "baseline":
                plan_steps = experiment.evaluation.baseline_steps
            task = next(tasks_of(source, "new", 1))
            before = time.perf_counter()
            scored(next(iter(variants.values())), task, plan_steps, hardware, beside=role == "strategy")
            n = (2 if role == "strategy" else 1) * experiment.evaluation.n_tasks
            n += len(variants) * experiment.evaluation.n_selection_tasks
            evaluating += (time.perf_counter() - before) * n
    assert task is not None
    cost = costs(strategy, task, experiment.evaluation, hardware)
    size = sum(t.numel() * t.element_size() for t in strategy.state_dict().values())
    state = "finished" if run.finished else "started" if run.exists else "new"
    print(f"run        {run.path} ({state})")
    for split, fact in experiment.source.facts().items():
        print(f"{split:<10} {fact}")
    print(f"parameters {cost['parameters']:,}")
    print(f"FLOPs      {cost['flops']:,} for one input (a multiply-add is 2)")
    print(f"seconds    about {training:.0f} of training ({plan.steps} steps), {evaluating:.0f} of evaluation")
    print(f"disk       about {max(1, round(7 * size / 2**20))} MiB of checkpoints")
    return f"about {training + evaluating:.0f} s"


@contextlib.contextmanager
def loggers_of(
    config: Mapping[str, Any], run: Run, options: Options, resumed: bool
) -> Iterator[Sequence[Logger]]:
    """The loggers of a command, open; before training one that cannot be opened is refused, later none is.

    Args:
        resumed: whether the run was there before; its trackers then go on with what they have of it.
    """
    facts = {"quiet": options.quiet, "run_path": run.path, "config": config, "resumed": resumed}
    loggers: list[Logger] = [] if options.watcher is None else [options.watcher]
    try:
        for name, node in config["logger"].items():
            key = f"logger.{name}"
            try:
                loggers.append(Tolerated(key, configs.build(node, key, config["trust"], facts)))
            except RequestError:
                raise
            except Exception as error:
                what = " ".join(f"{type(error).__name__}: {error}".split())[:200]
                raise RequestError(
                    f"{key}: {what}; mend it, or train without it (logger=[console])"
                ) from error
        yield loggers
    finally:
        for logger in loggers:
            logger.close()


def _train(
    experiment: Experiment, run: Run, loggers: Sequence[Logger], stop: StopOnSignal, options: Options
) -> None:
    if run.finished:
        return
    training = Training(
        experiment.strategy,
        experiment.source,
        experiment.training,
        experiment.hardware,
        run,
        experiment.config["seed"],
    )
    if training.step:
        _say(options, f"{run.path}: goes on after step {training.step}")
    if experiment.strategy.learns_from_source:
        for logger in loggers:
            logger.start("training", experiment.training.steps, training.step)
    try:
        training.fit(loggers, stop)
    except JobError:  # its curve shows why
        plots.draw(run)
        raise
    facts = {"steps": training.step, "best_step": training.best_step, "seconds": training.seconds}
    run.mark("finished", **facts)
    plots.draw(run)


def _evaluate(
    experiment: Experiment, run: Run, name: str, loggers: Sequence[Logger], stop: StopOnSignal
) -> None:
    """Evaluates the strategy, in its best state, and the baseline; writes records and summary."""
    plan, source = experiment.evaluation, experiment.source
    try:
        experiment.strategy.load_state_dict(run.checkpoints.best()["strategy"])
    except RuntimeError as error:
        raise RequestError(
            f"dataset: the weights of {run.path} do not fit its inputs or classes; evaluate on data like the "
            "run's own, or train on this"
        ) from error
    trained_on = read_json(run.path / "environment.json", "run")["fingerprint"]
    records, chosen = evaluate(
        experiment.contestants,
        source,
        plan,
        experiment.hardware,
        loggers,
        stop,
        trained_on_source=trained_on == source.fingerprint,
    )
    state = run.state
    summary = {
        "names": experiment.config["names"],
        "seed": experiment.config["seed"],
        "headline": source.objective.headline,
        "n_way": shape_of(source, plan, 1).n_way,
        "n_tasks": plan.n_tasks,
        "confidence": plan.confidence,
        "transductive": experiment.strategy.transductive,
        "variants": {str(k): variant for k, (variant, _) in chosen.get("baseline", {}).items()},
        **metrics.summarise(
            records,
            {role: {k: step for k, (_, step) in choices.items()} for role, choices in chosen.items()},
            higher_is_better=source.objective.higher_is_better,
            confidence=plan.confidence,
        ),
        "costs": _costs(experiment, {k: step for k, (_, step) in chosen["strategy"].items()}),
        "hardware": experiment.hardware.facts(),
        "training": {key: state[key] for key in ("steps", "best_step", "seconds")},
        "source": source.facts(),
    }
    run.write_evaluation(name, experiment.config, records, summary)
    plots.draw(run, name)
    own = evaluation_hash(run.config, trained_on)
    _tell(loggers, state["steps"], summary, "" if name == own else f"{name}/")


def _tell(loggers: Sequence[Logger], step: int, summary: Mapping[str, Any], above: str) -> None:
    """Hands the numbers of an evaluation on; what the run's own config did not ask goes below its hash."""
    values = {f"{above}{name}": value for name, value in report.values(summary).items()}
    for logger in loggers:
        logger.summary(step, values)


def _costs(experiment: Experiment, steps: Mapping[int, int]) -> dict[str, Any]:
    """What the predictor costs, and adaptation to each k with the number of steps that was chosen."""
    plan, source, hardware = experiment.evaluation, experiment.source, experiment.hardware
    tasks = {k: list(tasks_of(source.with_shape(shape_of(source, plan, k)), "new", 10)) for k in steps}
    adapting = {
        str(k): adaptation_ms(experiment.strategy, tasks[k], step, hardware) for k, step in steps.items()
    }
    predicting = costs(experiment.strategy, next(iter(tasks.values()))[0], plan, hardware)
    return {**predicting, "adaptation_ms": adapting}


def _show(run: Run, name: str, options: Options) -> str:
    summary = read_json(run.evaluation(name) / "summary.json", "run")
    if options.quiet:
        print(run.path)
        return report.headline(summary)
    report.show(summary)
    print(f"\nRun directory: {run.path}")
    drawn = [file for file in plots.files(name) if (run.path / "plots" / file).exists()]
    if drawn:
        print(f"Curves: {run.path}/plots/ ({', '.join(drawn)})")
    print("Next:")
    print(f"  coldstart evaluate run={run.path} 'evaluation.k_shots=[1,2,3,5]'")
    print("  coldstart train -m strategy=maml,anil,protonet,finetune   # others, on the same tasks")
    print("  coldstart ls                                              # what else there is")
    return report.headline(summary)


def _say(options: Options, text: str) -> None:
    if not options.quiet:
        print(text, file=sys.stderr)


def _git_commit() -> str | None:
    """The commit of the folder where the command was typed, marked where files differ from it."""
    try:
        done = subprocess.run(
            ["git", "describe", "--always", "--dirty", "--abbrev=40"],
            capture_output=True,
            text=True,
            timeout=5,
            check=True,
        )
    except (OSError, subprocess.SubprocessError):
        return None
    return done.stdout.strip()


def _environment(experiment: Experiment, options: Options) -> dict[str, Any]:
    """What a reader needs to run this again, and to judge its figures of time."""
    packages = {}
    for package in ("coldstart-cli", "torch", "numpy", "hydra-core", "omegaconf", "scipy"):
        try:
            packages[package] = version(package)
        except PackageNotFoundError:
            packages[package] = "not installed as a package"
    return {
        "python": platform.python_version(),
        "system": platform.platform(),
        "packages": packages,
        "hardware": experiment.hardware.facts(),
        "vectorize": "vmap" if experiment.vectorize else "loop",
        "git": _git_commit(),
        "command_line": list(options.command_line),
        "fingerprint": experiment.source.fingerprint,
        "input_shape": shape_facts(experiment.source),
        "facts": dict(experiment.facts),
    }
