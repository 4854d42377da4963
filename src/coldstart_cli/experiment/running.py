"""What `train` and `evaluate` do with a resolved config: build, run, write and print."""

from __future__ import annotations

import sys
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from coldstart_cli.datasets.own import input_range
from coldstart_cli.errors import JobError, RequestError
from coldstart_cli.evaluation.baselines import Baselines
from coldstart_cli.evaluation.costs import adaptation_ms, costs, encoding_ms
from coldstart_cli.evaluation.edges import edges, one_task_alone
from coldstart_cli.evaluation.loop import evaluate, shape_of, source_refusal, tasks_of
from coldstart_cli.experiment import finished
from coldstart_cli.experiment.assembly import Experiment, assemble, variants
from coldstart_cli.experiment.environment import environment
from coldstart_cli.experiment.finished import Outcome
from coldstart_cli.experiment.forecast import forecast
from coldstart_cli.experiment.open_loggers import opened
from coldstart_cli.experiment.parts import check_pretrained, preprocess_of, shape_facts
from coldstart_cli.experiment.trainer import Training
from coldstart_cli.files.durable import read_json
from coldstart_cli.loggers.logger import Logger
from coldstart_cli.metrics.json_edge import from_json, to_json
from coldstart_cli.metrics.records import Record
from coldstart_cli.metrics.results import Costs, HardwareFacts, Names, Summary, TrainingFacts
from coldstart_cli.metrics.summary import summarise
from coldstart_cli.processes import launch, ranks
from coldstart_cli.processes.signals import StopOnSignal
from coldstart_cli.reports import evaluation_table, finished_run, plots
from coldstart_cli.reports.finished_run import Show
from coldstart_cli.runs.run import PLACES, Run, evaluation_hash, run_name
from coldstart_cli.safe_text import printable


@dataclass(frozen=True, slots=True)
class Options:
    """Flags of the command line that are not part of the config.

    Attributes:
        watcher: an additional logger of the caller, such as a sweep.
        train_only: do not evaluate on new tasks, as in a search for hyper-parameters.
        asked: name of the command, where its answer may be remembered.
        show: what is printed at the end; None for the report, or with `quiet` the run directory.
    """

    quiet: bool
    dry_run: bool
    command_line: Sequence[str]
    watcher: Logger | None = None
    train_only: bool = False
    asked: str | None = None
    show: Show | None = None


def train(config: Mapping[str, Any], options: Options) -> Outcome:
    """Trains, continues or finds the run, evaluates it if that has not been done, and prints."""
    # Taken before the data set reads them: a change in between then shows, and no note is left.
    seen = finished.files_of(config) if options.asked else None  # before they are read
    with launch.joined():
        experiment = assemble(config)
        run = Run(Path(config["outputs"]) / run_name(config, experiment.source.fingerprint))
        if options.dry_run:
            # Otherwise a process steps as it would among others, and what it takes is known of one.
            if experiment.hardware.shard:
                _together(_forecast, experiment, run, options)
                return Outcome(run.path, "", found=False, line="as it is printed above")
            return Outcome(run.path, "", found=False, line=forecast(experiment, run))
        check_found(run, experiment)
        name = evaluation_hash(config, experiment.source.fingerprint)
        found = ranks.agreed(lambda: run.finished and not config["again"] and run.evaluation(name).exists())
        if found:
            _say(options, finished_run.FINISHED.format(run.path))
            run.note_trials(name, experiment.training.trials)
            _say_where_measured(experiment, run, name, options)
        else:
            _together(_train_and_evaluate, experiment, run, options)
            if options.train_only:
                return Outcome(run.path, "", found=False, line=str(run.path))
        line = _show(experiment, run, name, options)
        if options.asked and seen and ranks.first():
            finished.remember(options.asked, seen, config, run.path, name, experiment.hardware.facts())
        return Outcome(run.path, name, found, line)


