"""Sweeps: every point is checked before the first job runs, and one that fails does not stop the others.

The default launcher gives every job a process of its own (launcher.py). Hydra's launchers and sweepers keep
working: where one is named on the command line, it runs the jobs. Results are read from the run directories.
"""

from __future__ import annotations

import contextlib
import shlex
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

from coldstart_cli.comparison.comparison import compare
from coldstart_cli.comparison.flat_table import csv_of
from coldstart_cli.comparison.results import read
from coldstart_cli.config import composition
from coldstart_cli.config.building import build
from coldstart_cli.config.typed import in_quotes
from coldstart_cli.errors import JobError, RequestError, Unserved, line
from coldstart_cli.experiment import running
from coldstart_cli.experiment.assembly import assemble
from coldstart_cli.files.durable import PARTIAL, write_bytes, write_json
from coldstart_cli.files.leftovers import sweep_leftovers
from coldstart_cli.reports.evaluation_table import headline
from coldstart_cli.reports.html.report import write_html
from coldstart_cli.runs.run import Run, best_on_validation, evaluation_hash, run_name
from coldstart_cli.safe_text import printable
from coldstart_cli.sweeps.hydra_launchers import launch_by_hydra
from coldstart_cli.sweeps.launcher import Job, SweepPlan, launch
from coldstart_cli.sweeps.live_table import SweepView

FORMAT = 1
HYDRAS = ("hydra/launcher=", "hydra/sweeper=")
FAILED, NOT_SERVED = "failed: ", "not served: "


def run(overrides: Sequence[str], options: running.Options) -> int:
    """Runs all points and prints a table of their results. A method that cannot serve has the reason there.

    Returns:
        0, or 3 where some jobs failed.

    Raises:
        RequestError: at the first point that cannot run, before any has run.
    """
    if any(o.startswith("hydra/sweeper=") and o != "hydra/sweeper=basic" for o in overrides):
        return _by_sweeper(overrides, options)
    jobs = _checked(overrides, options)
    if options.dry_run:  # without Hydra's launcher, which writes a folder of its own
        return _told([(job.label, _forecast(job, options)) for job in jobs])
    folder = jobs[0].log.parent
    plan: SweepPlan = build(jobs[0].config["sweep"], "sweep", SweepPlan, jobs[0].config["trust"], {})
    folder.mkdir(parents=True, exist_ok=True)
    sweep_leftovers(folder.parent, f"*/.*{PARTIAL}")
    try:
        if any(o.startswith(HYDRAS) for o in overrides):
            launch_by_hydra(jobs, overrides, options)
        else:
            with SweepView(options.quiet) as view:
                watched = _Recorded(view, folder)
                watched.changed(jobs, None)
                launch(jobs, plan, options, watched)
    finally:
        _write(folder, jobs)
    return sweep_summary(folder, jobs, quiet=options.quiet)


def _checked(overrides: Sequence[str], options: running.Options) -> list[Job]:
    """All points as jobs; those that are finished already, or cannot be served, are so marked.

    Where a pattern named the configs (`strategy=glob(*)`), each that does not fit the others is left out and
    said: nobody typed its name.
    """
    jobs: list[Job] = []
    varied = _varied(overrides)
    stamp = time.strftime("%Y-%m-%d_%H-%M-%S") + f"_{time.time_ns() % 10**9 // 1000:06d}"
    refusal: RequestError | None = None
    tolerated = RequestError if composition.globbed(overrides) else Unserved
    for point, config in composition.points(overrides):
        label = " ".join(o for o in point if o.split("=")[0] in varied)
        outputs = Path(config["outputs"])
        log = outputs / "sweeps" / stamp / f"{len(jobs):03d}.log"
        try:
            experiment = assemble(config)
        except tolerated as error:  # a stated result of the sweep, not a mistake in it
            refusal = error
            jobs.append(Job(label, config, Path(), log, "not served", str(error)))
            continue
        except RequestError as error:
            raise RequestError(f"{error} (in the job {label})") from error
        known = Run(outputs / run_name(config, experiment.source.fingerprint))
        running.check_found(known, experiment)
        job = Job(label, config, known.path, log)
        place = known.evaluation(evaluation_hash(config, experiment.source.fingerprint))
        if known.finished and place.exists() and not config["again"] and not options.dry_run:
            job.state, job.result = "done", headline(known.summary(place.name))
        jobs.append(job)
    if refusal is not None and all(job.state == "not served" for job in jobs):
        raise refusal
    return jobs


def _forecast(job: Job, options: running.Options) -> str:
    return f"{NOT_SERVED}{job.result}" if job.state == "not served" else _tried(dict(job.config), options)


