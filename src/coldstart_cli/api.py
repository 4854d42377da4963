"""The commands as functions, for scripts and notebooks; their names are those of `coldstart_cli`.

Errors that the command line prints in one line are raised here with the same line: `RequestError` for a
request that cannot be served, `JobError` for a job that failed. Overrides are written as on the command line.
Nothing is printed unless `quiet=False`. A call leaves the process as it found it: signal handlers, random
states, torch's threads and determinism. An interrupt (Ctrl-C) ends it after a checkpoint, from which the same
call continues.
"""

from __future__ import annotations

import os
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from coldstart_cli.comparison.comparison import CONFIDENCE, ZONE
from coldstart_cli.config.typed import once
from coldstart_cli.errors import RequestError
from coldstart_cli.experiment import requests
from coldstart_cli.experiment.finished import Outcome
from coldstart_cli.files.durable import read_jsonl
from coldstart_cli.files.untrusted import shaped
from coldstart_cli.metrics.records import Record, record_of
from coldstart_cli.metrics.results import Summary
from coldstart_cli.reports.finished_run import Show
from coldstart_cli.runs.run import Run, read_config

if TYPE_CHECKING:
    from coldstart_cli.bundles.bundle import Bundle
    from coldstart_cli.bundles.labelling.labelling import Proposed
    from coldstart_cli.choosing.choosing import Verdict
    from coldstart_cli.core.strategy import Strategy

Place = str | os.PathLike[str]


@dataclass(frozen=True, slots=True)
class RunResult:
    """A finished run with one of its evaluations; its files are read on demand.

    Example:
        >>> result = load_run("outputs/maml-glyphs-conv4-s0-1a2b3c4d")
        >>> result.summary.shots[1].new.after
        Interval(mean=0.71, half_width=0.03, n=100)

    Attributes:
        path: the run directory.
        evaluation: the name of the evaluation, a folder of `path / "evaluations"`.
        found: whether both already existed, finished.
    """

    path: Path
    evaluation: str
    found: bool

    @property
    def config(self) -> dict[str, Any]:
        """The resolved config of the evaluation: the run's own except for what `evaluate` changed."""
        return read_config(self._folder / "config.yaml")

    @property
    def summary(self) -> Summary:
        """Everything that is reported about the evaluation."""
        return Run(self.path).summary(self.evaluation)

    @property
    def records(self) -> list[Record]:
        """A row for each task, k and adaptation step."""
        rows = self._folder / "records.jsonl"
        with shaped("run", rows):
            return [record_of(row) for row in read_jsonl(rows)]

    @property
    def history(self) -> list[dict[str, Any]]:
        """A row of metrics for each training step that was logged."""
        return list(read_jsonl(self.path / "history.jsonl"))

    @property
    def evaluations(self) -> list[str]:
        """The names of all evaluations of the run, the newest first."""
        return _evaluations(self.path)

    def strategy(self) -> Strategy:
        """The trained strategy in its best state; it needs the run's data set, as `evaluate` does.

        Raises:
            RequestError: where the data are missing, or the weights do not fit.
        """
        from coldstart_cli.experiment.assembly import assemble

        run = Run(self.path)
        with requests.left_as_found(), shaped("run", self.path):
            strategy = assemble(requests.changed_config(run, [], [])).strategy
            strategy.load_state_dict(run.checkpoints.best()["strategy"])
        return strategy.eval()

    @property
    def _folder(self) -> Path:
        return Run(self.path).evaluation(self.evaluation)


def train(*overrides: str, config_dirs: Sequence[Place] = (), quiet: bool = True) -> RunResult:
    """Trains a strategy on source tasks, adapts it to new ones and evaluates it, as `coldstart train`.

    A finished run is found by its config and its data; an interrupted one continues.

    Example:
        >>> result = train("strategy=maml", "strategy.inner_lr=0.1", "seed=1")
        >>> result.path.name
        'maml-glyphs-conv4-s1-1a2b3c4d'

    Args:
        overrides: `group=choice` and `key=value`; a value with spaces, commas or brackets in quotes, as in
            `"dataset.root='my data'"`.
        config_dirs: folders with your own configs.
        quiet: print nothing; otherwise progress and the report, as the command does.

    Raises:
        RequestError: where the request cannot be served.
        JobError: where training fails, or an enforced budget is broken.
    """
    _check("train", overrides)
    dirs = _texts(config_dirs)
    words = ["coldstart", "train", *(f"--config-dir={folder}" for folder in dirs), *overrides]
    return _result(requests.train(overrides, dirs, show=_show(quiet), command_line=words))


