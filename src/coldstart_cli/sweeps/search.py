"""`coldstart tune`: a search for hyper-parameters that sees source-validation tasks and nothing else.

The search space is written as in Hydra's sweeps: `strategy.inner_lr=tag(log, interval(0.01, 1))`,
`model.hidden=choice(32, 64)`, `strategy.inner_steps=range(1, 6)`; without any, the strategy's file of
conf/search says it. Optuna (Akiba et al. 2019, arXiv:1907.10902) proposes, a child process trains, the best
source-validation value of the training is the trial's. New tasks are touched once at the end, by the best
trial, and only where that is asked for.
"""

from __future__ import annotations

import contextlib
import copy
import shlex
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from multiprocessing.connection import wait
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import numpy as np
from annotated_types import Ge

from coldstart_cli.config import composition
from coldstart_cli.config.building import build
from coldstart_cli.config.search_files import ranges_in, search_file
from coldstart_cli.config.search_space import Searched
from coldstart_cli.digests import json_digest
from coldstart_cli.errors import RequestError
from coldstart_cli.experiment import running
from coldstart_cli.experiment.assembly import assemble
from coldstart_cli.files.locks import held
from coldstart_cli.files.regular import regular
from coldstart_cli.package import getting
from coldstart_cli.processes.signals import StopOnSignal
from coldstart_cli.runs.run import (
    DETERMINING,
    PLACES,
    Run,
    best_on_validation,
    folder_name,
    run_name,
    training_that_determines,
)
from coldstart_cli.sweeps.launcher import Child, Job, SweepPlan, children, n_at_once, stop_all

if TYPE_CHECKING:
    import optuna

Space = Mapping[str, Searched]


@dataclass(frozen=True, kw_only=True, slots=True)
class TunePlan:
    """What `tune` is asked for; see conf/tune.yaml."""

    n_trials: Annotated[int, Ge(1)]
    storage: str | None
    study: str | None
    sampler_seed: Annotated[int, Ge(0)]
    pruner: Literal["median", "none"]
    evaluate: bool


def tune(overrides: Sequence[str], options: running.Options, config_dirs: Sequence[str]) -> int:
    """Runs trials up to the number asked for and prints the best with its command.

    Args:
        config_dirs: folders with your own configs, which that command names again.

    Returns:
        The exit code.

    Raises:
        RequestError: where nothing is searched, a value cannot be searched, or optuna is missing.
    """
    own = [o for o in overrides if o.startswith("tune.")]
    plan: TunePlan = build(composition.values_of("tune", own), "tune", TunePlan, [], {})
    optuna = _optuna()
    fixed, typed = composition.search_space([o for o in overrides if o not in own])
    space = typed or _space_of_file(fixed, options, config_dirs)
    search = _Search(optuna, plan, fixed, space, options, config_dirs)
    with search.locked(), StopOnSignal() as stop:
        search.run(stop)
    return search.report()


def _space_of_file(fixed: Sequence[str], options: running.Options, config_dirs: Sequence[str]) -> Space:
    """What conf/search says of the strategy, without the keys that the command line gives a value.

    Raises:
        RequestError: where there is no such file, or it leaves nothing to search.
    """
    ((_, config),) = composition.points(fixed)
    name = config["names"]["strategy"]
    path = search_file(name, config_dirs)
    if path is None:
        raise RequestError(
            f"tune: nothing is searched and there is no search/{name}.yaml; give a key a range, as in "
            "'strategy.inner_lr=interval(0.01, 1)'"
        )
    given = {word.partition("=")[0].lstrip("+") for word in fixed}
    fixed_values, found = composition.search_space(ranges_in(path))
    if fixed_values:
        raise RequestError(f"{path}: {fixed_values[0]} is one value; write a range, as in choice(1, 2, 4)")
    space = {key: searched for key, searched in found.items() if key not in given}
    if not space:
        raise RequestError(f"tune: the command line gives every key of {path} a value; leave one out")
    if not options.quiet:
        print(f"tune: searches {', '.join(space)}, as {path} says", file=sys.stderr)
    return space


