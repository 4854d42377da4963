"""`adapt` as the command line and Python ask for it: overrides in, a bundle out.

Torch is imported once the config is known to compose, so that a misspelt key is answered at once.
"""

from __future__ import annotations

import json
import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

from coldstart_cli.bundles.kept.card import CARD, Card, read_card
from coldstart_cli.config import composition
from coldstart_cli.config.candidate_files import Preference, candidates_file, candidates_in
from coldstart_cli.config.typed import quoted
from coldstart_cli.datasets.own.kinds import are_vectors, kind_of
from coldstart_cli.errors import RequestError, suggestion
from coldstart_cli.experiment.requests import changed_config, left_as_found
from coldstart_cli.files.durable import flat
from coldstart_cli.runs.run import Run

if TYPE_CHECKING:
    from coldstart_cli.bundles.adapting.outlook import Outlook
    from coldstart_cli.bundles.bundle import Bundle
    from coldstart_cli.bundles.labelling.labelling import Proposed


_RAW = ("input=", "labelled=")
"""Words whose values are taken as they are."""
ONE_AT_A_TIME = (
    "adapt: it makes one bundle, of one value for each key; run it once for each "
    "(strategy=logistic bundle=logistic) and compare the accuracies they print"
)
_FORM = ("text_column", "label_column", "target_column", "x_key", "y_key", "encoding", "delimiter", "quoted",
         "header", "decimal")  # fmt: skip
"""How files of a layout are written, and what they call what every example has."""


def adapt(
    overrides: Sequence[str],
    config_dirs: Sequence[str],
    *,
    run: Path | None,
    bundle: Path | None,
    told: Callable[[str, int, int], None] = lambda what, done, total: None,
) -> Bundle:
    """Adapts, writes the bundle, and returns it.

    Args:
        overrides: Hydra's; keys of conf/adapt.yaml; `run=DIR`. Names of files and columns need no quotes.
            `version=N` beside `bundle=DIR` puts that earlier version back, and adapts nothing.
        config_dirs: folders with your own configs.
        run, bundle: in place of those in `overrides`.
        told: hears how far it is.

    Raises:
        RequestError: for what cannot be adapted.
    """
    if any(word.startswith("version=") for word in overrides):
        return _put_back(overrides, bundle)
    words = overrides if run is not None else _with_strategy(overrides, config_dirs, bundle)
    config, values, of = composed(words, config_dirs, run=run, bundle=bundle)
    with left_as_found():
        from coldstart_cli.bundles.adapting import adapting, preparing

        return adapting.adapt(config, preparing.plan_of(values), of, told)


def outlook(overrides: Sequence[str], config_dirs: Sequence[str]) -> Outlook:
    """What `adapt` would do, without doing it; arguments and errors as of `adapt`."""
    if any(word.startswith("version=") for word in overrides):
        raise RequestError("version: it puts a version back and adapts nothing; leave out --dry-run")
    config, values, of = composed(
        _with_strategy(overrides, config_dirs, None), config_dirs, run=None, bundle=None
    )
    with left_as_found():
        from coldstart_cli.bundles.adapting import outlook, preparing

        return outlook.outlook(config, preparing.plan_of(values), of)


def _put_back(words: Sequence[str], bundle: Path | None) -> Bundle:
    """The bundle with an earlier version in its place again.

    Raises:
        RequestError: where it has no such version, or other words ask for something to be adapted.
    """
    asked = {word.partition("=")[0].removeprefix("adapt."): word.partition("=")[2] for word in words}
    number = asked.pop("version")
    if more := [key for key in asked if key not in ("bundle", "keep_versions", "overwrite")]:
        raise RequestError(f"version: it puts a version back and adapts nothing; leave out {more[0]}")
    if not number.isdecimal():
        raise RequestError(f"version: {number!r} is no number of a version; name one, as version=1")
    plan = composition.values_of(
        "adapt", quoted([w for w in words if not w.startswith("version=")], sweeps=False)
    )
    folder = bundle or Path(plan["bundle"])
    with left_as_found():
        from coldstart_cli.bundles.adapting.changes import earlier_in
        from coldstart_cli.bundles.adapting.preparing import plan_of
        from coldstart_cli.bundles.bundle import Bundle
        from coldstart_cli.bundles.kept.going_back import put_back

        keep = 0 if plan_of(plan).overwrite else plan["keep_versions"]
        if keep:  # what cannot be read cannot be kept, which is said with what to do
            earlier_in(folder)
        put_back(folder, int(number), keep=keep)
        return Bundle.load(folder)