def reevaluate(config: Mapping[str, Any], run: Run, options: Options) -> Outcome:
    """Evaluates a finished run by `config`, which is the run's own except for what was changed."""
    with launch.joined():
        experiment = assemble(config, run)
        check_pretrained(run, config, experiment.strategy)
        _warn_of_other_data(experiment, run)
        name = evaluation_hash(config, experiment.source.fingerprint)
        found = ranks.agreed(lambda: run.evaluation(name).exists() and not config["again"])
        if found:
            _say(options, f"{run.path}: this evaluation is finished (again=true evaluates anew)")
            _say_where_measured(experiment, run, name, options)
        else:
            _together(_evaluate_again, experiment, run, options)
        return Outcome(run.path, name, found, _show(experiment, run, name, options))


def _warn_of_other_data(experiment: Experiment, run: Run) -> None:
    """A line where inputs lie far from those of training, and where the run's own data are others now."""
    if not ranks.first():
        return
    known = read_json(run.path / "environment.json", "run")
    if known["fingerprint"] == experiment.source.fingerprint:
        return
    source = experiment.source
    # One feature is not held to the mean of an image: weights that take no such input are refused later.
    if _n_axes(known.get("input_shape")) == _n_axes(shape_facts(source)):
        inputs = source.tasks("new", [0])[0].query.inputs
        shift = input_range.shift_from(input_range.from_json(known.get("input_ranges", {})), inputs)
        if shift is not None:
            warnings.warn(f"dataset: {shift}", RuntimeWarning, stacklevel=2)
    if experiment.config["dataset"] == run.config["dataset"]:
        place = experiment.config["dataset"].get("root") or experiment.config["names"]["dataset"]
        warnings.warn(
            f"dataset: {place} does not hold the data that {run.path} was trained on; where that is not "
            "meant, name them (dataset.root=PATH)",
            RuntimeWarning,
            stacklevel=2,
        )


def _n_axes(shape: Any) -> Any:
    """The number of axes of one input, or of each of its tensors."""
    return {name: len(part) for name, part in shape.items()} if isinstance(shape, dict) else len(shape or ())


def _placed(config: Mapping[str, Any]) -> dict[str, Any]:
    """The config with places as whole paths: a later command may be typed in another folder."""
    node = dict(config["dataset"])
    for key in PLACES:
        if key == "labelled":
            node |= {key: [_whole(place) for place in node[key]]} if node.get(key) else {}
        elif isinstance(node.get(key), str):
            node[key] = _whole(node[key])
    return {**config, "dataset": node}


def _whole(place: str) -> str:
    """As it is where nothing is there."""
    path = Path(place).expanduser()
    return str(path.absolute()) if path.exists() else place


def check_found(run: Run, experiment: Experiment) -> None:
    """Refuses to take a run for this experiment's that is another by its content.

    Raises:
        RequestError: where it was copied or renamed, or trained over other pretrained weights.
    """
    if run.exists and not experiment.config["again"]:
        run.check_name()
        check_pretrained(run, experiment.config, experiment.strategy)


Work = Callable[[Experiment, Run, Options], None]


def _together(work: Work, experiment: Experiment, run: Run, options: Options) -> None:
    """Does the work in as many processes as requested: here, if that is one or this is one of them."""
    processes = experiment.hardware.processes
    # Under torchrun the others exist already.
    if ranks.world() > 1 or processes == 1:
        work(experiment, run, options)
    else:
        again = work is _evaluate_again
        launch.launch(_in_rank, (work, dict(experiment.config), run.path, options, again), processes)


def _in_rank(work: Work, config: Mapping[str, Any], path: Path, options: Options, again: bool) -> None:
    run = Run(path)
    # Built again in each process: a config is small and can be sent, data and networks are not.
    work(assemble(config, run if again else None), run, options)


def _forecast(experiment: Experiment, run: Run, options: Options) -> None:
    forecast(experiment, run)


