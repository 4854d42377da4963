"""Quantised networks in one file (GGUF, of llama.cpp) as folders that transformers reads, made once.

transformers computes with the numbers that a file's blocks stand for, in float32, and refuses to save such a
network. So the same network is built anew, given the numbers, and saved as safetensors in the cache folder.
"""

from __future__ import annotations

import contextlib
import importlib.util
import io
import logging
import os
import shutil
from pathlib import Path
from typing import Any

import torch

from coldstart_cli.errors import RequestError
from coldstart_cli.files.caching import cache_folder
from coldstart_cli.files.durable import PARTIAL, sync
from coldstart_cli.files.locks import locked
from coldstart_cli.files.regular import opened
from coldstart_cli.package import getting

SUFFIX = ".gguf"
_MAGIC = b"GGUF"

_log = logging.getLogger(__name__)


def unpacked(place: Path) -> Path:
    """The folder as it is, or the one made of a GGUF file: the file itself, or a folder's only weights.

    Raises:
        ValueError: where the file is damaged, or the folder has several.
    """
    if not place.is_dir():
        return _converted(place)
    files = sorted(place.glob(f"*{SUFFIX}"))
    if not files or any(place.glob("*.safetensors")):
        return place
    if len(files) > 1:
        names = ", ".join(file.name for file in files)
        raise ValueError(f"path: {place} has several GGUF files ({names}); give the path of one")
    return _converted(files[0])


def _converted(file: Path) -> Path:
    from coldstart_cli.models.pretrained import hf  # which asks this module first

    hf.imported()
    if importlib.util.find_spec("gguf") is None:
        raise RequestError(f"model.path: gguf is not installed; {getting('hf')} (E50)")
    try:
        with opened(file) as stream:
            is_gguf = stream.read(len(_MAGIC)) == _MAGIC
        name = f"gguf-{hf.digest_of(file)[:24]}"
    except OSError as error:
        raise ValueError(f"path: {file} cannot be read ({error.strerror}); give another file") from error
    if not is_gguf:
        raise ValueError(f"path: {file} does not begin as a GGUF file does; download it again")
    folder = cache_folder() / name
    with locked(cache_folder() / f"{name}.lock"):
        if not folder.is_dir():
            _log.warning("model.path: %s is converted once into %s", file.name, folder)
            _convert(file, folder)
    return folder


def _convert(file: Path, folder: Path) -> None:
    """Fills a folder beside `folder` and renames it, so that a crash leaves no half of one."""
    partial = folder.with_name(f".{folder.name}.{os.getpid()}{PARTIAL}")
    network, tokenizer = _loaded(file)
    try:
        network.save_pretrained(partial, safe_serialization=True)
        tokenizer.save_pretrained(partial)
        os.replace(partial, folder)
        sync(folder.parent)
    except OSError as error:
        n_bytes = 4 * sum(p.numel() for p in network.parameters())
        raise RequestError(
            f"COLDSTART_CACHE: {folder} cannot be written ({error.strerror}, {n_bytes} bytes); make room, or "
            "name a folder of yours"
        ) from error
    finally:
        shutil.rmtree(partial, ignore_errors=True)


def _loaded(file: Path) -> tuple[Any, Any]:
    """A network of plain float32 layers, which can be saved, and its tokenizer.

    Raises:
        ValueError: where transformers cannot read the file.
    """
    from coldstart_cli.models.pretrained import hf

    transformers = hf.imported()
    where: dict[str, Any] = {"gguf_file": file.name, "local_files_only": True, "trust_remote_code": False}
    try:
        with contextlib.redirect_stderr(io.StringIO()):  # a progress bar that cannot be switched off
            tokenizer = transformers.AutoTokenizer.from_pretrained(str(file.parent), **where)
            read = transformers.AutoModelForCausalLM.from_pretrained(
                str(file.parent), dtype=torch.float32, **where
            )
        plain = {key: value for key, value in read.config.to_dict().items() if key != "quantization_config"}
        with torch.device("meta"):  # without first weights, which would be random
            network = transformers.AutoModelForCausalLM.from_config(type(read.config).from_dict(plain))
        network.load_state_dict(read.state_dict(), assign=True)
        network.tie_weights()
    except Exception as error:  # files from elsewhere can raise nearly anything
        raise ValueError(hf.unreadable(file, error)) from error
    wrong = next((name for name, w in network.named_parameters() if not torch.isfinite(w).all()), None)
    if wrong is not None:
        raise ValueError(
            f"path: {file} is damaged (not every number of {wrong} is finite); download it again"
        )
    return network, tokenizer