def label_next(words: Sequence[str], config_dirs: Sequence[str]) -> Proposed:
    """Which examples of a pool to label next, written as a table.

    Args:
        words: keys of conf/label_next.yaml; without a bundle also overrides of data set and model.
        config_dirs: folders with your own configs.

    Raises:
        RequestError: for what cannot be read, and where nothing is left to propose.
    """
    keys = composition.values_of("label_next", [])
    own = [word for word in words if word.partition("=")[0].removeprefix("label_next.") in keys]
    rest = [word for word in words if word not in own]
    files = {word.partition("=")[0]: word.partition("=")[2] for word in own if word.startswith(_RAW)}
    typed = quoted([word for word in own if not word.startswith(_RAW)], sweeps=False)
    values = {**composition.values_of("label_next", typed), **files}
    if values["input"] is None:
        raise RequestError("input: no pool is named; name a file or folder of examples without labels")
    config = None
    if values["bundle"] is None:
        all_words = [*_for_pool(values["input"], rest), *rest]
        config, _, _ = composed(all_words, config_dirs, run=None, bundle=None)
        values["labelled"] = values["labelled"] or config["dataset"]["root"]
    elif rest:
        key = rest[0].partition("=")[0]
        raise RequestError(f"{key}: the bundle says how its inputs are read; leave it out")
    with left_as_found():
        from coldstart_cli.bundles.labelling import labelling

        return labelling.proposed(labelling.plan_of(values), config)


def _for_pool(path: str, words: Sequence[str]) -> list[str]:
    """Words that say how a pool is read, as far as its name and its first row tell and `words` do not.

    Raises:
        RequestError: where nothing tells which model sees what is similar.
    """
    asked = {word.partition("=")[0]: word.partition("=")[2] for word in words}
    given, chosen = asked.get("dataset"), list[str]()
    if given is None:
        given = "image_folder" if _holds_images(Path(path).expanduser()) else "text"
        chosen.append(f"dataset={given}")
    if "model" not in asked and given == "text":
        chosen.append("model=minilm_frozen")
    if "model" not in asked and given == "image_folder":
        raise RequestError(
            "model: none is named that sees what images show; choose model=clip or model=hf_image_frozen"
        )
    return chosen


def _holds_images(place: Path) -> bool:
    from coldstart_cli.datasets.readers.tables import SUFFIXES

    return place.is_dir() and not any(entry.suffix.lower() in SUFFIXES for entry in place.iterdir())


def _with_strategy(words: Sequence[str], config_dirs: Sequence[str], bundle: Path | None) -> Sequence[str]:
    """With a strategy where none is named: the one of the bundle that is there, or the plain one.

    The plain one is `choose`'s that needs no reason. The default of `train` learns from a source, which one
    task of your own does not have.
    """
    named = ("strategy=", "run=", "experiment=", "+experiment=")
    if any(word.startswith(named) for word in words):
        return words
    if (card := _card_there(words, bundle)) is not None:
        chosen = _as_before(card, words, config_dirs)
        warnings.warn(
            f"strategy: none is named; {' '.join(chosen)}, as in the bundle that is there (version "
            f"{card.version})",
            RuntimeWarning,
            stacklevel=2,
        )
        return [*chosen, *words]
    if any(word.startswith("strategy") for word in words):
        return words
    config, _, _ = composed(words, config_dirs, run=None, bundle=None)
    kind = kind_of(config["dataset"])
    if kind is None:
        return words
    candidates = candidates_in(candidates_file(kind, config_dirs))
    plain = next((one for one in candidates if one.prefer == Preference()), None)
    if plain is None:
        return words
    asked = {word.partition("=")[0] for word in words}
    chosen = [word for word in plain.words if word.partition("=")[0] not in asked]
    chosen = standardised(chosen, words, config["dataset"])
    warnings.warn(
        f"strategy: none is named; {' '.join(chosen)}, the plain one for such inputs (coldstart choose "
        "compares several)",
        RuntimeWarning,
        stacklevel=2,
    )
    return [*chosen, *words]


def _card_there(words: Sequence[str], bundle: Path | None) -> Card | None:
    """The card of `bundle`, or of the one that `words` name: where it is to be kept, and came from no run."""
    asked = {key.removeprefix("adapt."): value for key, _, value in (word.partition("=") for word in words)}
    named = bundle or asked.get("bundle") or composition.values_of("adapt", [])["bundle"]
    place = Path(named).expanduser() / CARD
    if asked.get("overwrite", "false").lower() == "true" or not place.is_file():
        return None
    card = read_card(place, builds=False)
    return card if card.run is None else None


