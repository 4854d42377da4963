"""Bodies of requests: what they ask, and how what cannot be read is refused."""

from __future__ import annotations

import base64
import json
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from coldstart_cli.config import composition
from coldstart_cli.serving.plan import plan_of
from coldstart_cli.serving.reading import Refused, of_files, of_json

PLAN = plan_of(composition.values_of("serve", ["max_inputs=3", "top_k=2"]))
TEXT = {"layout": "text", "text_column": "question"}
TABLE = {"layout": "tabular"}
IMAGES = {"layout": "image_folder"}
ARRAYS = {"layout": "arrays", "images": False}


def refused(body: bytes, recipe: dict[str, Any] = TEXT) -> tuple[int, str]:
    with pytest.raises(Refused) as caught:
        of_json(body, recipe, PLAN)
    return caught.value.status, caught.value.line


def test_what_a_request_does_not_say_is_the_servers() -> None:
    asked = of_json(b'{"inputs": ["a", {"question": "b", "id": 1}]}', TEXT, PLAN)
    assert (asked.inputs, asked.top_k, asked.probabilities, asked.threshold) == (["a", "b"], 2, False, None)
    asked = of_json(
        b'{"inputs": [[1, null]], "top_k": 1, "probabilities": true, "threshold": 0}', TABLE, PLAN
    )
    assert (asked.inputs, asked.top_k, asked.probabilities, asked.threshold) == ([[1, None]], 1, True, 0)


@pytest.mark.parametrize(
    ("body", "status", "line"),
    [
        (b"", 400, "body: is not JSON"),
        (b"{", 400, "body: is not JSON"),
        (b'{"inputs": ["\xff"]}', 400, "body: is not UTF-8"),
        (b'{"inputs": [NaN]}', 400, "body: is not JSON"),
        (b"[" * 40 + b"]" * 40, 400, "body: is more than 32 levels deep"),
        (b"[" * 100_000, 400, "body: is not JSON"),
        (b'{"inputs": [' + b"1" * 5000 + b"]}", 400, "body: is not JSON"),
        (b"[]", 422, "inputs: there is no such list"),
        (b'{"inputs": "a"}', 422, "inputs: there is no such list"),
        (b'{"inputs": []}', 422, "inputs: there is none"),
        (b'{"inputs": ["a", "b", "c", "d"]}', 413, "inputs: 4 are more than 3"),
        (b'{"inputs": ["a"], "topk": 1}', 422, "topk: there is no such key; did you mean top_k?"),
        (b'{"inputs": ["a"], "top_k": 0}', 422, "top_k: is not a whole number from 1"),
        (b'{"inputs": ["a"], "top_k": true}', 422, "top_k: "),
        (b'{"inputs": ["a"], "probabilities": 1}', 422, "probabilities: "),
        (b'{"inputs": ["a"], "threshold": 2}', 422, "threshold: is not between 0 and 1"),
        (b'{"inputs": ["a"], "threshold": 1e999}', 422, "threshold: "),
        (b'{"inputs": [5]}', 422, "input row 1: is not a text"),
        (b'{"inputs": ["a", {"text": "b"}]}', 422, "input row 2: is not a text"),
        (b'{"inputs": ["\\ud800"]}', 422, "input row 1: holds half a character"),
    ],
)
def test_a_body_that_cannot_be_read_has_its_status_and_one_line(body: bytes, status: int, line: str) -> None:
    found = refused(body)
    assert found[0] == status and found[1].startswith(line) and ";" in found[1] and "\n" not in found[1]


def test_rows_hold_values_and_nothing_nested() -> None:
    for row, line in (
        ("a,b", "is not a row"),
        ({"a": [1]}, "a value is a list"),
        ([{}], "a value is a list"),
    ):
        status, said = refused(json.dumps({"inputs": [row]}).encode(), TABLE)
        assert status == 422 and said.startswith(f"input row 1: {line}")
    assert refused(b'{"inputs": [{"a": "\\udfff"}]}', TABLE)[1].startswith("input row 1: holds half")


@given(st.text())
def test_a_text_is_never_a_path_of_an_image(text: str) -> None:
    try:
        asked = of_json(json.dumps({"inputs": [text]}).encode(), IMAGES, PLAN)
    except Refused as refusal:
        assert refusal.status == 422
    else:
        assert all(type(one) is bytes for one in asked.inputs)


def test_an_image_is_base64_or_a_data_address() -> None:
    encoded = base64.b64encode(b"PNG").decode()
    for text in (encoded, f"data:image/png;base64,{encoded}"):
        assert of_json(json.dumps({"inputs": [text]}).encode(), IMAGES, PLAN).inputs == [b"PNG"]
    for wrong in ("/etc/passwd", "", "data:,", 5, None):
        assert refused(json.dumps({"inputs": [wrong]}).encode(), IMAGES)[0] == 422


def test_arrays_are_numbers_of_one_shape_and_of_one_kind() -> None:
    asked = of_json(b'{"inputs": [[1, 2.5], [3, 4]]}', ARRAYS, PLAN)
    assert np.array_equal(asked.inputs, [[1, 2.5], [3, 4]])
    for wrong in ([[1], [1, 2]], [["a"]], [[None]], [[True]], [[10**400]], [{}]):
        assert refused(json.dumps({"inputs": wrong}).encode(), ARRAYS)[0] == 422
    images = {**ARRAYS, "images": True}
    (pixel,) = of_json(b'{"inputs": [[[[255]]]]}', images, PLAN).inputs
    assert pixel.dtype == np.uint8 and pixel == 255
    for wrong in ([[256]], [[-1]], [[0.5]]):
        assert refused(json.dumps({"inputs": wrong}).encode(), images)[1].startswith("inputs: images are of")


def test_files_of_a_form_are_for_images_alone() -> None:
    asked = of_files([b"a", b"b"], {"top_k": "3", "probabilities": "true"}, IMAGES, PLAN)
    assert (asked.inputs, asked.top_k, asked.probabilities) == ([b"a", b"b"], 3, True)
    for files, fields, recipe, status in (
        ([b"a"], {}, TEXT, 415), ([], {}, IMAGES, 422), ([b"a"] * 4, {}, IMAGES, 413),
        ([b"a"], {"top_k": "x"}, IMAGES, 422),
    ):  # fmt: skip
        with pytest.raises(Refused) as caught:
            of_files(files, fields, recipe, PLAN)
        assert caught.value.status == status
