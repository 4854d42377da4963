from __future__ import annotations

import hashlib
from pathlib import Path

import pytest
from requests.exceptions import ConnectionError as NoConnection

from coldstart_cli.datasets import published
from coldstart_cli.datasets.published import File, fetch, located, main, verify
from coldstart_cli.errors import RequestError

pytestmark = pytest.mark.usefixtures("own_cache")
CONTENT = b"what is published"
DIGEST = hashlib.sha256(CONTENT).hexdigest()


@pytest.fixture(autouse=True)
def served(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """A data set of one file, and the downloads of it."""
    asked: list[str] = []

    def retrieve(url: str, digest: str, fname: str, path: Path, progressbar: bool) -> str:
        if not (Path(path) / fname).exists():
            asked.append(url)
            Path(path).mkdir(parents=True, exist_ok=True)
            (Path(path) / fname).write_bytes(CONTENT)
        return str(Path(path) / fname)

    monkeypatch.setattr("pooch.retrieve", retrieve)
    monkeypatch.setattr(
        published, "PUBLISHED", {"toy": {"a.txt": File("https://x/a.txt", f"sha256:{DIGEST}")}}
    )
    return asked


def test_files_are_fetched_once_and_verified(
    served: list[str], own_cache: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(RequestError, match=r"toy-a.txt: is not there; coldstart data fetch dataset=toy"):
        verify("toy", None)
    assert (
        fetch("toy", None) == fetch("toy", None) == located("toy", None) == {"a.txt": own_cache / "toy-a.txt"}
    )
    assert served == ["https://x/a.txt"]
    assert main(["verify", "dataset=toy"]) == 0
    assert capsys.readouterr().out == f"{own_cache / 'toy-a.txt'}: sha256 {DIGEST}\n"


def test_files_of_a_folder_are_taken_and_never_written_over(
    served: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["fetch", "dataset=toy", f"dataset.root={tmp_path / 'mine'}"]) == 0
    assert capsys.readouterr().out == f"{tmp_path / 'mine' / 'a.txt'}\n"
    assert located("toy", str(tmp_path / "mine"))["a.txt"].read_bytes() == CONTENT
    (tmp_path / "mine" / "a.txt").write_bytes(b"changed")
    for function in (fetch, verify):
        with pytest.raises(
            RequestError, match=r"a.txt: its sha256 is .*; fetch it anew from https://x/a.txt"
        ):
            function("toy", str(tmp_path / "mine"))
    assert (tmp_path / "mine" / "a.txt").read_bytes() == b"changed"
    with pytest.raises(
        RequestError, match=r"dataset.root: .* holds no a.txt; name the folder that holds a.txt"
    ):
        located("toy", str(tmp_path))


def test_failed_download_is_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    def offline(*_: object, **__: object) -> None:
        raise NoConnection("no route")

    monkeypatch.setattr("pooch.retrieve", offline)
    with pytest.raises(
        RequestError, match=r"https://x/a.txt cannot be downloaded \(ConnectionError\); fetch it"
    ):
        fetch("toy", None)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], r"write coldstart data fetch\|verify"),
        (["fetch"], "is not understood"),
        (["fetch", "dataset=toys"], "dataset: toys is not downloaded; did you mean toy"),
        (["verify", "dataset=toy", "k=1"], "is not understood"),
    ],
)
def test_wrong_requests_are_one_line(arguments: list[str], message: str) -> None:
    with pytest.raises(RequestError, match=message):
        main(arguments)


@pytest.mark.parametrize("name", ["clinc150", "banking77"])
def test_local_copies_are_the_publishers(monkeypatch: pytest.MonkeyPatch, data_root: Path, name: str) -> None:
    monkeypatch.undo()
    assert len(verify(name, str(data_root / name))) == 2
