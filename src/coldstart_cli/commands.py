"""What `train` and `evaluate` do with a resolved config: build, run, write, print."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from coldstart_cli import config as configs
from coldstart_cli import plots, report
from coldstart_cli.assembly import Experiment, assemble
from coldstart_cli.environment import environment
from coldstart_cli.errors import JobError, RequestError, printable
from coldstart_cli.evaluation import evaluate, shape_of, source_refusal, tasks_of
from coldstart_cli.files import read_json
from coldstart_cli.forecast import forecast
from coldstart_cli.foreign import shaped
from coldstart_cli.inference import adaptation_ms, costs
from coldstart_cli.loggers import Logger, Tolerated
from coldstart_cli.runner import Training
from coldstart_cli.runs import Run, evaluation_hash, run_name
from coldstart_cli.scoring import Record
from coldstart_cli.signals import StopOnSignal
from coldstart_cli.summary import summarise


@dataclass(frozen=True, slots=True)
class Options:
    """Flags of the command line that are no part of the config.

    Attributes:
        watcher: a logger of whoever started the command, such as a sweep.
        train_only: evaluate nothing on new tasks, as in a search for hyper-parameters.
    """

    quiet: bool
    dry_run: bool
    command_line: Sequence[str]
    watcher: Logger | None = None
    train_only: bool = False


def train(config: Mapping[str, Any], options: Options) -> str:
    """Trains, continues, or finds the run finished; evaluates where that is missing; prints.

    Returns:
        One line for a sweep's table.
    """
    experiment = assemble(config)
    run = Run(Path(config["outputs"]) / run_name(config, experiment.source.fingerprint))
    if options.dry_run:
        return forecast(experiment, run)
    name = evaluation_hash(config, experiment.source.fingerprint)
    known = run.finished and not config["again"] and run.evaluation(name).exists()
    if known:
        _say(options, f"{run.path} is finished; this is its result (again=true trains anew)")
        _say_where_measured(experiment, run, name, options)
    else:
        with run.locked(), StopOnSignal() as stop:
            resumed = run.exists and not config["again"]
            with loggers_of(config, run, options, resumed) as loggers:
                if not resumed:
                    run.create(config, environment(experiment, options.command_line))
                _train(experiment, run, loggers, stop, options)
                if options.train_only:
                    return str(run.path)
                _evaluate(experiment, run, name, loggers, stop)
    return _show(experiment, run, name, options)


def reevaluate(config: Mapping[str, Any], run: Run, options: Options) -> str:
    """Evaluates a finished run as `config` asks; `config` is the run's own but for what was changed."""
    experiment = assemble(config)
    name = evaluation_hash(config, experiment.source.fingerprint)
    if run.evaluation(name).exists() and not config["again"]:
        _say(options, f"{run.path}: this evaluation is finished (again=true evaluates anew)")
        _say_where_measured(experiment, run, name, options)
    else:
        with run.locked(), StopOnSignal() as stop, loggers_of(config, run, options, True) as loggers:
            _evaluate(experiment, run, name, loggers, stop)
    return _show(experiment, run, name, options)


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
                loggers.append(Tolerated(key, configs.build(node, key, Logger, config["trust"], facts)))
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
    run.mark(
        "finished",
        steps=training.step,
        best_step=training.best_step,
        seconds=training.seconds,
        examples=training.examples,
    )
    plots.draw(run)


def _evaluate(
    experiment: Experiment, run: Run, name: str, loggers: Sequence[Logger], stop: StopOnSignal
) -> None:
    """Evaluates the strategy, in its best state, and the baseline; writes records and summary."""
    plan, source = experiment.evaluation, experiment.source
    try:
        experiment.strategy.load_state_dict(run.checkpoints.best()["strategy"])
    except (RuntimeError, KeyError, TypeError) as error:
        raise RequestError(
            f"dataset: the weights of {run.path} do not fit its inputs or classes; evaluate on data like the "
            "run's own, or train on this"
        ) from error
    trained_on = read_json(run.path / "environment.json", "run")["fingerprint"]
    on_source = trained_on == source.fingerprint
    records, chosen = evaluate(
        experiment.contestants,
        source,
        plan,
        experiment.hardware,
        loggers,
        stop,
        trained_on_source=on_source,
    )
    refused = {str(k): source_refusal(source, plan, k, on_source) for k in plan.k_shots}
    left_out = {
        "left_out": {str(k): reason for k, reason in experiment.left_out.items()},
        "source_left_out": {k: reason for k, reason in refused.items() if reason is not None},
    }
    summary = {**_summary(experiment, run, records, chosen), **left_out}
    run.write_evaluation(name, experiment.config, records, summary)
    plots.draw(run, name)
    own = evaluation_hash(run.config, trained_on)
    _tell(loggers, run.state["steps"], summary, "" if name == own else f"{name}/")