def _as_before(card: Card, words: Sequence[str], config_dirs: Sequence[str]) -> list[str]:
    """Words that choose a bundle's strategy and model: those of a candidate of `choose`, or its settings."""
    model, path = [f"model={card.model}"], str(card.build.model.get("path", ""))
    if path and not path.startswith("package:"):
        model.append(f"model.path={path}")
    model = [] if any(word.startswith("model") for word in words) else model
    others = [word for word in words if not word.startswith(("strategy", "model"))]

    def strategy_by(chosen: Sequence[str]) -> Any:
        return composed([*chosen, *others], config_dirs, run=None, bundle=None)[0]["strategy"]

    name = f"strategy={card.strategy}"
    node = composed([name, *model, *others], config_dirs, run=None, bundle=None)[0]["dataset"]
    scaled = "standardise" in card.build.recipe and "standardise" in node
    asked = any(word.startswith("dataset.standardise=") for word in words)
    beside = ["dataset.standardise=true"] if scaled and not asked else []
    kind = kind_of(node)
    candidates = candidates_in(candidates_file(kind, config_dirs)) if kind is not None else []
    for one in candidates:
        same = {name, f"model={card.model}"} <= {*one.words}
        if same and strategy_by(one.words) == card.build.strategy:
            return [*(word for word in one.words if model or not word.startswith("model")), *beside]
    now = flat(strategy_by([name, *model]))
    settings = [
        f"strategy.{key}={json.dumps(value)}"
        for key, value in flat(card.build.strategy).items()
        if now.get(key, value) != value
    ]
    return [name, *model, *settings, *beside]


def composed(
    overrides: Sequence[str], config_dirs: Sequence[str], *, run: Path | None, bundle: Path | None
) -> tuple[dict[str, Any], dict[str, Any], Run | None]:
    """The config, the keys of conf/adapt.yaml, and the run that is adapted.

    Raises:
        RequestError: where they do not compose.
    """
    folders = composition.search_path(config_dirs)
    keys = composition.values_of("adapt", [])
    words = quoted(overrides, sweeps=False)
    own = [word for word in words if word.partition("=")[0].removeprefix("adapt.") in keys]
    runs = [Path(word.partition("=")[2]) for word in overrides if word.startswith("run=")]
    rest = [word for word in words if word not in own and not word.startswith("run=")]
    of = Run(run or runs[-1]) if run is not None or runs else None
    if of is None and _unread(rest):
        raise RequestError(
            "dataset: none is named that reads dataset.root; choose dataset=text, tabular, image_folder or "
            "arrays"
        )
    with composition.environment_hidden(), keys_named(rest, keys):
        if of is None:
            points = list(islice(composition.points([*folders, *rest]), 2))
            if len(points) > 1:
                raise RequestError(ONE_AT_A_TIME)
            ((_, config),) = points
            chosen = _model_for(config, rest)
            if chosen:
                ((_, config),) = composition.points([*folders, *chosen, *rest])
        else:
            config = changed_config(of, rest, folders)
            config["dataset"] = _as_the_run_names_it(config["dataset"], of.config["dataset"], rest)
        values = composition.values_of("adapt", own)
    return config, values if bundle is None else {**values, "bundle": str(bundle)}, of


@contextmanager
def keys_named(words: Sequence[str], own: Iterable[str]) -> Iterator[None]:
    """A misspelt key without a dot is one of the command's own: those are then suggested, not a run's."""
    try:
        yield
    except RequestError as error:
        for key in (word.partition("=")[0] for word in words):
            if key.isidentifier() and str(error).startswith(f"{key}: there is no such key"):
                raise RequestError(f"{key}: there is no such key; {suggestion(key, own)} (E20)") from error
        raise


def _unread(words: Sequence[str]) -> bool:
    """Whether words name a place of data and nothing that reads it."""
    of_data = any(word.startswith(("dataset=", "experiment=", "+experiment=")) for word in words)
    return not of_data and any(word.startswith(("dataset.root=", "dataset.labelled=")) for word in words)


def _model_for(config: Mapping[str, Any], words: Sequence[str]) -> list[str]:
    """Words that choose the features themselves as the model, where vectors are read and no model is named.

    The default model reads images; an untrained network over given features would only spoil them.
    """
    if any(word.startswith(("model", "experiment=", "+experiment=")) for word in words):
        return []
    node = config["dataset"]
    if str(node["_target_"]).endswith(".tabular"):
        return ["model=features"]
    return standardised(["model=features"], words, node) if are_vectors(node) else []


def standardised(chosen: Sequence[str], words: Sequence[str], node: Mapping[str, Any]) -> list[str]:
    """Words chosen beside a user's, with arrays of vectors standardised for a linear model of them.

    Args:
        node: of the data set.
    """
    asked = any(word.startswith("dataset.standardise=") for word in words)
    linear = "model=features" in chosen and are_vectors(node) and not asked
    return [*chosen, "dataset.standardise=true"] if linear else list(chosen)


def _as_the_run_names_it(
    node: Mapping[str, Any], of_run: Mapping[str, Any], words: Sequence[str]
) -> dict[str, Any]:
    """The data set's node with the columns of the run's own, where `words` do not say otherwise.

    `dataset=tabular` means tables like those of the run: its label is called as theirs is.
    """
    asked = {word.partition("=")[0].removeprefix("dataset.") for word in words}
    same = node["_target_"] == of_run.get("_target_")
    kept = {key: of_run[key] for key in _FORM if same and key in of_run and key in node and key not in asked}
    return {**node, **kept}