def evaluate(
    run: RunResult | Place, *overrides: str, config_dirs: Sequence[Place] = (), quiet: bool = True
) -> RunResult:
    """Evaluates a finished run again: other shots, ways, steps, data or hardware, as `coldstart evaluate`.

    Example:
        >>> again = evaluate(result, "evaluation.k_shots=[1,2,5]")
        >>> sorted(again.summary.shots)
        [1, 2, 5]

    Args:
        run: a result of `train` or `load_run`, or a run directory.
        overrides, config_dirs, quiet: as for `train`.

    Raises:
        RequestError: where the run is not finished, or an override belongs to its training.
        JobError: where an enforced budget is broken.
    """
    _check("evaluate", overrides)
    path, dirs = _path(run), _texts(config_dirs)
    words = ["coldstart", "evaluate", *(f"--config-dir={d}" for d in dirs), f"run={path}", *overrides]
    return _result(requests.evaluate(Run(path), overrides, dirs, show=_show(quiet), command_line=words))


def adapt(
    *overrides: str, bundle: Place, run: RunResult | Place | None = None, config_dirs: Sequence[Place] = ()
) -> Bundle:
    """Adapts a trained or pretrained strategy to one task of your own, as `coldstart adapt`.

    Example:
        >>> bundle = adapt("strategy=nearest_centroid", "model=mlp", "dataset=tabular",
        ...                "dataset.root=table.csv", bundle="bundle")
        >>> bundle.card.cross_validation.mean
        0.92

    Args:
        overrides: as for `train`, and the keys of conf/adapt.yaml, such as `steps=5`.
        bundle: the folder to write; a bundle that is there becomes an earlier version of it, or is returned
            as it is (`found`) where nothing has changed.
        run: a finished run whose strategy is adapted; None for the strategy that the overrides compose.
        config_dirs: as for `train`.

    Raises:
        RequestError: where the strategy cannot serve the task, or its data cannot be read.
    """
    _check("adapt", overrides)
    if any(override.startswith(("run=", "bundle=")) for override in overrides):
        raise RequestError("adapt: run and bundle are arguments here; write adapt(..., bundle='DIR')")
    from coldstart_cli.bundles import requests as of_bundles

    path = None if run is None else _path(run)
    return of_bundles.adapt(overrides, _texts(config_dirs), run=path, bundle=Path(bundle))


def choose(*overrides: str, bundle: Place, config_dirs: Sequence[Place] = ()) -> tuple[Verdict, Bundle]:
    """Tries strategies on labels of your own and bundles the best, as `coldstart choose`.

    Example:
        >>> verdict, bundle = choose("dataset=tabular", "dataset.root=table.csv", bundle="bundle")
        >>> verdict.winner, verdict.by
        ('logistic', 'rule')

    Args:
        overrides: as for `adapt`, and the keys of conf/choose.yaml, such as `time_minutes=5`.
        bundle: the folder to write.
        config_dirs: as for `train`.

    Raises:
        RequestError: where no candidate can serve the task, or its data cannot be read.
    """
    _check("choose", overrides)
    if any(override.startswith("bundle=") for override in overrides):
        raise RequestError("choose: bundle is an argument here; write choose(..., bundle='DIR')")
    from coldstart_cli.choosing import requests as of_choosing

    return of_choosing.choose([*overrides, f"bundle={os.fspath(bundle)}"], _texts(config_dirs))


def label_next(*overrides: str, config_dirs: Sequence[Place] = ()) -> Proposed:
    """Writes which rows of a pool to label next, as `coldstart label-next`.

    Example:
        >>> label_next("input=pool.csv", "dataset=tabular", "n=20", "output=first.csv").proposed
        20

    Args:
        overrides: the keys of conf/label_next.yaml, such as `input=FILE`; without a bundle those of `adapt`.
        config_dirs: as for `train`.

    Raises:
        RequestError: where the pool cannot be read, or nothing in it is left to label.
    """
    _check("label_next", overrides)
    from coldstart_cli.bundles import requests as of_bundles

    return of_bundles.label_next(overrides, _texts(config_dirs))