class _Search:
    """A study, and the trials that are running."""

    def __init__(
        self,
        optuna: Any,
        plan: TunePlan,
        fixed: Sequence[str],
        space: Space,
        options: running.Options,
        config_dirs: Sequence[str],
    ) -> None:
        self.config_dirs = config_dirs
        self.optuna, self.plan, self.fixed, self.space = optuna, plan, fixed, space
        self.options = replace(options, train_only=True)
        self.first = self._config({key: searched.first for key, searched in space.items()})
        experiment = assemble(self.first)
        objective = experiment.source.objective
        self.metric, self.higher = f"validation_{objective.headline}", objective.higher_is_better
        names = self.first["names"]
        self.outputs = Path(self.first["outputs"])
        searched = json_digest([sorted(fixed), {key: str(s) for key, s in sorted(space.items())}])
        self.name = (
            plan.study or f"{folder_name(names['strategy'])}-{folder_name(names['dataset'])}-{searched}"
        )
        if plan.study and folder_name(plan.study) != plan.study:
            raise RequestError(
                f"tune.study: {plan.study!r} is not a file name; write letters, digits, ., _ and -"
            )
        self.problem = _problem(self.first, experiment.source.fingerprint, self.metric, space)
        self.storage = Path(plan.storage) if plan.storage else self.outputs / "tune" / f"{self.name}.db"
        self._check_storage()
        self.storage.parent.mkdir(parents=True, exist_ok=True)
        self.distributions = {key: s.distribution(optuna) for key, s in space.items()}

    @contextlib.contextmanager
    def locked(self) -> Iterator[None]:
        """Keeps other searches out of this study: they would take up its running trials as left behind.

        Raises:
            RequestError: if another process holds it.
        """
        path = self.storage.with_name(f".{self.storage.name}.{self.name}.lock")
        with held(path, self._searched_by):
            yield

    def _searched_by(self, process: str) -> str:
        return (
            f"tune: {self.name} is searched in process {process}; wait for it, or begin another with "
            "tune.study=NAME"
        )

    def run(self, stop: StopOnSignal) -> None:
        """Asks, trains and tells until there are as many trials as were asked for."""
        pruners = self.optuna.pruners
        self.study: optuna.Study = self.optuna.create_study(
            storage=f"sqlite:///{self.storage}",
            study_name=self.name,
            load_if_exists=True,
            direction="maximize" if self.higher else "minimize",
            pruner=pruners.MedianPruner(n_startup_trials=4)
            if self.plan.pruner == "median"
            else pruners.NopPruner(),
        )
        self._check_problem()
        self._take_up_what_was_left()
        plan: SweepPlan = build(self.first["sweep"], "sweep", SweepPlan, [], {})
        at_once = n_at_once(plan, self.first, self.plan.n_trials)
        start = children(self.options, at_once)
        running: dict[Child, optuna.Trial] = {}
        try:
            while len(self._ended()) + len(running) < self.plan.n_trials or running:
                while len(running) < at_once and len(self._ended()) + len(running) < self.plan.n_trials:
                    self._begin(start, running, len(self._ended()) + len(running))
                wait([c.sentinel for c in running] + [c.messages for c in running], timeout=0.25)
                for child, trial in list(running.items()):
                    self._follow(child, trial)
                    if child.ended:
                        del running[child]
                        self._tell(child, trial)
                stop.check()
        finally:
            stop_all(list(running))

    def report(self) -> int:
        """Prints the best trials and the command of the best."""
        ended = [t for t in self._ended() if t.value is not None]
        if not ended:
            print("tune: no trial came to an end; see the logs in", self.storage.parent, file=sys.stderr)
            return 1
        ended.sort(key=lambda t: -t.value if self.higher else t.value)
        pruned = len(self._ended()) - len(ended)
        print(
            f"\nStudy {self.name} in {self.storage}: {len(self._ended())} trials, {pruned} without a result"
        )
        for trial in ended[:10]:
            settings = " ".join(f"{key}={_text(value)}" for key, value in trial.params.items())
            print(f"  {self.metric.replace('_', ' ')} {trial.value:.4f}  {settings}")
        best = [f"{key}={_text(value)}" for key, value in ended[0].params.items()]
        ends = [(key, value, self.space[key].end(value)) for key, value in ended[0].params.items()]
        for key, value, end in ends:
            if end is not None:
                print(f"{key}={_text(value)} is the {end} that was tried; try a range that goes on there")
        trials = f"training.trials={len(self._ended())}"
        folders = [word for folder in self.config_dirs for word in ("--config-dir", folder)]
        words = [o for o in self.fixed if not o.startswith("hydra.searchpath=")]
        command = shlex.join(["coldstart", "train", *folders, *words, *best, trials])
        print(f"\nThe best, by source-validation tasks: {command}")
        if self.plan.evaluate:
            config = self._config(ended[0].params, trials)
            running.train(config, replace(self.options, train_only=False))
        return 0

    def _check_storage(self) -> None:
        """Refuses what SQLite would wait for."""
        try:
            regular(self.storage)
        except FileNotFoundError:
            return
        except OSError as error:
            raise RequestError(
                f"tune.storage: {self.storage}: {error.strerror}; name another file"
            ) from error

    def _check_problem(self) -> None:
        """Refuses a study of another problem: its values say nothing of this one.

        Raises:
            RequestError: naming what differs.
        """
        known = self.study.user_attrs.get("problem")
        if known is None:
            if self.study.get_trials(deepcopy=False):
                print(
                    f"tune: {self.name} does not say what it searched; taken for this problem",
                    file=sys.stderr,
                )
            self.study.set_user_attr("problem", self.problem)
            return
        differing = [part for part in self.problem if known.get(part) != self.problem[part]]
        if differing:
            raise RequestError(
                f"tune.study: {self.name} in {self.storage} is of another problem ({', '.join(differing)} "
                "differ); name another with tune.study=NAME"
            )

    def _take_up_what_was_left(self) -> None:
        """Trials of a search that was killed are proposed again; their runs go on from their checkpoints."""
        states = self.optuna.trial.TrialState
        for trial in self.study.get_trials(deepcopy=False, states=(states.RUNNING,)):
            self.study.enqueue_trial(trial.params)
            self.study.tell(trial.number, state=states.FAIL)

    def _ended(self) -> list[Any]:
        states = self.optuna.trial.TrialState
        found: list[Any] = self.study.get_trials(deepcopy=False, states=(states.COMPLETE, states.PRUNED))
        failed = self.study.get_trials(deepcopy=False, states=(states.FAIL,))
        return found + [trial for trial in failed if "reason" in trial.user_attrs]

    def _begin(self, start: Any, running: dict[Child, Any], n_asked: int) -> None:
        trial = self.proposed(n_asked)
        try:
            config = self._config(trial.params)
            experiment = assemble(config)
        except RequestError as error:
            trial.set_user_attr("reason", str(error))
            self.study.tell(trial, state=self.optuna.trial.TrialState.FAIL)
            self._say(trial, f"refused: {error}")
            return
        run = Run(self.outputs / run_name(config, experiment.source.fingerprint))
        log = self.storage.parent / f"{self.name}-{trial.number:03d}.log"
        job = Job(f"trial {trial.number}", config, run.path, log)
        if run.finished:
            self._tell_value(trial, run.path)
            return
        running[start(job)] = trial

    def proposed(self, n_asked: int) -> Any:
        """The next trial, by a generator of its own: a search that goes on proposes as if never left.

        Args:
            n_asked: trials before it that ended or are running.
        """
        seed = int(np.random.SeedSequence([self.plan.sampler_seed, n_asked]).generate_state(1)[0])
        self.study.sampler = self.optuna.samplers.TPESampler(seed=seed)
        return self.study.ask(self.distributions)

    def _follow(self, child: Child, trial: Any) -> None:
        """Hands validation values on, and ends a trial that the pruner gives up."""
        child.read()
        for step, value in child.validations():
            if step:  # what is not trained yet says nothing of a trial
                trial.report(value, step)
        if not child.ended and trial.should_prune():
            child.stop("pruned")

    def _tell(self, child: Child, trial: Any) -> None:
        child.close()
        states = self.optuna.trial.TrialState
        if child.job.state == "done":
            self._tell_value(trial, child.job.run)
        elif child.job.result == "pruned":
            self.study.tell(trial, state=states.PRUNED)
            self._say(trial, "ended early, below the median")
        else:
            trial.set_user_attr("reason", child.job.result)
            self.study.tell(trial, state=states.FAIL)
            self._say(trial, f"failed: {child.job.result} ({child.job.log})")

    def _tell_value(self, trial: Any, path: Path) -> None:
        value = best_on_validation(path, self.metric, self.higher)
        if value is None:
            trial.set_user_attr("reason", "it has no validation value")
            self.study.tell(trial, state=self.optuna.trial.TrialState.FAIL)
            return
        self.study.tell(trial, value)
        self._say(trial, f"{self.metric.replace('_', ' ')} {value:.4f}")

    def _say(self, trial: Any, text: str) -> None:
        if not self.options.quiet:
            settings = " ".join(f"{key}={_text(value)}" for key, value in trial.params.items())
            stamp = time.strftime("%H:%M:%S")
            print(f"{stamp} trial {trial.number}: {text}  {settings}", file=sys.stderr, flush=True)

    def _config(self, params: Mapping[str, Any], *more: str) -> composition.Config:
        chosen = [*(f"{key}={_text(value)}" for key, value in params.items()), *more]
        ((_, config),) = composition.points([*self.fixed, *chosen])
        return config


def _text(value: object) -> str:
    return repr(value) if isinstance(value, float) else str(value)


def _problem(config: Mapping[str, Any], fingerprint: str, metric: str, space: Space) -> dict[str, str]:
    """What a study is about: part of the config -> a digest of it, without the values that are searched."""
    parts: dict[str, Any] = {part: copy.deepcopy(config[part]) for part in DETERMINING}
    for key in space:
        *above, last = key.split(".")
        node: Any = parts
        for name in above:
            node = node.get(name, {}) if isinstance(node, dict) else {}
        if isinstance(node, dict):
            node.pop(last, None)
    parts["dataset"] = {k: v for k, v in parts["dataset"].items() if k not in PLACES}
    parts["training"] = training_that_determines(parts["training"])
    parts |= {"data": fingerprint, "metric": metric}
    parts["space"] = {key: str(searched) for key, searched in sorted(space.items())}
    return {part: json_digest(value) for part, value in parts.items()}


def _optuna() -> Any:
    try:
        import optuna
    except ImportError as error:
        raise RequestError(f"tune: the package optuna is not installed; {getting('tune')} (E50)") from error
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    return optuna
