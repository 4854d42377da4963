"""A bundle over an encoder of texts as a folder of sentence-transformers, whose embeddings are its logits.

Its modules are those of Reimers and Gurevych 2019 (arXiv:1908.10084, section 3): Transformer, Pooling,
Normalize where features are scaled to length 1, and Dense, without an activation, which is the head. The
folder is written and read here without that package.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from torch.nn import functional as F

from coldstart_cli.bundles.rebuild import tensors_of
from coldstart_cli.core.tasks import Inputs
from coldstart_cli.models.pretrained.hf import folder_of, network_of
from coldstart_cli.models.pretrained.text import HFText, TextPooling, hidden_states, pooled, trimmed

NAME = "SentenceTransformer"
_POOLINGS: dict[TextPooling, str] = {
    "mean": "pooling_mode_mean_tokens",
    "cls": "pooling_mode_cls_token",
    "last": "pooling_mode_lasttoken",
}
"""What the folder calls ours."""
_WEIGHTS = "model.safetensors"


def write(
    folder: Path, encoder: HFText, head: nn.Linear, labels: Sequence[str], *, unit: bool, max_length: int
) -> None:
    """Writes all but the tokenizer.

    Args:
        folder: is made.
        head: of features, divided by the temperature.
        labels: of its outputs; they stand in config.json.
        unit: whether features are scaled to length 1 before it.
        max_length: tokens of a text; longer ones are cut.
    """
    folder.mkdir()
    _write_network(folder, encoder, labels)
    kinds = ["Transformer", "Pooling", *(["Normalize"] if unit else []), "Dense"]
    places = ["", *(f"{i}_{kind}" for i, kind in enumerate(kinds) if i)]
    _write_json(
        folder / "modules.json",
        [
            {"idx": i, "name": str(i), "path": place, "type": f"sentence_transformers.models.{kind}"}
            for i, (kind, place) in enumerate(zip(kinds, places, strict=True))
        ],
    )
    _write_json(folder / "sentence_bert_config.json", {"max_seq_length": max_length, "do_lower_case": False})
    n_outputs, d = head.weight.shape
    settings: dict[str, dict[str, Any]] = {
        "Pooling": {
            "word_embedding_dimension": d,
            **{name: own == encoder.pooling for own, name in _POOLINGS.items()},
        },
        "Normalize": {},
        "Dense": {
            "in_features": d,
            "out_features": n_outputs,
            "bias": True,
            "activation_function": "torch.nn.modules.linear.Identity",
        },
    }
    for kind, place in zip(kinds[1:], places[1:], strict=True):
        (folder / place).mkdir()
        _write_json(folder / place / "config.json", settings[kind])
    bias = torch.zeros(n_outputs) if head.bias is None else head.bias.detach()
    layer = {"linear.weight": head.weight.detach().contiguous(), "linear.bias": bias.contiguous()}
    save_file(layer, folder / places[-1] / _WEIGHTS)
    (folder / "README.md").write_text(_readme(labels), encoding="utf-8")


def logits(folder: Path, inputs: Inputs) -> Tensor:
    """(n, n_outputs) that the folder's files compute of token ids and mask, each (n, L)."""
    modules = json.loads((folder / "modules.json").read_text(encoding="utf-8"))
    places = {module["type"].rpartition(".")[2]: folder / module["path"] for module in modules}
    said = json.loads((places["Pooling"] / "config.json").read_text(encoding="utf-8"))
    (pooling,) = (own for own, name in _POOLINGS.items() if said[name])
    layer = load_file(places["Dense"] / _WEIGHTS)
    network, _ = network_of(folder, None)
    ids, mask = trimmed(inputs)
    with torch.no_grad():
        features = pooled(hidden_states(network, ids, mask, None), mask, pooling)
        features = F.normalize(features, dim=-1) if "Normalize" in places else features
        return F.linear(features, layer["linear.weight"], layer["linear.bias"])


def _write_network(folder: Path, encoder: HFText, labels: Sequence[str]) -> None:
    # As the files have it, with what HFText leaves out: the same folder gives the same bytes.
    network, _ = network_of(folder_of(encoder.path), None)
    network.load_state_dict(tensors_of(encoder.body), strict=False)
    known: Any = network  # typed as a module, which has neither
    known.config.id2label = dict(enumerate(labels))
    known.config.label2id = {label: number for number, label in enumerate(labels)}
    known.save_pretrained(str(folder))


def _write_json(path: Path, value: object) -> None:
    path.write_text(json.dumps(value, indent=2) + "\n", encoding="utf-8")


def _readme(labels: Sequence[str]) -> str:
    # A name may hold what ends a block of code.
    names = json.dumps(list(labels), indent=1).replace("`", "\\u0060")
    return f"""---
library_name: sentence-transformers
pipeline_tag: text-classification
---

# Texts in {len(labels)} classes

An encoder with a linear head, written by `coldstart export`. An embedding holds the logit of each class;
their softmax is calibrated, for the head is divided by the temperature.

```python
from sentence_transformers import SentenceTransformer

model = SentenceTransformer("FOLDER")
shares = model.encode(["a text"], convert_to_tensor=True).softmax(-1)
names = model[0].auto_model.config.id2label
print([(names[int(row.argmax())], float(row.max())) for row in shares])
```

The classes, in the order of the logits (also `id2label` of config.json):

```json
{names}
```
"""
