"""How files of an input are written, where they are not as those that a bundle was adapted from."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from coldstart_cli.config.key import Key
from coldstart_cli.errors import RequestError

if TYPE_CHECKING:
    from coldstart_cli.bundles.kept.card import Card

_CHOICES: dict[str, tuple[str, ...]] = {
    "delimiter": ("auto", "comma", "semicolon", "tab", "pipe"),
    "quoted": ("true", "false"),
    "header": ("true", "false"),
    "decimal": ("point", "comma"),
}
_VALUES = {"true": True, "false": False}


def form_keys() -> tuple[Key, ...]:
    """The words by which a command takes it: those of a data set of tables, under the same names."""
    said = {
        "encoding": "of the input, where it is not as what was adapted from: utf-8, cp1252, ...",
        "delimiter": "what separates its columns",
        "quoted": "false: quotation marks in it are letters",
        "header": "false: its first row is data; columns are column_1, column_2, ...",
        "sheet": "of a workbook",
        "decimal": "what stands before decimals in a table",
    }
    return tuple(
        Key(name, " | ".join(_CHOICES.get(name, ("text",))), "", line, choices=_CHOICES.get(name, ()))
        for name, line in said.items()
    )


def with_form(card: Card, values: Mapping[str, str]) -> Card:
    """The card of a bundle that reads files as `values` say, which may hold other words too.

    Raises:
        RequestError: for a bundle whose inputs are no tables, or of texts a sign before decimals.
    """
    asked = {key.name: values[key.name] for key in form_keys() if key.name in values}
    if not asked:
        return card
    recipe: dict[str, Any] = dict(card.build.recipe)
    layout = str(recipe.get("layout"))
    for name in asked:
        if layout not in ("text", "tabular") or (name == "decimal" and layout != "tabular"):
            raise RequestError(f"{name}: this bundle reads {layout}, where it says nothing; leave it out")
    recipe |= {name: _VALUES.get(value, value) if name in ("quoted", "header") else value
               for name, value in asked.items()}  # fmt: skip
    return replace(card, build=replace(card.build, recipe=recipe))
