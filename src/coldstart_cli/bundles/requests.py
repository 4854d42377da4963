"""`adapt` as the command line and Python ask for it: overrides in, a bundle out.

Torch is imported once the config is known to compose, so that a misspelt key is answered at once.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from coldstart_cli.config import composition
from coldstart_cli.datasets.readers.npz import Archive
from coldstart_cli.experiment.requests import changed_config, left_as_found
from coldstart_cli.runs.run import Run

if TYPE_CHECKING:
    from coldstart_cli.bundles.bundle import Bundle


def adapt(
    overrides: Sequence[str], config_dirs: Sequence[str], *, run: Path | None, bundle: Path | None
) -> Bundle:
    """Adapts, writes the bundle, and returns it.

    Args:
        overrides: Hydra's; keys of conf/adapt.yaml; `run=DIR`.
        config_dirs: folders with your own configs.
        run, bundle: in place of those in `overrides`.

    Raises:
        RequestError: for what cannot be adapted.
    """
    folders = composition.search_path(config_dirs)
    keys = composition.values_of("adapt", [])
    own = [word for word in overrides if word.partition("=")[0] in keys]
    runs = [Path(word.partition("=")[2]) for word in overrides if word.startswith("run=")]
    rest = [word for word in overrides if word not in own and not word.startswith("run=")]
    of = Run(run or runs[-1]) if run is not None or runs else None
    with composition.environment_hidden():
        if of is None:
            ((_, config),) = composition.points([*folders, *rest])
            chosen = _model_for(config, rest)
            if chosen:
                ((_, config),) = composition.points([*folders, *chosen, *rest])
        else:
            config = changed_config(of, rest, folders)
        values = composition.values_of("adapt", own)
    with left_as_found():
        from coldstart_cli.bundles import adapting
        from coldstart_cli.config.building import build

        plan: adapting.AdaptPlan = build(values, "adapt", adapting.AdaptPlan, [], {})
        if bundle is not None:
            plan = replace(plan, bundle=str(bundle))
        return adapting.adapt(config, plan, of)


def _model_for(config: Mapping[str, Any], words: Sequence[str]) -> list[str]:
    """Words that choose the features themselves as the model, where vectors are read and no model is named.

    The default model reads images; an untrained network over given features would only spoil them.
    """
    if any(word.startswith(("model", "experiment=", "+experiment=")) for word in words):
        return []
    node = config["dataset"]
    layout = str(node["_target_"]).removeprefix("coldstart_cli.datasets.")
    if layout == "tabular":
        return ["model=features"]
    if layout != "arrays" or node["root"] is None or not Path(node["root"]).expanduser().is_file():
        return []
    with Archive(Path(node["root"]).expanduser()) as archive:
        shape, _ = archive.header(node["x_key"], "x_key")
    return ["model=features", "dataset.standardise=true"] if len(shape) == 2 else []