def _train_and_evaluate(experiment: Experiment, run: Run, options: Options) -> None:
    config = experiment.config
    # The lock comes first: a second process is refused before it has touched anything.
    with run.locked(), StopOnSignal() as stop:
        resumed = ranks.agreed(lambda: run.exists and not config["again"])
        with opened(config, run.path, options.watcher, quiet=options.quiet, resumed=resumed) as loggers:
            if not resumed:
                run.create(_placed(config), environment(experiment, options.command_line))
            _train(experiment, run, loggers, stop, options)
            if not options.train_only:
                _evaluate(experiment, run, loggers, stop)


def _evaluate_again(experiment: Experiment, run: Run, options: Options) -> None:
    with (
        run.locked(),
        StopOnSignal() as stop,
        opened(experiment.config, run.path, options.watcher, quiet=options.quiet, resumed=True) as loggers,
    ):
        _evaluate(experiment, run, loggers, stop)


def _train(
    experiment: Experiment, run: Run, loggers: Sequence[Logger], stop: StopOnSignal, options: Options
) -> None:
    if ranks.agreed(lambda: run.finished):
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
        _say(options, f"{run.path}: continues after step {training.step}")
    if experiment.strategy.learns_from_source:
        for logger in loggers:
            logger.start("training", experiment.training.steps, training.step)
    try:
        training.fit(loggers, stop)
    except JobError:  # the curve so far may show why
        _draw(run)
        raise
    run.mark(
        "finished",
        steps=training.step,
        best_step=training.best_step,
        seconds=training.seconds,
        examples=training.examples,
    )


@ranks.alone
def _draw(run: Run, evaluation: str | None = None) -> None:
    plots.draw(run, evaluation)


def _evaluate(experiment: Experiment, run: Run, loggers: Sequence[Logger], stop: StopOnSignal) -> None:
    """Evaluates the strategy, in its best state, and the baseline; writes records and summary."""
    plan, source = experiment.evaluation, experiment.source
    name = evaluation_hash(experiment.config, source.fingerprint)
    try:
        # The best state by validation tasks, which the last step need not be.
        experiment.strategy.load_state_dict(ranks.agreed(run.checkpoints.best)["strategy"])
    except (RuntimeError, KeyError, TypeError) as error:
        raise RequestError(
            f"dataset: the weights of {run.path} do not fit its inputs or classes; evaluate on data like the "
            "run's own, or train on this"
        ) from error
    # Recorded when the run began; with other data there are no held-out examples of its classes.
    trained_on = ranks.agreed(lambda: read_json(run.path / "environment.json", "run")["fingerprint"])
    on_source = trained_on == source.fingerprint
    records, chosen = evaluate(
        experiment.contestants,
        source,
        plan,
        experiment.hardware,
        loggers,
        stop,
        trained_on_source=on_source,
        baselines=(baselines := known_baselines(experiment)),
    )
    if not ranks.first():  # only the first measures costs, while the others wait
        return
    summary = _summary(experiment, run, records, chosen, baselines, trained_on_source=on_source)
    run.write_evaluation(name, experiment.config, [record.row() for record in records], to_json(summary))
    _draw(run, name)
    own = evaluation_hash(run.config, trained_on)
    _tell(loggers, run.state["steps"], summary, "" if name == own else f"{name}/")


def known_baselines(experiment: Experiment) -> Baselines | None:
    """Where the baseline's records may come from; None where they have to be measured here."""
    config, plan = experiment.config, experiment.evaluation
    if config["baseline"] is None or not plan.reuse_baseline:
        return None
    facts = {
        "seed": config["seed"],
        "hardware": experiment.hardware.facts(),
        "vectorize": experiment.vectorize,
    }
    known = Baselines(variants(config["baseline"], plan.baseline_search), config["model"], facts)
    return known if known.usable else None