def _summary(
    experiment: Experiment,
    run: Run,
    records: Sequence[Record],
    chosen: Mapping[str, Mapping[int, tuple[str, int]]],
) -> dict[str, Any]:
    """All that is reported: what follows from the records, the costs measured now, and facts."""
    plan, source, state = experiment.evaluation, experiment.source, run.state
    costs = _costs(experiment, {k: step for k, (_, step) in chosen["strategy"].items()})
    return {
        "names": experiment.config["names"],
        "seed": experiment.config["seed"],
        "headline": source.objective.headline,
        "higher_is_better": source.objective.higher_is_better,
        "n_way": shape_of(source, plan, 1).n_way,
        "n_tasks": plan.n_tasks,
        "confidence": plan.confidence,
        "coverage": plan.coverage,
        "transductive": experiment.strategy.transductive,
        "variants": {str(k): variant for k, (variant, _) in chosen.get("baseline", {}).items()},
        **summarise(
            records,
            {role: {k: step for k, (_, step) in choices.items()} for role, choices in chosen.items()},
            higher_is_better=source.objective.higher_is_better,
            confidence=plan.confidence,
        ),
        "costs": costs,
        "budgets": plan.budget.verdicts(costs),
        "hardware": experiment.hardware.facts(),
        "training": {key: state[key] for key in ("steps", "best_step", "seconds", "examples")},
        "source": source.facts(),
    }


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


def _show(experiment: Experiment, run: Run, name: str, options: Options) -> str:
    """Prints an evaluation from its files, judged by the budget that is asked for now.

    Raises:
        JobError: where a limit is broken and the budget is to be enforced.
    """
    place = run.evaluation(name) / "summary.json"
    summary = read_json(place, "run")
    budget = experiment.evaluation.budget
    with shaped("run", place):
        summary["budgets"] = budget.verdicts(summary["costs"])
        told = report.headline(summary)
        if not options.quiet:
            report.show(summary)
    if options.quiet:
        print(run.path)
    else:
        print(f"\nRun directory: {run.path}")
        drawn = [file for file in plots.files(name) if (run.path / "plots" / file).exists()]
        if drawn:
            print(f"Curves: {run.path}/plots/ ({', '.join(drawn)})")
        print("Next:")
        print(f"  coldstart evaluate run={run.path} 'evaluation.k_shots=[1,2,3,5]'")
        print("  coldstart train -m strategy=maml,anil,protonet,finetune   # others, on the same tasks")
        print("  coldstart compare outputs                                 # all of them beside one another")
    broken = [(key, found) for key, found in summary["budgets"].items() if not found["kept"]]
    if broken and budget.enforce:
        raise JobError(
            "; ".join(
                f"evaluation.budget.{key}: {found['measured']:.6g} is above {found['limit']:.6g}"
                for key, found in broken
            )
            + f"; raise the limit, or choose a smaller model ({run.path} is kept)"
        )
    return told


def _say(options: Options, text: str) -> None:
    if not options.quiet:
        print(printable(text), file=sys.stderr)


def _say_where_measured(experiment: Experiment, run: Run, name: str, options: Options) -> None:
    """A finished evaluation keeps its times; they say nothing of another machine or thread count."""
    place = run.evaluation(name) / "summary.json"
    with shaped("run", place):
        before = read_json(place, "run")["hardware"]
        if before != experiment.hardware.facts():
            told = f"{before['device']}: {before['name']}, {before['threads']} threads, {before['precision']}"
            _say(
                options,
                f"its times are of other hardware ({told}); coldstart evaluate run={run.path} again=true "
                "measures on this",
            )
