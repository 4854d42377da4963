"""A page for every strategy, and the list of them by family."""

from __future__ import annotations

import inspect
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from functools import cache

from coldstart_cli.config.catalog import SEARCH, Entry
from coldstart_cli.config.families import by_family
from coldstart_cli.config.keys import explained, of_entry
from coldstart_cli.config.outline import Groups, entry
from coldstart_cli.core.strategy import Strategy
from coldstart_cli.testing.trial import Trial
from reference.configs import anchor, chosen_by, file_of, head, key_table, source
from reference.markdown import body, cell, code, needed, table
from reference.measured import of_strategy

FAMILIES = {
    "meta-learning": "Learn on many source tasks how to learn a new one.",
    "distillation": "A larger or earlier model teaches the one that is used.",
    "transfer": "A model of the source, or a pretrained one, is where the new task starts.",
    "alignment": "What the source and the new task have in common decides what is taken over.",
}
"""What a family does."""

_MODELS = {
    "any": "any kind: what is read (images, texts, tables, arrays) is the model's matter",
    "language": "a language model (`model=causal_lm`, `smollm2`), and so texts",
    "captions": "a model that reads captions beside images (`model=clip`)",
}


@cache
def serves(name: str) -> tuple[tuple[str, str], ...]:
    """(question, answer) of what a strategy can do with the values of its config: built, and asked."""
    trial = Trial(name)
    experiment = trial.experiment()
    strategy, shape = experiment.strategy, experiment.source.shape
    # A trial's tasks have three classes; a head of fixed width refuses tasks of two.
    fixed = strategy.refusal(experiment.source.with_shape(replace(shape, n_way=2))) is not None
    rows = [
        ("tasks", "classes alone" if strategy.needs_classes else "classes and regression"),
        ("classes of a new task", "as many as in training" if fixed else "any number"),
        ("without labels (k = 0)", _without_labels(strategy)),
        ("names of classes", "read" if strategy.reads_names else "not read"),
        ("unlabelled examples", "needed" if strategy.needs_unlabelled else "not needed"),
        ("source", _source(strategy, "source_groups" in trial.facts)),
        ("model", _MODELS[strategy.needs_model] + _statistics(strategy)),
        (
            "answers",
            "of a batch depend on one another" if strategy.transductive else "of each input by itself",
        ),
    ]
    if strategy.needs_package is not None:
        package, extra = strategy.needs_package
        rows.append(("extra", f"{package}: `pip install 'coldstart-cli[{extra}]'`"))
    if strategy.shardable:
        rows.append(("`hardware.shard`", "its weights can be divided among processes"))
    return tuple(rows)


def _without_labels(strategy: Strategy) -> str:
    cases = []
    if not strategy.needs_labels:
        cases.append("where the new classes are classes of the source")
    if strategy.reads_names:
        cases.append("where the model reads the names of the classes")
    return f"yes, {', or '.join(cases)}" if cases else "no"


def _source(strategy: Strategy, groups: bool) -> str:
    if not strategy.learns_from_source:
        return "not learned from"
    if strategy.searches_source:
        return "learned from, and searched for values"
    return "learned from, group by group (script, alphabet, domain)" if groups else "learned from"


def _statistics(strategy: Strategy) -> str:
    return (
        "; its norms must keep running statistics (`model.norm=batch`)"
        if strategy.needs_running_statistics
        else ""
    )


def pages(groups: Groups, ask: Callable[[str], Sequence[tuple[str, str]]]) -> dict[str, str]:
    """`strategies/<name>.md` for every strategy, and `strategies/index.md`.

    Args:
        ask: what a strategy serves: `serves`, which builds each, or something quicker.

    Raises:
        Unsaid: for a strategy or one of its options without a sentence.
    """
    families = by_family(groups["strategy"], groups)
    made = {"strategies/index.md": _index(families)}
    for family, entries in families.items():
        for one in entries:
            made[f"strategies/{one.name}.md"] = _page(one, family, groups, ask(one.name))
    return made


def by_families(groups: Groups) -> dict[str, list[str]]:
    """Family -> the pages of its strategies, for the site's navigation."""
    families = by_family(groups["strategy"], groups)
    return {str(family): [f"strategies/{one.name}.md" for one in found] for family, found in families.items()}


def _index(families: dict[str | None, list[Entry]]) -> str:
    parts = [
        "# Strategies",
        "`coldstart train strategy=NAME`; each page says what it serves, which values it takes, and where it "
        "stood in the comparisons of this repository.",
    ]
    for family, entries in families.items():
        rows = [[f"[`{e.name}`]({e.name}.md)", cell(needed(e.description, e.address))] for e in entries]
        parts += [f"## {str(family).capitalize()}", FAMILIES[str(family)], table(("name", "idea"), rows)]
    return "\n\n".join(parts) + "\n"


def _page(one: Entry, family: str | None, groups: Groups, served: Sequence[tuple[str, str]]) -> str:
    lead, *rest = head(one)
    parts = [
        f"# {one.name}",
        lead,
        *rest,
        f"Family: [{family}](index.md#{family}). {code(f'strategy={one.name}')}",
    ]
    parts += ["## What it serves", table(("", ""), [[q, cell(a)] for q, a in served], "facts")]
    parts += ["## Method", *_method(one, groups)]
    parts += ["## Options", key_table(explained(of_entry(one, groups)))]
    if search := entry(groups, SEARCH, one.name):
        parts += ["## Searched by `tune`", *head(search), source(search)]
    if measured := of_strategy(one.name):
        parts += [
            "## Measured",
            "Mean with 95 % interval, and rank: those that cannot be told apart share one.",
            measured,
        ]
    else:
        parts += [
            "## Measured",
            "In none of the [committed comparisons](../reports.md); more is in [results](../../results.md).",
        ]
    if experiments := chosen_by("strategy", one.name, groups):
        page = f"../{file_of('experiment')}"
        links = [f"[`{name}`]({page}#{anchor(name)})" for name in experiments]
        parts += ["## Experiments", f"Settings that choose it: {', '.join(links)}."]
    return "\n\n".join(parts) + "\n"


def _method(one: Entry, groups: Groups) -> Iterator[str]:
    """The docstrings of its class and of the module around it, where the paper and the formula stand."""
    found = _definition(one, groups)
    yield body(needed(inspect.getdoc(found) or "", f"the class of {one.name}"))
    module = sys.modules[found.__module__]
    yield body(needed(inspect.getdoc(module) or "", f"{module.__name__}, the module of {one.name}"))
    yield f"Its code: {code(module.__name__.replace('.', '/') + '.py')}, {code(found.__name__)}."


def _definition(one: Entry, groups: Groups) -> type:
    from coldstart_cli import strategies

    target = of_entry(one, groups)["strategy._target_"].value
    found: type = getattr(strategies, target.rpartition(".")[2])
    return found
