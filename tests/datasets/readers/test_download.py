"""Published files: whole and checked or not there at all, whatever the network does."""

from __future__ import annotations

import hashlib
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import SimpleNamespace

import pytest

from coldstart_cli.cli import main
from coldstart_cli.datasets.readers import download
from coldstart_cli.datasets.readers.download import File, fetch, located, verify
from coldstart_cli.errors import RequestError
from tests.kit.marked_processes import gone_within, marked
from tests.kit.reliability import Tries

pytestmark = pytest.mark.usefixtures("own_cache")
CONTENT = b"what is published" * 20_000
DIGEST = hashlib.sha256(CONTENT).hexdigest()
CLIENT = """
import sys
from coldstart_cli.datasets.readers import download
download.PUBLISHED = {"toy": {"a.txt": download.File(sys.argv[1], sys.argv[2])}}
print(download.fetch("toy", None)["a.txt"].stat().st_size)
"""


PLAIN = """
import pooch, sys
pooch.retrieve(*sys.argv[1:3], fname="toy-a.txt", path=sys.argv[3])
"""


class Publisher(BaseHTTPRequestHandler):
    """Serves the file in the way that the path says."""

    asked: list[str]

    def do_GET(self) -> None:
        self.asked.append(self.path)
        how = self.path.strip("/")
        if how == "500" or (how == "flaky" and len(self.asked) < 3):
            self.send_error(500)
            return
        self.send_response(200)
        self.send_header("Content-Length", str(len(CONTENT)))
        self.end_headers()
        n = 10 if how in ("slow", "stall") else 1
        size = -(-len(CONTENT) // n)
        for i in range(n):
            part = CONTENT[i * size : (i + 1) * size]
            self.wfile.write({"cut": part[:-5], "wrong": part[:-1] + b"!"}.get(how, part))
            self.wfile.flush()
            time.sleep({"slow": 0.02, "stall": 2.0}.get(how, 0))

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture(autouse=True)
def served(monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[str, list[str]]]:
    """Where a publisher of one file is, and what was asked of it; attempts follow without a wait."""
    asked: list[str] = []
    server = ThreadingHTTPServer(("127.0.0.1", 0), type("Handler", (Publisher,), {"asked": asked}))
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    address = f"http://127.0.0.1:{server.server_address[1]}"
    publish(monkeypatch, f"{address}/ok")
    monkeypatch.setattr("pooch.core.time", SimpleNamespace(sleep=lambda seconds: None))
    yield address, asked
    server.shutdown()
    thread.join()
    server.server_close()


def publish(monkeypatch: pytest.MonkeyPatch, url: str) -> None:
    monkeypatch.setattr(download, "PUBLISHED", {"toy": {"a.txt": File(url, f"sha256:{DIGEST}")}})


def visible(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.glob("*") if not path.name.startswith("."))


def test_files_are_fetched_once_and_verified(
    served: tuple[str, list[str]], own_cache: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(RequestError, match=r"toy-a.txt: is not there; coldstart data fetch dataset=toy"):
        verify("toy", None)
    assert (
        fetch("toy", None) == fetch("toy", None) == located("toy", None) == {"a.txt": own_cache / "toy-a.txt"}
    )
    assert served[1] == ["/ok"]
    assert main(["data", "verify", "dataset=toy"]) == 0
    assert capsys.readouterr().out == f"{own_cache / 'toy-a.txt'}: sha256 {DIGEST}\n"


def test_files_of_a_folder_are_taken_and_never_written_over(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["data", "fetch", "dataset=toy", f"dataset.root={tmp_path / 'mine'}"]) == 0
    assert capsys.readouterr().out == f"{tmp_path / 'mine' / 'a.txt'}\n"
    assert located("toy", str(tmp_path / "mine"))["a.txt"].read_bytes() == CONTENT
    (tmp_path / "mine" / "a.txt").write_bytes(b"changed")
    for function in (fetch, verify):
        with pytest.raises(RequestError, match=r"a.txt: its sha256 is .*; fetch it anew from http://.*/ok"):
            function("toy", str(tmp_path / "mine"))
    assert (tmp_path / "mine" / "a.txt").read_bytes() == b"changed"
    with pytest.raises(
        RequestError, match=r"dataset.root: .* holds no a.txt; name the folder that holds a.txt"
    ):
        located("toy", str(tmp_path))


@pytest.mark.fault("R12")
def test_a_failed_download_leaves_nothing_and_says_why(
    served: tuple[str, list[str]], own_cache: Path, monkeypatch: pytest.MonkeyPatch, tries: Tries
) -> None:
    address, asked = served
    monkeypatch.setattr(download, "TIMEOUT_SECONDS", 0.3)
    faults = {"500": r"\(HTTP 500\); try later", "cut": r"\(\w+\); try", "wrong": "is not the published file",
              "stall": "no connection, or it broke off"}  # fmt: skip
    for _ in tries.of(1, 3):
        for how, line in faults.items():
            publish(monkeypatch, f"{address}/{how}")
            with pytest.raises(
                RequestError, match=rf"^dataset.root: http://[^ ]*/{how} cannot[^\n]*{line}[^\n]*$"
            ):
                fetch("toy", None)
            assert asked.count(f"/{how}") == 3 and asked.clear() is None
            if visible(own_cache):
                tries.failures.append(f"{how}: {visible(own_cache)}")
    publish(monkeypatch, "http://127.0.0.1:9/a.txt")
    with pytest.raises(RequestError, match="no connection, or it broke off: ConnectionError"):
        fetch("toy", None)


@pytest.mark.fault("R12")
def test_a_troubled_publisher_is_asked_again_and_a_slow_one_waited_for(
    served: tuple[str, list[str]], own_cache: Path, monkeypatch: pytest.MonkeyPatch, tries: Tries
) -> None:
    tries.of(2, 2)
    for how, n in (("flaky", 3), ("slow", 1)):
        publish(monkeypatch, f"{served[0]}/{how}")
        served[1].clear()
        assert fetch("toy", None)["a.txt"].read_bytes() == CONTENT and len(served[1]) == n
        (own_cache / "toy-a.txt").unlink()


@pytest.mark.fault("R12")
def test_clients_at_once_get_one_file_and_a_killed_one_leaves_none(
    served: tuple[str, list[str]], own_cache: Path, tries: Tries
) -> None:
    for _ in tries.of(1, 5):
        (own_cache / "toy-a.txt").unlink(missing_ok=True)
        served[1].clear()
        environment = marked()
        victim = client(f"{served[0]}/stall", environment)
        while "/stall" not in served[1] or not list(own_cache.glob(".downloads/*/tmp*")):
            time.sleep(0.02)
        victim.kill()
        victim.communicate()
        assert not visible(own_cache)
        several = [client(f"{served[0]}/slow", environment) for _ in range(8)]
        said = [one.communicate(timeout=60)[0] for one in several]
        if said != 8 * [f"{len(CONTENT)}\n"] or served[1] != ["/stall", "/slow"]:
            tries.failures.append(f"{said} after {served[1]}")
        assert visible(own_cache) == ["toy-a.txt"] and not list(own_cache.glob(".downloads/*/*"))
        assert gone_within(environment, 5)


def test_without_a_hidden_folder_a_killed_client_leaves_a_part(
    served: tuple[str, list[str]], own_cache: Path
) -> None:
    own_cache.mkdir()
    victim = client(f"{served[0]}/stall", marked(), PLAIN, str(own_cache))
    while "/stall" not in served[1] or not visible(own_cache):
        time.sleep(0.02)
    victim.kill()
    victim.communicate()
    assert visible(own_cache)


def client(url: str, environment: dict[str, str], script: str = CLIENT, *more: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", script, url, f"sha256:{DIGEST}", *more],
        env=environment, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True,
    )  # fmt: skip


def test_a_folder_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(RequestError, match=r"^dataset.root: .*file/a.txt cannot be written \(Not"):
        fetch("toy", str(tmp_path / "file"))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["fetch"], "dataset: is needed; coldstart data fetch dataset=NAME"),
        (["fetch", "dataset=toys"], "dataset: 'toys' is not a valid choice; did you mean toy?"),
        (["verify", "dataset=toy", "k=1"], "k=1: data verify has no such key; "),
        (["verify", "--jsn"], "--jsn: there is no such flag; "),
    ],
)
def test_wrong_requests_are_one_line(
    arguments: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["data", *arguments]) == 2
    err = capsys.readouterr().err
    assert err.startswith(message) and err.count("\n") == 1


@pytest.mark.parametrize("name", ["clinc150", "banking77"])
def test_local_copies_are_the_publishers(monkeypatch: pytest.MonkeyPatch, data_root: Path, name: str) -> None:
    monkeypatch.undo()
    assert len(verify(name, str(data_root / name))) == 2