def _by_sweeper(overrides: Sequence[str], options: running.Options) -> int:
    """Lets Hydra's sweeper say what runs next, by the values it gets; its own output stays as it is."""
    ran: list[tuple[str, str]] = []

    def job(config: composition.Config) -> float | None:
        ran.append((f"job {len(ran)}", _tried(config, options)))
        trained = not options.dry_run and not ran[-1][1].startswith((FAILED, NOT_SERVED))
        return _on_validation(config) if trained else None

    with contextlib.ExitStack() as stack:
        words = list(overrides)
        if options.dry_run:  # nothing is left of what Hydra writes about a sweep
            folder = stack.enter_context(tempfile.TemporaryDirectory(prefix="coldstart-"))
            words = [o for o in words if not o.startswith("hydra.sweep.dir=")]
            words.append(f"hydra.sweep.dir={in_quotes(folder)}")
        composition.run_jobs(words, ["-m"], job)
    return _told(ran)


def _tried(config: composition.Config, options: running.Options) -> str:
    """Trains, or says what training would take; the headline, or why there is none."""
    try:
        return running.train(config, options).line
    except Unserved as error:
        return f"{NOT_SERVED}{error}"
    except (RequestError, JobError) as error:
        return f"{FAILED}{error}"


def _told(ran: Sequence[tuple[str, str]]) -> int:
    """Prints a line for each job; the exit code of them all."""
    for label, result in ran:
        print(f"  {label}  {result}")
    return 3 if any(result.startswith(FAILED) for _, result in ran) else 0


def _on_validation(config: composition.Config) -> float | None:
    """The best value on source-validation tasks: what a sweeper that searches may choose by."""
    experiment = assemble(config)
    objective = experiment.source.objective
    run = Path(config["outputs"]) / run_name(config, experiment.source.fingerprint)
    return best_on_validation(run, f"validation_{objective.headline}", objective.higher_is_better)


class _Recorded:
    """A view that also keeps runs.json true while the sweep goes."""

    def __init__(self, view: SweepView, folder: Path) -> None:
        self._view, self._folder = view, folder

    def changed(self, jobs: Sequence[Job], job: Job | None) -> None:
        if job is not None:
            _write(self._folder, jobs)
        self._view.changed(jobs, job)


def _write(folder: Path, jobs: Sequence[Job]) -> None:
    """runs.json: what `compare` reads of a sweep."""
    rows = [
        {
            "label": job.label,
            "path": str(job.run.resolve()) if job.run != Path() else None,
            "state": job.state,
            "reason": job.result if job.state in ("failed", "not served") else None,
            "log": job.log.name,
            "seconds": round(job.seconds, 3),
        }
        for job in jobs
    ]
    write_json(folder / "runs.json", {"format": FORMAT, "runs": rows})


def sweep_summary(folder: Path, jobs: Sequence[Job], *, quiet: bool) -> int:
    """Prints the jobs and what they say together; writes summary.csv and report.html into the folder.

    Returns:
        The exit code: 3 where some jobs failed.
    """
    failed = [job for job in jobs if job.state == "failed"]
    refused = [job for job in jobs if job.state == "not served"]
    if quiet:
        print("\n".join(str(job.run) for job in jobs if job.state == "done"))
    else:
        width = max(len(job.label) for job in jobs)
        counted = f", {len(refused)} not served" if refused else ""
        print(f"\n{len(jobs)} jobs, {len(failed)} failed{counted}")
        for job in jobs:
            said = job.result if job.state == "done" else f"{job.state}: {job.result}"
            print(f"  {job.label:<{width}}  {said}")
        if failed:
            print("\nFailed, with their logs; the same command runs these again and no others")
            for job in failed:
                print(f"  {job.label:<{width}}  {job.result}  {job.log}")
        _compare(folder, jobs)
    return 3 if failed else 0


def _compare(folder: Path, jobs: Sequence[Job]) -> None:
    """The verdict over the runs that were made, where there are two or more."""
    done = list(dict.fromkeys(job.run for job in jobs if job.state == "done"))
    if len(done) < 2:
        return
    results, left_out = read(done)
    try:
        found = compare(results, left_out)
    except RequestError as error:
        print("", line(str(error)), sep="\n")
        return
    write_bytes(folder / "summary.csv", csv_of(found).encode())
    write_html(found, folder / "report.html")
    print()
    for sentence in found.sentences:
        print(printable(f"{sentence[:1].upper()}{sentence[1:]}."))
    command = f"coldstart compare {shlex.quote(str(folder))}"
    print(f"\nMore: {command}, {folder / 'report.html'} and summary.csv beside it")


def _varied(overrides: Sequence[str]) -> set[str]:
    """The keys that take more than one value, as their text shows; all where none does."""
    keys = {o.split("=")[0] for o in overrides}
    several = {o.split("=")[0] for o in overrides if _is_choice(o.partition("=")[2])}
    return several or keys


def _is_choice(value: str) -> bool:
    """Whether the text of a value is several: commas outside of brackets, or a sweep's function."""
    depth, text = 0, value.strip()
    for character in text:
        depth += {"[": 1, "{": 1, "(": 1, "]": -1, "}": -1, ")": -1}.get(character, 0)
        if character == "," and depth == 0:
            return True
    return text.startswith(("choice(", "range(", "glob(", "interval(", "shuffle(", "sort(", "tag("))
