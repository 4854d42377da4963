"""A bundle over HTTP: the same answers as `coldstart predict`, and one JSON error for everything else."""

from __future__ import annotations

import base64
import http.client
import json
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from coldstart_cli.bundles.bundle import Bundle
from coldstart_cli.cli import main
from coldstart_cli.serving import answering
from tests.kit.adapted import made
from tests.kit.served import Client, served

Rows = list[dict[str, Any]]


@pytest.fixture
def command(capsys: pytest.CaptureFixture[str]) -> Callable[..., Rows]:
    """What `coldstart predict top_k=5 --json` says, without places."""

    def call(path: str) -> Rows:
        capsys.readouterr()
        assert main(["predict", "bundle=bundle", f"input={path}", "top_k=5", "--json"]) == 0
        rows = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
        return [{key: value for key, value in row.items() if key != "input"} for row in rows]

    return call


def check(client: Client, inputs: Sequence[Any], expected: Rows) -> None:
    """The same answers, together and one by one (to the last digit that is told)."""
    assert client.predict(list(inputs)).json["answers"] == expected
    for one, row in zip(inputs, expected, strict=True):
        (alone,) = client.predict([one]).json["answers"]
        assert alone.get("label") == row.get("label")
        for key in ("probability", "value"):
            if key in row:
                assert alone[key] == pytest.approx(row[key], abs=2e-6, rel=1e-5)


def test_tables_are_answered_as_by_the_command(command: Callable[..., Rows]) -> None:
    rows = [{"size": i + 20 * (i % 2), "colour": ("red", "blue", None)[i % 3]} for i in range(24)]
    lines = [f"{r['size']},{r['colour'] or ''},{'xy'[i % 2]}\n" for i, r in enumerate(rows)]
    Path("table.csv").write_text("size,colour,label\n" + "".join(lines))
    bundle = made("dataset=tabular", "dataset.root=table.csv", "model=mlp", "model.hidden=[4]",
                  "strategy=nearest_centroid")  # fmt: skip
    with served(bundle) as client:
        check(client, rows, command("table.csv"))
        said = client.predict([{"size": 1, "colour": "green"}])
        assert said.status == 422 and "column colour is 'green', none of its categories" in said.json["error"]


def test_values_of_a_regression_are_those_of_the_command(command: Callable[..., Rows]) -> None:
    x = np.linspace(-1, 1, 12)
    Path("prices.csv").write_text("x,price\n" + "".join(f"{v:.6f},{1e6 + 5000 * v:.3f}\n" for v in x))
    bundle = made("dataset=tabular", "dataset.root=prices.csv", "dataset.label_column=null",
                  "dataset.target_column=price", "dataset.keep=[x]", "model=mlp", "model.hidden=[4]",
                  "strategy=r2d2")  # fmt: skip
    with served(bundle) as client:
        check(client, [[f"{v:.6f}"] for v in x], command("prices.csv"))


def test_texts_are_answered_as_by_the_command(tiny_bert: Path, command: Callable[..., Rows]) -> None:
    texts = [f"w{4 * c + i % 4} w{4 * c + (i + 1) % 4}{' w50' * i}" for c in range(3) for i in range(4)]
    lines = [f"{text},{'abc'[i // 4]}\n" for i, text in enumerate(texts)]
    Path("texts.csv").write_text("text,label\n" + "".join(lines))
    bundle = made("dataset=text", "dataset.root=texts.csv", "model=hf_text_frozen", f"model.path={tiny_bert}",
                  "model.preprocess.max_length=16", "strategy=nearest_centroid")  # fmt: skip
    Path("new.txt").write_text("\n".join(texts) + "\n")
    with served(bundle) as client:
        check(client, texts, command("new.txt"))
        assert client.predict([" "]).json["error"].startswith("input row 1: it has no text")
        said = client.predict(["w1 " * 300, "w2"]).json
        assert len(said["answers"]) == 2
        assert said["remarks"] == [
            f"inputs: 1 of 2 texts are longer than {bundle.preprocess.max_length} tokens and were cut; "
            "split them"
        ]


def test_arrays_are_answered_as_by_the_command(command: Callable[..., Rows]) -> None:
    g = np.random.default_rng(0)
    y = np.repeat(["a", "b"], 5)
    x = g.normal((y == "a")[:, None] * 3.0, 0.5, (10, 4))
    np.savez("points.npz", x=x, y=y)
    bundle = made("dataset=arrays", "dataset.root=points.npz", "model=mlp", "model.hidden=[4]",
                  "strategy=nearest_centroid")  # fmt: skip
    with served(bundle) as client:
        check(client, x.tolist(), command("points.npz"))
        for wrong in ([[1, 2, 3]], [[[1, 2, 3, 4]]], [[1e300, 0, 0, 0]]):
            assert client.predict(wrong).status == 422


