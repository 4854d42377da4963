"""Low-rank weights in peft's format: peft computes with them what our predictor computes."""

from __future__ import annotations

from collections.abc import Callable
from itertools import islice
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from coldstart_cli.models.pretrained.text import masked_mean
from coldstart_cli.models.updates.peft_folder import peft_folder

Make = Callable[..., Any]


@pytest.mark.filterwarnings("ignore:`is_gradient_checkpointing` is deprecated")  # peft 0.21's call
@pytest.mark.parametrize("name", ["lora", "maml_lora"])
def test_peft_computes_the_same_outputs(
    text_experiment: Make, tiny_bert: Path, tmp_path: Path, name: str
) -> None:
    peft = pytest.importorskip("peft", reason="needs the extra hf")
    transformers = pytest.importorskip("transformers")
    rate = "inner_lr" if name == "maml_lora" else "lr"
    made = text_experiment(
        f"strategy={name}",
        "model=hf_text",
        f"model.path={tiny_bert}",
        "strategy.alpha=6",
        "strategy.rank=2",
        f"strategy.{rate}=0.2",
    )
    strategy, task = made.strategy.eval(), made.source.tasks("new", [0])[0]
    adapted = list(islice(strategy.adapt(task.support), 4))[-1]
    assert any(t.any() for n, t in adapted.changed.items() if n.endswith("lora_B"))
    peft_folder(strategy.network, adapted.changed, tmp_path / "adapter", alpha=6.0)
    base = transformers.AutoModel.from_pretrained(tiny_bert)
    theirs = peft.PeftModel.from_pretrained(base, tmp_path / "adapter").eval()
    from safetensors.torch import load_file

    head = nn.Linear(16, 3)
    head.load_state_dict(load_file(tmp_path / "adapter" / "head.safetensors"))
    inputs = task.query.inputs
    with torch.no_grad():
        hidden = theirs(
            input_ids=inputs["input_ids"].long(), attention_mask=inputs["attention_mask"].long()
        ).last_hidden_state
        features = nn.functional.normalize(masked_mean(hidden, inputs["attention_mask"]), dim=1)
        torch.testing.assert_close(head(features), adapted.module(inputs), rtol=1e-4, atol=1e-5)


def test_what_peft_cannot_hold_is_refused(text_experiment: Make, tiny_bert: Path, tmp_path: Path) -> None:
    path = f"model.path={tiny_bert}"
    plain = text_experiment("strategy=finetune", "model=embedding_bag", path).strategy
    with pytest.raises(ValueError, match=r"^peft: its format is for pretrained models"):
        peft_folder(plain.network, {}, tmp_path, alpha=1.0)
    network = text_experiment("strategy=finetune", "model=hf_text", path).strategy.network
    with pytest.raises(ValueError, match=r"^peft: there are no low-rank weights"):
        peft_folder(network, {"head.bias": torch.zeros(3)}, tmp_path, alpha=1.0)
    norm = "encoder.body.encoder.layer.0.output.LayerNorm.weight"
    factors = {f"{norm}.lora_A": torch.zeros(1, 1), f"{norm}.lora_B": torch.zeros(16, 1)}
    with pytest.raises(ValueError, match=r"^peft: .* is a LayerNorm, for which it has no format"):
        peft_folder(network, factors, tmp_path, alpha=1.0)
