"""What a bundle reads and answers, as OpenAPI 3.1: plain data, from which the page is drawn too."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from coldstart_cli import __version__
from coldstart_cli.bundles.kept.card import Card
from coldstart_cli.serving.plan import ServePlan

Schema = dict[str, Any]


def document(name: str, card: Card, plan: ServePlan, *, token: bool) -> Schema:
    """The description of one bundle's server.

    Args:
        name: of the bundle.
        token: whether requests must carry one.
    """
    recipe = card.build.recipe
    schemas = {
        "Input": _input(card),
        "Answer": _answer(card),
        "Error": _object({"error": {"type": "string", "description": "KEY: what is wrong; what to do"}}),
    }
    if card.labels:
        schemas["Label"] = {"enum": [*card.labels]}
    body = {"application/json": {"schema": _request(card, plan)}}
    if recipe["layout"] == "image_folder":
        body["multipart/form-data"] = {"schema": _form()}
    paths: Schema = {
        "/predict": {"post": _predict(body)},
        "/health": {
            "get": _get("Whether the server lives", _object({"status": {"const": "ok"}}), open_=True)
        },
        "/openapi.json": {"get": _get("This description", {"type": "object"}, open_=False)},
    }
    return {
        "openapi": "3.1.0",
        "info": {"title": name, "version": card.made, "description": _summary(card)},
        "servers": [{"url": "/"}],
        "paths": paths,
        "components": {
            "schemas": schemas,
            "securitySchemes": {"token": {"type": "http", "scheme": "bearer"}} if token else {},
        },
        "security": [{"token": []}] if token else [],
        "x-coldstart": {"version": __version__, "threshold": card.threshold, **_facts(card)},
    }


def _summary(card: Card) -> str:
    what = f"{len(card.labels)} classes" if card.labels else "a regression"
    measured = card.cross_validation
    how = ""
    if measured is not None and measured.metric == "accuracy":
        how = f"; accuracy {100 * measured.mean:.1f} % by cross-validation on its labels"
    return f"{card.strategy} ({card.model}), {what}, {card.data.examples:,} examples{how}"


def _facts(card: Card) -> Schema:
    """What a page needs to ask for inputs, and to write rows that `adapt` reads."""
    recipe = card.build.recipe
    facts: Schema = {"layout": recipe["layout"]}
    if recipe["layout"] == "tabular":
        columns = recipe["columns"]
        facts["columns"] = [{"name": one["name"], "values": one.get("values")} for one in columns]
        facts["answer_column"] = recipe["label_column"] if card.labels else recipe["target_column"]
    elif recipe["layout"] == "text":
        facts["columns"] = [{"name": recipe["text_column"], "values": None}]
        facts["answer_column"] = recipe["label_column"]
    elif recipe["layout"] == "arrays":
        facts["shape"] = _shape(card)
    return facts


def _shape(card: Card) -> list[int]:
    """Of one input of `arrays` as it is given: channels last where its files have them there."""
    recipe = card.build.recipe
    shape = [*(recipe["example_shape"] or ())]
    last = recipe.get("channel_axis") == "last" and len(shape) == 3
    return [*shape[1:], shape[0]] if last else shape


def _input(card: Card) -> Schema:
    """One input, by the layout."""
    recipe = card.build.recipe
    match recipe["layout"]:
        case "text":
            text: Schema = {"type": "string", "minLength": 1}
            row = _object({recipe["text_column"]: text})
            return {"anyOf": [text, {**row, "additionalProperties": True}]}
        case "tabular":
            cells = {column["name"]: _cell(column) for column in recipe["columns"]}
            listed = {"type": "array", "prefixItems": [*cells.values()], "minItems": len(cells),
                      "maxItems": len(cells)}  # fmt: skip
            return {"anyOf": [{**_object(cells), "additionalProperties": True}, listed]}
        case "image_folder":
            return {
                "type": "string",
                "contentEncoding": "base64",
                "description": "the file of an image (PNG, JPEG, WebP, ...)",
            }
        case _:
            kind = (
                {"type": "integer", "minimum": 0, "maximum": 255} if recipe["images"] else {"type": "number"}
            )
            return _nested(kind, _shape(card))


def _cell(column: Any) -> Schema:
    if column["kind"] == "number":
        return {"type": ["number", "string", "null"], "description": "a number; null: missing"}
    return {"enum": [*column["values"], None], "description": "null: missing; a number is read as its digits"}


def _nested(item: Schema, shape: Sequence[int]) -> Schema:
    for size in reversed(shape):
        item = {"type": "array", "items": item, "minItems": size, "maxItems": size}
    return item


def _request(card: Card, plan: ServePlan) -> Schema:
    inputs = {"type": "array", "items": _ref("Input"), "minItems": 1, "maxItems": plan.max_inputs}
    if not card.labels:
        return _object({"inputs": inputs})
    options = {
        "top_k": {"type": "integer", "minimum": 1, "default": plan.top_k},
        "probabilities": {"type": "boolean", "default": False, "description": "of every class"},
        "threshold": {
            "type": ["number", "null"],
            "minimum": 0,
            "maximum": 1,
            "description": f"below this probability the label is null; null: {card.threshold:g}",
        },
    }
    return {**_object({"inputs": inputs, **options}), "required": ["inputs"]}


def _form() -> Schema:
    binary = {"type": "string", "contentMediaType": "application/octet-stream"}
    return _object({"inputs": {"type": "array", "items": binary}})


def _answer(card: Card) -> Schema:
    number: Schema = {"type": "number"}
    if not card.labels:
        n = card.build.n_outputs
        values = {"type": "array", "items": number, "minItems": n, "maxItems": n}
        return _object({"value": number if n == 1 else values})
    share = {"type": "number", "minimum": 0, "maximum": 1}
    top = _object({"label": _ref("Label"), "probability": share})
    answer = _object(
        {
            "label": {"anyOf": [_ref("Label"), {"type": "null"}], "description": "null: it abstains"},
            "probability": {**share, "description": "of the likeliest label"},
            "top": {"type": "array", "items": top, "description": "where top_k is more than 1"},
            "probabilities": {"type": "object", "additionalProperties": share},
        }
    )
    return {**answer, "required": ["label", "probability"]}


def _predict(body: Schema) -> Schema:
    answers = {"type": "array", "items": _ref("Answer")}
    remarks = {"type": "array", "items": {"type": "string"}, "description": "what was cut, with a count"}
    said = {
        "400": "not JSON, or called by another name", "401": "the token is missing or another",
        "403": "asked by another site's page",
        "408": "the body did not come in time", "413": "the body is too large, or inputs are too many",
        "415": "another kind of body",
        "422": "inputs are not such as the bundle reads; the first is input row 1",
        "429": "too many requests of this client; see Retry-After",
        "500": "a fault of the server", "503": "too many requests wait; see Retry-After",
    }  # fmt: skip
    errors = {status: _response(line, _ref("Error")) for status, line in said.items()}
    answered = _response(
        "An answer for each input, in their order", _object({"answers": answers, "remarks": remarks})
    )
    return {
        "operationId": "predict",
        "summary": "What the bundle says of each input",
        "requestBody": {"required": True, "content": body},
        "responses": {"200": answered, **errors},
    }


def _get(summary: str, schema: Schema, *, open_: bool) -> Schema:
    return {
        "summary": summary,
        "responses": {"200": _response(summary, schema)},
        **({"security": []} if open_ else {}),
    }


def _response(line: str, schema: Schema) -> Schema:
    return {"description": line, "content": {"application/json": {"schema": schema}}}


def _object(properties: Schema) -> Schema:
    return {
        "type": "object",
        "properties": properties,
        "required": [*properties],
        "additionalProperties": False,
    }


def _ref(name: str) -> Schema:
    return {"$ref": f"#/components/schemas/{name}"}