def _summary(
    experiment: Experiment,
    run: Run,
    records: Sequence[Record],
    chosen: Mapping[str, Mapping[int, tuple[str, int]]],
    baselines: Baselines | None,
    *,
    trained_on_source: bool,
) -> Summary:
    """Everything that is reported: findings from the records, the costs measured now, and facts."""
    plan, source, state = experiment.evaluation, experiment.source, run.state
    steps = {role: {k: step for k, (_, step) in choices.items()} for role, choices in chosen.items()}
    costs = _costs(experiment, steps["strategy"])
    better = source.objective.higher_is_better
    found = summarise(records, steps, higher_is_better=better, confidence=plan.confidence)
    refused = {k: source_refusal(source, plan, k, trained_on_source) for k in plan.k_shots}
    return Summary(
        names=from_json(Names, dict(experiment.config["names"])),
        seed=experiment.config["seed"],
        headline=source.objective.headline,
        higher_is_better=better,
        units={source.objective.headline: source.objective.unit, **source.objective.units},
        n_way=shape_of(source, plan, 1).n_way,
        n_tasks=plan.n_tasks,
        confidence=plan.confidence,
        coverage=plan.coverage,
        transductive=experiment.strategy.transductive,
        variants={k: variant for k, (variant, _) in chosen.get("baseline", {}).items()},
        shots=found.shots,
        over_shots=found.over_shots,
        costs=costs,
        budgets=plan.budget.verdicts(costs),
        hardware=from_json(HardwareFacts, experiment.hardware.facts()),
        training=TrainingFacts(
            state["steps"],
            state["best_step"],
            state["seconds"],
            state["examples"],
            experiment.training.trials,
        ),
        source=source.facts(),
        left_out=experiment.left_out,
        source_left_out={k: reason for k, reason in refused.items() if reason is not None},
        edges=[
            *edges(plan, chosen, experiment.config["names"], by_tasks=source.validation != "as_new"),
            *one_task_alone(records),
        ]
        or None,
        baseline_read=None if baselines is None else baselines.summary(),
    )


def _tell(loggers: Sequence[Logger], step: int, summary: Summary, above: str) -> None:
    """Passes on the numbers of an evaluation; those beyond the run's own config go below its hash."""
    values = {f"{above}{name}": value for name, value in evaluation_table.values(summary).items()}
    for logger in loggers:
        logger.summary(step, values)


def _costs(experiment: Experiment, steps: Mapping[int, int]) -> Costs:
    """What the predictor costs, and what adaptation to each k costs with the chosen number of steps."""
    plan, source, hardware = experiment.evaluation, experiment.source, experiment.hardware
    tasks = {k: list(tasks_of(source.with_shape(shape_of(source, plan, k)), "new", 10)) for k in steps}
    preprocess = preprocess_of(experiment.config["model"], "model", experiment.config["trust"])
    adapting = {
        k: adaptation_ms(experiment.strategy, tasks[k], step, hardware)
        + encoding_ms(preprocess, len(tasks[k][0].support), hardware)
        for k, step in steps.items()
    }
    return costs(experiment.strategy, next(iter(tasks.values()))[0], plan, hardware, adapting, preprocess)


def _show(experiment: Experiment, run: Run, name: str, options: Options) -> str:
    """Prints and returns what `finished_run.show` does, on the first process; draws missing plots."""
    if not ranks.first():
        return ""
    for evaluation, file in zip((None, name), plots.files(name), strict=True):
        if not (run.path / "plots" / file).exists():
            plots.draw(run, evaluation)
    show: Show = options.show or ("path" if options.quiet else "report")
    return finished_run.show(run, name, experiment.evaluation.budget, show=show)


def _say(options: Options, text: str) -> None:
    if not options.quiet and ranks.first():
        print(printable(text), file=sys.stderr)


def _say_where_measured(experiment: Experiment, run: Run, name: str, options: Options) -> None:
    """Says where a finished evaluation was timed, if that was on other hardware or threads."""
    if not ranks.first():
        return
    before = run.summary(name).hardware
    if before != from_json(HardwareFacts, experiment.hardware.facts()):
        told = f"{before.device}: {before.name}, {before.threads} threads, {before.precision}"
        _say(
            options,
            f"its times are of other hardware ({told}); coldstart evaluate run={run.path} again=true "
            "measures on this",
        )