def compare(*paths: RunResult | Place, confidence: float = CONFIDENCE, zone: float = ZONE) -> dict[str, Any]:
    """Compares runs, or bundles, as `coldstart compare --json`; docs/comparison.md describes the result.

    Example:
        >>> compare("outputs")["sentences"]
        ['maml is better than protonet at k = 1 ...']

    Args:
        paths: run directories, bundles, or folders of them. What cannot be read is listed as left out.
        confidence: of all intervals and tests of runs, from .5 to .9999.
        zone: the largest difference in accuracy that does not matter, as a share (.005 is half a point); of
            runs.

    Raises:
        RequestError: where nothing can be compared; it says what still can be done.
    """
    from coldstart_cli.comparison import bundles, comparison, findings, results
    from coldstart_cli.reports import bundle_comparison

    for name, value, low, high in (("confidence", confidence, 0.5, 0.9999), ("zone", zone, 0.0, 1.0)):
        if not low <= value <= high:
            raise RequestError(f"{name}: {value} is out of range; give a value from {low:g} to {high:g}")
    if not paths:
        raise RequestError("compare: no run is named; give run directories or a folder of them")
    folders = [_path(path) for path in paths]
    if named := bundles.bundle_folders(folders):
        if (confidence, zone) != (CONFIDENCE, ZONE):
            raise RequestError(
                "compare: confidence and zone are of runs and these are bundles; leave them out"
            )
        return bundle_comparison.as_json(bundles.compare_bundles(named))
    found, left_out = results.read(folders)
    with shaped("compare", ", ".join(map(str, folders))):
        return findings.as_json(comparison.compare(found, left_out, confidence=confidence, zone=zone))


def load_run(path: Place, evaluation: str | None = None) -> RunResult:
    """A finished run that is on disk.

    Example:
        >>> load_run("outputs/maml-glyphs-conv4-s0-1a2b3c4d").config["seed"]
        0

    Args:
        path: the run directory.
        evaluation: the name of one of its evaluations; None for the newest.

    Raises:
        RequestError: where the directory is not a finished run, or has no such evaluation.
    """
    run = Run(Path(path))
    requests.check_finished(run)
    names = _evaluations(run.path)
    if not names:
        raise RequestError(f"run: {run.path} has no evaluation; repeat its coldstart train command")
    if evaluation is not None and evaluation not in names:
        raise RequestError(f"evaluation: {run.path} has no {evaluation!r}; choose one of {', '.join(names)}")
    return RunResult(run.path, evaluation or names[0], found=True)


def _evaluations(path: Path) -> list[str]:
    places = [p for p in (path / "evaluations").glob("[!.]*") if (p / "summary.json").is_file()]
    return [p.name for p in sorted(places, key=lambda p: -(p / "summary.json").stat().st_mtime)]


def _result(outcome: Outcome) -> RunResult:
    return RunResult(outcome.path, outcome.evaluation, outcome.found)


def _show(quiet: bool) -> Show:
    return "nothing" if quiet else "report"


def _path(run: RunResult | Place) -> Path:
    return run.path if isinstance(run, RunResult) else Path(run)


def _texts(places: Sequence[Place]) -> list[str]:
    if isinstance(places, str | os.PathLike):
        raise RequestError(f"config_dirs: {str(places)!r} is not a list; give [{str(places)!r}]")
    return [os.fspath(place) for place in places]


def _check(command: str, overrides: Sequence[object]) -> None:
    """Refuses what Hydra would not understand, before it is imported."""
    for override in overrides:
        if not isinstance(override, str) or not ("=" in override or override.startswith("~")):
            raise RequestError(
                f"{command}: {override!r:.60} is not an override; write texts such as 'strategy=maml', "
                "'training.steps=100'"
            )
    for said in once([str(override) for override in overrides]):
        warnings.warn(said, RuntimeWarning, stacklevel=3)
