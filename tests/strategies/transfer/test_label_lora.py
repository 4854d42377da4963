"""Low-rank updates and scales in a language model's layers: outputs against peft's, steps, heads."""

from __future__ import annotations

from itertools import islice
from pathlib import Path
from typing import Any

import pytest
import torch
from torch.nn import functional as F

from coldstart_cli.core.tasks import Support
from coldstart_cli.errors import RequestError
from coldstart_cli.models.language.label_likelihood import label_scores, prefix, rows
from coldstart_cli.models.updates.peft_folder import peft_answers
from tests.models.language.test_causal_lm import of_transformers
from tests.strategies.transfer.test_prompt_tuning import support_of, trial, whole

pytestmark = pytest.mark.usefixtures("torch_settings")
KINDS = ["label_lora", "ia3"]


def by_peft(made: Any, changed: dict[str, torch.Tensor], folder: Path) -> Any:
    """Their model with our trained tensors in it, which peft reads from a folder."""
    peft = pytest.importorskip("peft", reason="needs the extra hf")
    node, lm = made.config["strategy"], made.strategy.lm
    settings = {"alpha": node.get("alpha", 0.0), "rank_stabilised": node.get("rank_stabilised", False)}
    peft_answers(lm, changed, folder, **settings)
    model = peft.PeftModel.from_pretrained(of_transformers(lm.path), folder)
    assert sum("lora" in n or "ia3" in n for n, _ in model.named_parameters()) == len(changed)
    return model.eval()


@pytest.mark.filterwarnings("ignore:`is_gradient_checkpointing` is deprecated")  # peft 0.21's call
@pytest.mark.parametrize(
    ("kind", "more"),
    [("label_lora", {}), ("label_lora", {"rank_stabilised": True, "rank": 4}), ("ia3", {})],
)
def test_scores_are_those_of_pefts_own_model(kind: str, more: dict[str, Any], tmp_path: Path) -> None:
    made = trial(kind, lr=0.05, **more)
    lm, support = made.strategy.lm, support_of(made)
    adapted = list(islice(made.strategy.adapt(support), 4))[-1]
    theirs = by_peft(made, dict(adapted.changed), tmp_path)
    with torch.no_grad():
        found = adapted.module(support.inputs)
        assert not torch.allclose(found, next(made.strategy.adapt(support)).module(support.inputs), atol=0.1)
        for i, text in enumerate(rows(support.inputs)):
            for c, label in enumerate(rows(support.names)):  # type: ignore[arg-type]
                ids, n = whole(lm, text, label)
                said = theirs(input_ids=ids[None]).logits[0].log_softmax(-1)
                expected = sum(float(said[n - 1 + j, token]) for j, token in enumerate(label))
                assert float(found[i, c]) == pytest.approx(expected, abs=5e-4)


@pytest.mark.parametrize("kind", KINDS)
def test_first_predictor_is_the_untrained_model(kind: str) -> None:
    made = trial(kind)
    lm, support = made.strategy.lm, support_of(made)
    past = lm.keys_and_values(lm.embedded(prefix(lm, [], [], "sum")))
    labels = rows(support.names)  # type: ignore[arg-type]
    expected = label_scores(lm, past, rows(support.inputs), labels, "sum")
    found = next(made.strategy.adapt(support)).module(support.inputs)
    torch.testing.assert_close(found, expected)


def losses(made: Any, support: Support, n: int) -> list[float]:
    with torch.no_grad():
        outputs = [a.module(support.inputs) for a in islice(made.strategy.adapt(support), n)]
    return [float(support.objective.loss(o, support.targets)) for o in outputs]


@pytest.mark.parametrize("answer_by", ["words", "head"])
@pytest.mark.parametrize("kind", KINDS)
def test_steps_lower_the_loss_and_are_the_supports_alone(kind: str, answer_by: str) -> None:
    more = {"dropout": 0.1} if kind == "label_lora" else {}
    made = trial(kind, lr=0.05, support_batch_size=2, answer_by=answer_by, **more)
    support = support_of(made)
    first = losses(made, support, 12)
    assert first[-1] < 0.8 * first[0]
    assert losses(made, support, 12) == first


@pytest.mark.filterwarnings("ignore:`is_gradient_checkpointing` is deprecated")  # peft 0.21's call
def test_head_reads_the_updated_features(tmp_path: Path) -> None:
    made = trial("label_lora", answer_by="head", lr=0.05)
    support = support_of(made)
    adapted = list(islice(made.strategy.adapt(support), 3))[-1]
    theirs = by_peft(made, {n: t for n, t in adapted.changed.items() if "head" not in n}, tmp_path)
    weight, bias = adapted.changed["head.weight"], adapted.changed["head.bias"]
    with torch.no_grad():
        hidden = [
            theirs(input_ids=text[None], output_hidden_states=True).hidden_states[-1][0, -1]
            for text in rows(support.inputs)
        ]
        expected = F.linear(F.normalize(torch.stack(hidden), dim=-1), weight, bias)
        torch.testing.assert_close(adapted.module(support.inputs), expected, rtol=1e-3, atol=1e-4)


def test_dropout_changes_steps_and_not_predictions() -> None:
    support = support_of(trial("label_lora"))
    plain, dropped = (
        list(islice(trial("label_lora", dropout=p).strategy.adapt(support), 3)) for p in (0.0, 0.5)
    )
    assert not torch.equal(*(next(iter(items[-1].changed.values())) for items in (plain, dropped)))
    with torch.no_grad():
        assert torch.equal(dropped[-1].module(support.inputs), dropped[-1].module(support.inputs))


def test_bad_requests_are_refused_in_one_line() -> None:
    with pytest.raises(RequestError, match=r"rank: 9 is above the smaller side of .*; choose at most 8"):
        trial("label_lora", rank=9)
    with pytest.raises(RequestError, match=r"targets: no matrix has query in its name; choose among"):
        trial("ia3", targets=["query"])
