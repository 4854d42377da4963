"""Published data sets: where their files are; fetched once and checked by digest, or in your own folder."""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from coldstart_cli.digests import file_digest
from coldstart_cli.errors import RequestError, suggestion
from coldstart_cli.files.caching import cache_folder

N_RETRIES = 2
TIMEOUT_SECONDS = 30.0
"""Without a byte from the publisher."""

_RAW = "https://raw.githubusercontent.com"
_CLINC = f"{_RAW}/clinc/oos-eval/828f8093932c8fe6ca7936c3d2e52903b1c523de/data"
_BANKING = f"{_RAW}/PolyAI-LDN/task-specific-datasets/57ec275d8078af65b7731c2a98be812d844a6d6b/banking_data"
_OMNIGLOT = "https://github.com/brendenlake/omniglot/raw/master/python"


@dataclass(frozen=True, slots=True)
class File:
    """A publisher's file. digest: `sha256:...` or `md5:...`, as pooch writes it."""

    url: str
    digest: str


PUBLISHED: Mapping[str, Mapping[str, File]] = {
    "clinc150": {
        "data_full.json": File(
            f"{_CLINC}/data_full.json",
            "sha256:36923c3705a59e08fe9c3883d8bc2dd966ef93e22cb78ac41171782a698d56e0",
        ),
        "domains.json": File(
            f"{_CLINC}/domains.json",
            "sha256:b947b579d3b8e74b06f93b01083d8efaff2888b43a3e362533bd88a6e1211b3a",
        ),
    },
    "banking77": {
        "train.csv": File(
            f"{_BANKING}/train.csv",
            "sha256:b06e26ac675513959a63135f11b94ea7786ed02da65db93a5650d8838cbc664b",
        ),
        "test.csv": File(
            f"{_BANKING}/test.csv",
            "sha256:d12d6e3bc4c3103966ae786dc435913c0c563dfa328f5a3646d0e62cfeeb474d",
        ),
    },
    "omniglot": {
        "images_background.zip": File(
            f"{_OMNIGLOT}/images_background.zip", "md5:68d2efa1b9178cc56df9314c21c6e718"
        ),
        "images_evaluation.zip": File(
            f"{_OMNIGLOT}/images_evaluation.zip", "md5:6b91aef0f799c5bb55b94e3f2daec811"
        ),
    },
}
"""Data set -> file -> where it is published."""


def located(name: str, root: str | None) -> dict[str, Path]:
    """The files of a data set: in the folder `root` as they are there, or fetched into the cache and checked.

    Raises:
        RequestError: where one is missing, or cannot be fetched.
    """
    if root is None:
        return fetch(name, None)
    folder = Path(root).expanduser()
    files = {file: folder / file for file in PUBLISHED[name]}
    for file, path in files.items():
        if not path.is_file():
            known = ", ".join(files)
            raise RequestError(
                f"dataset.root: {folder} holds no {file}; name the folder that holds {known}, or null to "
                "download them"
            )
    return files


def fetch(name: str, root: str | None) -> dict[str, Path]:
    """Downloads what is missing into the folder `root`, or into the cache; checked by digest.

    Raises:
        RequestError: where a file cannot be fetched, or is another one.
    """
    folder = cache_folder() if root is None else Path(root).expanduser()
    paths = {}
    for file, published in _files(name).items():
        path = folder / (f"{name}-{file}" if root is None else file)
        if root is not None and path.exists():
            _checked(path, published)  # what lies there is never written over
        elif not _is_published(path, published):
            _download(path, published)
        paths[file] = path
    return paths


def _download(path: Path, published: File) -> None:
    """One process fetches a file while others wait; it appears whole and checked, by renaming.

    Raises:
        RequestError: saying whether the network, the publisher or the folder is at fault.
    """
    from requests.exceptions import RequestException

    from coldstart_cli.files.locks import locked  # late: a page of help asks for names of files alone

    hidden = path.parent / ".downloads"
    partial = hidden / path.name
    try:
        hidden.mkdir(parents=True, exist_ok=True)
        with locked(hidden / f"{path.name}.lock"):
            if _is_published(path, published):  # another process was first
                return
            shutil.rmtree(partial, ignore_errors=True)  # of one that was killed
            os.replace(_retrieved(partial, published), path)
            shutil.rmtree(partial, ignore_errors=True)
    except (RequestException, OSError, ValueError) as error:
        raise RequestError(_why(path, published, error)) from error


def _retrieved(folder: Path, published: File) -> str:
    """The file in `folder`, whatever else a network does to it on the way."""
    import pooch  # type: ignore[import-untyped]

    pooch.get_logger().setLevel("ERROR")  # it would name our hidden folder
    print(f"downloading {published.url}", file=sys.stderr)
    files = pooch.create(
        path=folder,
        base_url="",
        registry={"file": published.digest},
        urls={"file": published.url},
        retry_if_failed=N_RETRIES,
    )
    downloader = pooch.HTTPDownloader(timeout=TIMEOUT_SECONDS, progressbar=False)
    return str(files.fetch("file", downloader=downloader))


def _why(path: Path, published: File, error: Exception) -> str:
    from requests.exceptions import ConnectionError as Unreachable
    from requests.exceptions import HTTPError, RequestException, Timeout

    elsewhere = "fetch it elsewhere and set dataset.root to the folder that holds it, or use dataset=glyphs"
    where = f"dataset.root: {published.url} cannot be downloaded"
    if isinstance(error, HTTPError) and error.response is not None:
        return f"{where} (HTTP {error.response.status_code}); try later, or {elsewhere}"
    if isinstance(error, Unreachable | Timeout):
        return f"{where} (no connection, or it broke off: {type(error).__name__}); try online, or {elsewhere}"
    if isinstance(error, RequestException):
        return f"{where} ({type(error).__name__}); try again, or {elsewhere}"
    if isinstance(error, ValueError):
        kind = published.digest.partition(":")[0]
        return f"{where} (what came is not the published file by its {kind}); try again, or {elsewhere}"
    remedy = "name a folder of yours by dataset.root or COLDSTART_CACHE"
    return f"dataset.root: {path} cannot be written ({error.strerror or error}); {remedy}"  # type: ignore[attr-defined]


def verify(name: str, root: str | None) -> list[str]:
    """One line a file that is the publisher's; root None looks into the cache. Downloads nothing.

    Raises:
        RequestError: at the first that is missing or another one.
    """
    lines = []
    for file, published in _files(name).items():
        path = cache_folder() / f"{name}-{file}" if root is None else Path(root).expanduser() / file
        if not path.is_file():
            remedy = (
                f"coldstart data fetch dataset={name}" if root is None else "name the folder that holds it"
            )
            raise RequestError(f"{path}: is not there; {remedy}")
        lines.append(_checked(path, published))
    return lines


def _files(name: str) -> Mapping[str, File]:
    if name not in PUBLISHED:
        raise RequestError(f"dataset: {name} is not downloaded; {suggestion(name, PUBLISHED)}")
    return PUBLISHED[name]


def _is_published(path: Path, published: File) -> bool:
    kind, _, expected = published.digest.partition(":")
    return path.is_file() and file_digest(path, kind) == expected


def _checked(path: Path, published: File) -> str:
    kind, _, expected = published.digest.partition(":")
    found = file_digest(path, kind)
    if found != expected:
        raise RequestError(
            f"{path}: its {kind} is {found}, the publisher's file has {expected}; fetch it anew from "
            f"{published.url}"
        )
    return f"{path}: {kind} {found}"
