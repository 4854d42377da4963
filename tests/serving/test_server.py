"""The process: its address, its refusals, and how it ends."""

from __future__ import annotations

import http.client
import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

pytest.importorskip("uvicorn", reason="needs the extra serve")
pytest.importorskip("python_multipart", reason="needs the extra serve")

from coldstart_cli.errors import RequestError
from coldstart_cli.serving import server
from tests.kit.places import REPOSITORY
from tests.kit.served import plan

TOKEN = "0123456789abcdef"
BUNDLE = REPOSITORY / "tests" / "data" / "flat_layout" / "bundle"


def refusal(*words: str, token: str | None = None) -> str:
    with pytest.raises(RequestError) as caught:
        server.serve(plan(*words), token, pytest.fail, None)
    return str(caught.value)


@pytest.mark.parametrize("host", ["0.0.0.0", "'::'"])
def test_other_machines_need_a_token(host: str) -> None:
    assert re.match(
        "host: .* can be reached from other machines; set COLDSTART_TOKEN", refusal(f"host={host}")
    )


@pytest.mark.parametrize("token", ["short", "0123456789 abcdef", "0123456789abcdé", "0123456789abcdef\n"])
def test_a_token_is_one_that_a_header_holds_and_nobody_guesses(token: str) -> None:
    said = refusal(token=token)
    assert said.startswith("token: ") and token not in said


def test_an_address_that_cannot_be_had_is_one_line() -> None:
    assert refusal("host=nowhere.invalid").startswith("host: nowhere.invalid is no address")
    assert refusal("host=192.0.2.1", token=TOKEN).startswith("host: 192.0.2.1 is no address of this machine")
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        assert refusal(f"port={port}") == f"port: {port} is in use; name another, or port=0 for a free one"


def test_a_folder_that_is_no_bundle_is_refused_and_its_port_is_free_again() -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    for _ in range(2):
        assert refusal("bundle=nothing", f"port={port}").startswith("bundle: nothing is not a bundle")


@pytest.mark.parametrize(
    ("host", "family", "shown"),
    [("127.0.0.1", socket.AF_INET, "127.0.0.1"), ("0.0.0.0", socket.AF_INET, "127.0.0.1"),
     ("::1", socket.AF_INET6, "[::1]")],
)  # fmt: skip
def test_the_address_is_one_that_a_browser_takes(host: str, family: socket.AddressFamily, shown: str) -> None:
    with socket.socket(family) as bound:
        try:
            bound.bind((host, 0))
        except OSError:
            pytest.skip(f"this machine has no {host}")
        assert server.address(bound) == f"http://{shown}:{bound.getsockname()[1]}/"


Start = Callable[..., tuple["subprocess.Popen[str]", int]]


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Start]:
    """`coldstart serve` as a process of its own, and its port."""
    shutil.copytree(BUNDLE, tmp_path / "bundle")
    running: list[subprocess.Popen[str]] = []

    def call(*words: str, **variables: str) -> tuple[subprocess.Popen[str], int]:
        process = subprocess.Popen(
            [sys.executable, "-m", "coldstart_cli", "serve", "port=0", *words],
            cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
            env={**{k: v for k, v in os.environ.items() if k != "PYTHONSAFEPATH"},
                 "PYTHONPATH": str(REPOSITORY / "src"), **variables},
        )  # fmt: skip
        running.append(process)
        assert process.stdout is not None and process.stderr is not None
        line = process.stdout.readline()
        found = re.search(r":(\d+)/ answers by bundle", line)
        assert found, line + process.stderr.read()
        return process, int(found[1])

    yield call
    for process in running:
        process.kill()
        process.wait()
        for stream in (process.stdout, process.stderr):
            assert stream is not None
            stream.close()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_it_once_what_runs_is_answered(start: Start, number: signal.Signals) -> None:
    process, port = start("max_inputs=30000", COLDSTART_TOKEN=TOKEN)
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
    body = json.dumps({"inputs": [[1, 2]] * 30_000, "top_k": 1}).encode()
    kind = {"Content-Type": "application/json", "Authorization": f"Bearer {TOKEN}"}
    connection.request("POST", "/predict", body, kind)
    time.sleep(0.5)
    process.send_signal(number)
    answer = connection.getresponse()
    assert answer.status == 200 and len(json.loads(answer.read())["answers"]) == 30_000
    connection.close()
    assert process.wait(30) == 0
    assert process.stdout is not None and process.stderr is not None
    log = process.stderr.read()
    assert "POST /predict 200" in log and TOKEN not in log + process.stdout.read() and log.count("\n") == 1
    with pytest.raises(OSError):
        socket.create_connection(("127.0.0.1", port), 1)


def test_a_thread_may_serve_and_signals_stay_as_they_are(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(server.uvicorn.Server, "startup", _stop_at_once)
    sockets: list[socket.socket] = []
    address = server.address
    monkeypatch.setattr(server, "address", lambda one: sockets.append(one) or address(one))
    before = signal.getsignal(signal.SIGTERM)
    heard: list[str] = []
    words = plan("port=0", f"bundle={BUNDLE}")
    thread = threading.Thread(target=lambda: server.serve(words, None, heard.append, None))
    thread.start()
    thread.join(60)
    assert len(heard) == 1 and signal.getsignal(signal.SIGTERM) is before
    assert sockets[0].proto == socket.IPPROTO_TCP  # asyncio sends at once over such alone
    server.serve(words, None, heard.append, None)
    assert len(heard) == 2 and signal.getsignal(signal.SIGTERM) is before


async def _stop_at_once(self: object, sockets: object = None) -> None:
    self.should_exit = True  # type: ignore[attr-defined]
    self.servers = []  # type: ignore[attr-defined]