def form(files: Sequence[bytes], **fields: str) -> tuple[bytes, dict[str, str]]:
    head = '--B\r\nContent-Disposition: form-data; name="{}"{}\r\n\r\n'
    parts = [head.format("inputs", '; filename="../../etc/passwd"').encode() + one + b"\r\n" for one in files]
    parts += [head.format(name, "").encode() + value.encode() + b"\r\n" for name, value in fields.items()]
    return b"".join(parts) + b"--B--\r\n", {"Content-Type": "multipart/form-data; boundary=B"}


def test_images_are_answered_as_by_the_command(command: Callable[..., Rows]) -> None:
    g = np.random.default_rng(0)
    files = []
    for name, grey in (("dark", 40), ("light", 200)):
        Path("pictures", name).mkdir(parents=True)
        for i in range(3):
            pixels = np.clip(g.normal(grey, 20, (20, 30, 3)), 0, 255).astype(np.uint8)
            path = Path("pictures", name, f"{i}.png")
            Image.fromarray(pixels).save(path)
            files.append(path.read_bytes())
    bundle = made("dataset=image_folder", "dataset.root=pictures", "dataset.size=16", "model=conv4",
                  "model.hidden=8", "model.groups=1", "strategy=nearest_centroid")  # fmt: skip
    expected = command("pictures")
    with served(bundle) as client:
        check(client, [base64.b64encode(one).decode() for one in files], expected)
        said = client.ask("POST", "/predict", *form(files, top_k="5"))
        assert said.json["answers"] == expected
        assert client.ask("POST", "/predict", *form(files, top_k="x")).status == 422
        assert client.ask("POST", "/predict", b"--B\r\nx", form([])[1]).status in (400, 422)
        for wrong in (str(Path("pictures/dark/0.png").resolve()), base64.b64encode(b"no image").decode()):
            said = client.predict([wrong])
            assert said.status == 422 and said.json["error"].startswith("input row 1: ")


@pytest.mark.parametrize(
    ("method", "path", "body", "headers", "status", "line"),
    [
        ("GET", "/predict", None, {}, 405, "method: "),
        ("OPTIONS", "/predict", None, {}, 405, "method: "),
        ("GET", "/card.json", None, {}, 404, "path: "),
        ("GET", "/../../etc/passwd", None, {}, 404, "path: "),
        ("GET", "/%2e%2e/%2fetc%2fpasswd", None, {}, 404, "path: "),
        ("POST", "/predict", b'{"inputs": [[1, 2]]}', {}, 415, "Content-Type: none"),
        ("POST", "/predict", b'{"inputs": [[1, 2]]}', {"Content-Type": "text/plain"}, 415, "Content-Type: "),
        ("POST", "/predict", b"x", {"Content-Type": "multipart/form-data"}, 400, "body: is no form"),
        ("POST", "/predict", b"{", {"Content-Type": "application/json"}, 400, "body: is not JSON"),
        ("GET", "/health", None, {"Host": "evil.example"}, 400, "Host: "),
        ("GET", "/health", None, {"Origin": "http://evil.example"}, 403, "Origin: "),
    ],
)  # fmt: skip
def test_everything_else_is_one_json_error(
    table: Bundle, method: str, path: str, body: bytes | None, headers: dict[str, str], status: int, line: str
) -> None:
    with served(table) as client:
        said = client.ask(method, path, body, headers)
    assert said.status == status and [*said.json] == ["error"]
    assert said.json["error"].startswith(line) and ";" in said.json["error"]
    assert said.headers["content-type"] == "application/json"
    assert not [name for name in said.headers if name.startswith("access-control")]


def test_a_body_too_large_is_refused_before_it_is_kept(table: Bundle) -> None:
    kind = {"Content-Type": "application/json"}
    with served(table, "max_mb=0.001", "max_inputs=2") as client:
        said = client.ask("POST", "/predict", b"1" * 3_000_000, kind)
        assert said.status == 413 and said.json["error"].startswith("body: has more than 0.001 MB")
        connection = http.client.HTTPConnection("127.0.0.1", client.port, timeout=30)
        connection.request("POST", "/predict", iter([b"1" * 900] * 5), kind, encode_chunked=True)
        assert connection.getresponse().status == 413
        connection.close()
        assert client.predict([[1, 2]] * 3).status == 413
        assert client.predict([[1, 2]] * 2).status == 200


