"""`choose` for the command line and for Python: words in, a verdict and a bundle out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from coldstart_cli.bundles.requests import composed, keys_named, standardised
from coldstart_cli.config import composition
from coldstart_cli.config.candidate_files import Candidate, candidates_file, candidates_in
from coldstart_cli.config.typed import quoted
from coldstart_cli.datasets.own.kinds import kind_of
from coldstart_cli.errors import RequestError, suggestion
from coldstart_cli.experiment.requests import left_as_found

if TYPE_CHECKING:
    from coldstart_cli.bundles.bundle import Bundle
    from coldstart_cli.bundles.judging.held_out_labels import Told
    from coldstart_cli.choosing.choosing import Outlook, Verdict
    from coldstart_cli.choosing.entrants import Composed
    from coldstart_cli.choosing.plan import ChoosePlan


def choose(
    words: Sequence[str], config_dirs: Sequence[str], told: Told = lambda what, done, total: None
) -> tuple[Verdict, Bundle]:
    """Tries candidates and writes the winner's bundle.

    Args:
        words: overrides of data set, model and evaluation; keys of conf/adapt.yaml and conf/choose.yaml.
        config_dirs: folders with your own configs.
        told: hears how far it is.

    Raises:
        RequestError: for what cannot be chosen from.
    """
    with left_as_found():
        candidates, plan = _asked(words, config_dirs)
        from coldstart_cli.choosing import choosing

        folder = Path(candidates[0].config["outputs"]) / "choose"
        return choosing.chosen(candidates, plan, folder, told)


def outlook(words: Sequence[str], config_dirs: Sequence[str]) -> Outlook:
    """What `choose` would do, without doing it; arguments and errors as of `choose`."""
    with left_as_found():
        candidates, plan = _asked(words, config_dirs)
        from coldstart_cli.choosing import choosing

        return choosing.outlook(candidates, plan)


def _asked(words: Sequence[str], config_dirs: Sequence[str]) -> tuple[list[Composed], ChoosePlan]:
    keys = composition.values_of("choose", [])
    typed = quoted(words, sweeps=False)
    own = [word for word in typed if word.partition("=")[0].removeprefix("choose.") in keys]
    rest = [word for word in typed if word not in own]
    as_typed = [word for word, one in zip(words, typed, strict=True) if one not in own]
    for key in ("strategy", "run"):
        if any(word.startswith(f"{key}=") for word in rest):
            instead = "candidates=[...]" if key == "strategy" else "runs=[DIR]"
            raise RequestError(f"{key}: choose compares several; name {instead}, or use coldstart adapt")
    values = composition.values_of("choose", own)
    from coldstart_cli.bundles.adapting import preparing
    from coldstart_cli.choosing.entrants import Composed
    from coldstart_cli.choosing.plan import plan_of

    plan = plan_of(values)
    made = []
    with keys_named(rest, keys):
        node, kind = _data(rest, config_dirs)
    for one in [*_named(kind, plan, config_dirs), *_of_runs(plan)]:
        config, values, run = composed(_words(one, rest, node), config_dirs, run=one.run, bundle=None)
        again = [*([] if run is None else [f"run={run.path}"]), *_words(one, as_typed, node)]
        again += [part for folder in config_dirs for part in ("--config-dir", folder)]
        made.append(Composed(one, config, preparing.plan_of(values), run, tuple(again)))
    return made, plan


def _words(candidate: Candidate, words: Sequence[str], node: Mapping[str, Any]) -> list[str]:
    """A candidate's words and the user's, which win: `model=` of a command is that of all but runs."""
    if candidate.run is not None:
        return [word for word in words if not word.startswith("model")]
    asked = {word.partition("=")[0].lstrip("+") for word in words}
    own = [word for word in candidate.words if word.partition("=")[0] not in asked]
    return [*standardised(own, words, node), *words]


def _data(words: Sequence[str], config_dirs: Sequence[str]) -> tuple[Mapping[str, Any], str]:
    """The data set's node, and the kind of its inputs: the name of a file of candidates.

    Raises:
        RequestError: where the data set is not data of your own.
    """
    config, _, _ = composed(words, config_dirs, run=None, bundle=None)
    kind = kind_of(config["dataset"])
    if kind is None:
        raise RequestError(
            f"dataset: {config['names']['dataset']} is not data of your own; choose dataset=text, tabular, "
            "image_folder or arrays with dataset.root=PATH"
        )
    return config["dataset"], kind


def _named(kind: str, plan: ChoosePlan, config_dirs: Sequence[str]) -> list[Candidate]:
    """Those of the file, or those that are named.

    Raises:
        RequestError: at a name that the file does not have.
    """
    path = candidates_file(kind, config_dirs)
    known = {candidate.name: candidate for candidate in candidates_in(path)}
    for name in plan.candidates or []:
        if name not in known:
            raise RequestError(
                f"candidates: {name} is not in candidates/{kind}; {suggestion(name, list(known))}"
            )
    return [one for name, one in known.items() if plan.candidates is None or name in plan.candidates]


def _of_runs(plan: ChoosePlan) -> list[Candidate]:
    return [Candidate(Path(run).name, (), None, Path(run)) for run in plan.runs]
