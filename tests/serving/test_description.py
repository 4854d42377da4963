"""The OpenAPI description: of this bundle's own inputs and labels, and true of what is answered."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest

from coldstart_cli.bundles.bundle import Bundle
from coldstart_cli.bundles.kept.card import Card
from coldstart_cli.config import composition
from coldstart_cli.serving.answering import answered
from coldstart_cli.serving.description import document
from coldstart_cli.serving.plan import plan_of
from coldstart_cli.serving.reading import Asked

PLAN = plan_of(composition.values_of("serve", ["max_inputs=7"]))
TEXT = {"layout": "text", "text_column": "question", "label_column": "intent"}
ARRAYS = {"layout": "arrays", "example_shape": (3, 8, 9), "images": True, "channel_axis": "last"}


def described(card: Card, *, token: bool = False) -> dict[str, Any]:
    made = document("b", card, PLAN, token=token)
    json.dumps(made, allow_nan=False)
    return made


def like(card: Card, **recipe: Any) -> Card:
    return replace(card, build=replace(card.build, recipe=recipe))


def refs(value: Any) -> Iterator[str]:
    if isinstance(value, dict):
        if "$ref" in value:
            yield value["$ref"]
        for item in value.values():
            yield from refs(item)
    elif isinstance(value, list):
        for item in value:
            yield from refs(item)


def broken(value: Any, schema: dict[str, Any], whole: dict[str, Any]) -> str | None:
    """Why a value is not of a schema, as far as ours use JSON Schema; None where it is."""
    if "$ref" in schema:
        return broken(value, whole["components"]["schemas"][schema["$ref"].rpartition("/")[2]], whole)
    if "anyOf" in schema:
        return None if any(broken(value, one, whole) is None for one in schema["anyOf"]) else f"{value}: none"
    if "enum" in schema and value not in schema["enum"]:
        return f"{value} is not in {schema['enum']}"
    kinds: dict[str, Any] = {
        "object": dict, "array": list, "string": str, "number": (int, float), "integer": int,
        "boolean": bool, "null": type(None),
    }  # fmt: skip
    names = schema.get("type", [*kinds])
    if not any(isinstance(value, kinds[name]) for name in ([names] if isinstance(names, str) else names)):
        return f"{value} is no {names}"
    if isinstance(value, dict):
        known = schema.get("properties", {})
        more = schema.get("additionalProperties", True)
        if missing := {*schema.get("required", ())} - {*value}:
            return f"{missing} are missing"
        if more is False and (extra := {*value} - {*known}):
            return f"{extra} are not described"
        parts = [(value[key], known.get(key, more if isinstance(more, dict) else {})) for key in value]
    elif isinstance(value, list):
        if not schema.get("minItems", 0) <= len(value) <= schema.get("maxItems", 1e9):
            return f"{value} has {len(value)} items"
        parts = [*zip(value, schema.get("prefixItems", []), strict=False)]
        parts += [(item, schema["items"]) for item in value if "items" in schema]
    else:
        parts = []
    return next(filter(None, (broken(item, one, whole) for item, one in parts)), None)


def test_it_names_the_bundles_own_columns_and_labels(table: Bundle) -> None:
    made = described(table.card)
    assert re.fullmatch(r"3\.1\.\d", made["openapi"]) and {*made["info"]} >= {"title", "version"}
    assert made["components"]["schemas"]["Label"] == {"enum": ["x", "y"]}
    row = made["components"]["schemas"]["Input"]["anyOf"][0]
    assert row["required"] == ["a", "b"]
    assert made["x-coldstart"]["columns"] == [{"name": "a", "values": None}, {"name": "b", "values": None}]
    assert made["x-coldstart"]["answer_column"] == "label"
    schema = made["paths"]["/predict"]["post"]["requestBody"]["content"]["application/json"]["schema"]
    assert schema["properties"]["inputs"]["maxItems"] == 7


@pytest.mark.parametrize("recipe", [None, TEXT, ARRAYS, {"layout": "image_folder"}])
def test_every_reference_leads_somewhere_and_every_operation_answers(
    table: Bundle, recipe: dict[str, Any] | None
) -> None:
    made = described(table.card if recipe is None else like(table.card, **recipe))
    for ref in refs(made):
        place: Any = made
        for part in ref.removeprefix("#/").split("/"):
            place = place[part]
    for path, item in made["paths"].items():
        assert path.startswith("/")
        for operation in item.values():
            assert all(one["description"] for one in operation["responses"].values())


def test_answers_are_as_described(table: Bundle) -> None:
    made = described(table.card)
    schema = made["paths"]["/predict"]["post"]["responses"]["200"]["content"]["application/json"]["schema"]
    for changes in ({}, {"probabilities": True}, {"threshold": 1.0}, {"top_k": 1}):
        asked = {"inputs": [[1, 2], {"a": "3", "b": None}], "top_k": 2, "probabilities": False}
        (found,) = answered(table, [Asked(**{"threshold": None, **asked, **changes})], 9)
        assert broken(found, schema, made) is None
    assert broken({**found, "more": 1}, schema, made) and broken({"answers": [{}]}, schema, made)  # type: ignore[dict-item]
    inputs = made["components"]["schemas"]["Input"]
    assert broken({"a": 1, "b": None}, inputs, made) is None and broken([1, 2], inputs, made) is None
    assert broken({"a": 1}, inputs, made) and broken([1], inputs, made) and broken("a", inputs, made)


def test_each_layout_has_inputs_of_its_own(table: Bundle) -> None:
    text = described(like(table.card, **TEXT))
    assert text["components"]["schemas"]["Input"]["anyOf"][1]["required"] == ["question"]
    assert text["x-coldstart"]["answer_column"] == "intent"
    arrays = described(like(table.card, **ARRAYS))
    assert arrays["x-coldstart"]["shape"] == [8, 9, 3]  # as files hold it, channels last
    outer = arrays["components"]["schemas"]["Input"]
    assert (outer["minItems"], outer["items"]["items"]["items"]["maximum"]) == (8, 255)
    images = described(like(table.card, layout="image_folder"))
    assert "multipart/form-data" in images["paths"]["/predict"]["post"]["requestBody"]["content"]


def test_a_regression_has_values_and_no_labels(table: Bundle) -> None:
    card = replace(table.card, labels=(), build=replace(table.card.build, classification=False, n_outputs=1))
    made = described(card)
    assert "Label" not in made["components"]["schemas"]
    assert made["components"]["schemas"]["Answer"]["properties"] == {"value": {"type": "number"}}


def test_a_token_is_asked_for_where_it_is_needed(table: Bundle) -> None:
    made = described(table.card, token=True)
    assert made["security"] == [{"token": []}] and made["paths"]["/health"]["get"]["security"] == []
    assert described(table.card)["security"] == []


def test_it_says_from_which_number_errors_count_inputs(table: Bundle) -> None:
    said = described(table.card)["paths"]["/predict"]["post"]["responses"]["422"]["description"]
    (error,) = answered(table, [Asked(inputs=[[1, 2], [1]], top_k=1, probabilities=False, threshold=None)], 4)
    assert said.endswith("the first is input row 1") and str(error).startswith("input row 2: has 1 values")