def test_a_body_that_does_not_come_is_not_waited_for(table: Bundle) -> None:
    with served(table, "body_seconds=0.2", "waiting=1") as client:
        connection = http.client.HTTPConnection("127.0.0.1", client.port, timeout=30)
        connection.putrequest("POST", "/predict")
        connection.putheader("Content-Type", "application/json")
        connection.putheader("Content-Length", "100")
        connection.endheaders(b'{"inputs"')
        assert connection.getresponse().status == 408
        connection.close()
        assert client.predict([[1, 2]]).status == 200  # its place is free again


def test_a_client_that_leaves_gives_its_place_back(table: Bundle) -> None:
    with served(table, "waiting=1") as client:
        for _ in range(3):
            connection = http.client.HTTPConnection("127.0.0.1", client.port, timeout=30)
            connection.putrequest("POST", "/predict")
            connection.putheader("Content-Type", "application/json")
            connection.putheader("Content-Length", "100")
            connection.endheaders(b"{")
            connection.close()
        for _ in range(100):  # until the server has noticed
            if client.predict([[1, 2]]).status == 200:
                break
            time.sleep(0.02)
        else:
            pytest.fail("no place is given back")


def test_those_without_a_place_are_told_when_to_come_again(
    table: Bundle, monkeypatch: pytest.MonkeyPatch
) -> None:
    go, entered, calls = threading.Event(), threading.Event(), list[int]()
    outputs = Bundle.outputs

    def slow(self: Bundle, inputs: Any) -> Any:
        calls.append(len(inputs))
        entered.set()
        assert go.wait(30)
        return outputs(self, inputs)

    monkeypatch.setattr(Bundle, "outputs", slow)
    with served(table, "waiting=4") as client, ThreadPoolExecutor(9) as pool:
        first = pool.submit(client.predict, [[1, 2]])
        assert entered.wait(30)
        others = [pool.submit(client.predict, [[1, 2]]) for _ in range(8)]
        while sum(one.done() for one in others) < 5:
            time.sleep(0.01)
        assert client.get("/health").status == 200  # it lives on
        go.set()
        found = [one.result() for one in (first, *others)]
    assert sorted(one.status for one in found) == [200] * 4 + [503] * 5
    assert all(one.headers["retry-after"] == "1" for one in found if one.status == 503)
    assert calls == [1, 3]  # those that waited were answered in one call


def test_a_token_is_needed_for_all_but_an_empty_page(table: Bundle) -> None:
    token = "0123456789abcdef"
    with served(table, token=token) as client:
        assert client.predict([[1, 2]]).status == client.get("/openapi.json").status == 401
        said = client.predict([[1, 2]], headers={"Authorization": f"Bearer {token}"})
        assert said.status == 200
        page = client.get("/")
        assert page.status == 200 and client.get("/health").json == {"status": "ok"}
        assert (
            "x-coldstart"
            in client.ask("GET", "/openapi.json", None, {"Authorization": f"Bearer {token}"}).json
        )
    assert token not in "".join(client.told)


def test_the_log_has_no_body(table: Bundle) -> None:
    with served(table) as client:
        client.predict([{"a": "1", "b": "2", "secret": "secret"}])
        client.get("/predict?secret=secret")
    assert len(client.told) == 2 and "secret" not in "".join(client.told)
    assert "POST /predict 200" in client.told[0]


def test_other_requests_are_answered_beside_a_wrong_one(table: Bundle) -> None:
    with served(table) as client, ThreadPoolExecutor(8) as pool:
        asked = [[[1, 2]] if i % 2 else [["u", 2]] for i in range(40)]
        statuses = [said.status for said in pool.map(client.predict, asked)]
    assert statuses == [200 if i % 2 else 422 for i in range(40)]


def test_the_description_is_sent_and_the_page_holds_nothing_of_the_bundle(table: Bundle) -> None:
    with served(table, name="<script>") as client:
        described, page = client.get("/openapi.json"), client.get("/")
    assert described.json["info"]["title"] == "<script>"
    assert "script-src 'sha256-" in page.headers["content-security-policy"]
    with served(table, name="other") as client:
        assert client.get("/").body == page.body


def test_the_answerer_is_given_no_more_at_once_than_the_batch_size(
    table: Bundle, monkeypatch: pytest.MonkeyPatch
) -> None:
    sizes: list[int] = []
    raw_values = answering.raw_values

    def recorded(*arguments: Any, chunk: int, first: int) -> Any:
        for part in raw_values(*arguments, chunk=chunk, first=first):
            sizes.append(len(part))
            yield part

    monkeypatch.setattr(answering, "raw_values", recorded)
    with served(table, "batch_size=3") as client:
        assert len(client.predict([[i, 1] for i in range(8)]).json["answers"]) == 8
    assert sizes == [3, 3, 2]
