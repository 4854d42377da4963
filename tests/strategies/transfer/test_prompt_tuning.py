"""Soft prompts and prefixes: outputs and steps against peft's and transformers' own, and where they start."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from itertools import islice
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from coldstart_cli.core.tasks import Support
from coldstart_cli.errors import RequestError
from coldstart_cli.models.language.label_likelihood import label_scores, prefix, rows
from coldstart_cli.testing.trial import Trial
from tests.models.language.test_causal_lm import PROMPT, of_transformers

Make = Callable[..., Any]
KINDS = ["soft_prompt", "prefix"]


pytestmark = pytest.mark.usefixtures("torch_settings")


HEADER = {"prompt": replace(PROMPT, header="w1 w2 ")}


def trial(kind: str, *, model: dict[str, Any] | None = None, **strategy: Any) -> Any:
    pytest.importorskip("transformers", reason="needs the extra hf")
    made = Trial(kind, overrides=["dataset.k_shot=2"])
    return made.experiment(strategy=strategy, model=model or {})


def support_of(made: Any, index: int = 0) -> Support:
    support: Support = made.source.tasks("new", [index])[0].support
    return support


def whole(lm: Any, text: Tensor, label: Tensor) -> tuple[Tensor, int]:
    """The ids of a prompt with its answer, and how many stand before the answer."""
    before, between = lm.piece("before"), lm.piece("between")
    return torch.cat([before, text, between, label]), len(before) + len(text) + len(between)


def by_peft(kind: str, lm: Any, theirs: Any, trained: dict[str, Tensor]) -> Any:
    """Their model with our trained tensors in it."""
    peft = pytest.importorskip("peft", reason="pip install peft")
    if kind == "soft_prompt":
        n = len(trained["prompt"])
        model = peft.get_peft_model(
            theirs, peft.PromptTuningConfig(task_type="CAUSAL_LM", num_virtual_tokens=n)
        )
        table = trained["prompt"]
    else:
        pairs = [trained[f"{name}.{i}"] for i in range(2) for name in ("keys", "values")]
        n = pairs[0].shape[2]
        # One row a token: keys then values of each layer, head after head.
        table = torch.cat([t[0].transpose(0, 1).flatten(1) for t in pairs], dim=1)
        model = peft.get_peft_model(
            theirs, peft.PrefixTuningConfig(task_type="CAUSAL_LM", num_virtual_tokens=n)
        )
    weight = model.prompt_encoder["default"].embedding.weight
    assert weight.shape == table.shape
    with torch.no_grad():
        weight.copy_(table)
    return model.eval(), n if kind == "soft_prompt" else 0


@pytest.mark.filterwarnings("ignore:`is_gradient_checkpointing` is deprecated")  # peft 0.21's call
@pytest.mark.parametrize("kind", KINDS)
def test_scores_are_those_of_pefts_own_model(kind: str) -> None:
    made = trial(kind, lr=0.1)
    lm, support = made.strategy.lm, support_of(made)
    adapted = list(islice(made.strategy.adapt(support), 4))[-1]
    theirs, n_more = by_peft(kind, lm, of_transformers(lm.path), dict(adapted.changed))
    with torch.no_grad():
        found = adapted.module(support.inputs)
        for i, text in enumerate(rows(support.inputs)):
            for c, label in enumerate(rows(support.names)):  # type: ignore[arg-type]
                ids, n = whole(lm, text, label)
                said = theirs(input_ids=ids[None]).logits[0, n_more:].log_softmax(-1)
                expected = sum(float(said[n - 1 + j, token]) for j, token in enumerate(label))
                assert float(found[i, c]) == pytest.approx(expected, abs=2e-4)


def test_step_on_a_soft_prompt_is_torchs_adam_on_transformers_likelihoods() -> None:
    made = trial("soft_prompt", score="mean", support_batch_size=None)
    lm, support = made.strategy.lm, support_of(made)
    theirs = of_transformers(lm.path)
    first, second = islice(made.strategy.adapt(support), 2)
    prompt = first.changed["prompt"].clone().requires_grad_()
    optimizer = torch.optim.Adam([prompt], lr=made.config["strategy"]["lr"])
    scores = []
    for text in rows(support.inputs):
        for label in rows(support.names):  # type: ignore[arg-type]
            ids, n = whole(lm, text, label)
            vectors = torch.cat([prompt, theirs.get_input_embeddings()(ids)])
            said = theirs(inputs_embeds=vectors[None]).logits[0, len(prompt) :].log_softmax(-1)
            scores.append(said[n - 1 : n - 1 + len(label)].gather(1, label[:, None]).mean())
    table = torch.stack(scores).view(len(support), -1)
    torch.nn.functional.cross_entropy(table, support.targets).backward()
    optimizer.step()
    torch.testing.assert_close(second.changed["prompt"], prompt.detach(), rtol=1e-3, atol=1e-5)


@pytest.mark.parametrize("kind", KINDS)
def test_first_predictor_is_the_model_after_the_words_it_starts_from(kind: str) -> None:
    by_header = trial(kind, model=HEADER, start="header")
    support, lm = support_of(by_header), by_header.strategy.lm
    labels = rows(support.names)  # type: ignore[arg-type]
    with torch.no_grad():
        past = lm.keys_and_values(lm.embedded(prefix(lm, [], [], "sum")))
        expected = label_scores(lm, past, rows(support.inputs), labels, "sum")
        found = next(by_header.strategy.adapt(support)).module(support.inputs)
        torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-4)
        by_names = trial(kind, model=HEADER)
        shown = prefix(lm, [labels[0][:0]] * len(labels), labels, "sum")
        # A demonstration without a text, without what stands before it either.
        tokens = [
            lm.piece("header"),
            *(t for w in labels for t in (lm.piece("between"), w, lm.piece("after"))),
        ]
        assert len(shown) == len(torch.cat(tokens)) + len(labels) * len(lm.piece("before"))
        past = lm.keys_and_values(lm.embedded(torch.cat(tokens)))
        expected = label_scores(lm, past, rows(support.inputs), labels, "sum")
        found = next(by_names.strategy.adapt(support)).module(support.inputs)
        torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("length", [2, 40])
def test_words_are_repeated_or_cut_to_the_length(length: int) -> None:
    changed = {}
    for kind in KINDS:
        made = trial(kind, length=length)
        changed |= next(made.strategy.adapt(support_of(made))).changed
    assert changed["prompt"].shape == (length, 16)
    assert changed["keys.1"].shape == (1, 1, length, 8)


@pytest.mark.parametrize("kind", KINDS)
def test_steps_raise_the_likelihood_of_the_right_names_and_are_the_supports_alone(kind: str) -> None:
    made = trial(kind, lr=0.1, support_batch_size=2)
    support = support_of(made)

    def losses() -> list[float]:
        with torch.no_grad():
            outputs = [a.module(support.inputs) for a in islice(made.strategy.adapt(support), 12)]
        return [float(support.objective.loss(o, support.targets)) for o in outputs]

    first = losses()
    assert first[-1] < 0.7 * first[0]
    assert losses() == first


@pytest.mark.parametrize("kind", KINDS)
def test_model_in_bf16_has_its_tensors_trained_in_float32(kind: str) -> None:
    made = trial(kind, model={"dtype": "bf16"})
    adapted = list(islice(made.strategy.adapt(support_of(made)), 2))[-1]
    assert {t.dtype for t in adapted.changed.values()} == {torch.float32}
    assert adapted.module(support_of(made).inputs).dtype == torch.float32


def test_bad_requests_are_refused_in_one_line() -> None:
    with pytest.raises(RequestError, match=r"start: header, and the prompt has none; write one"):
        trial("soft_prompt", start="header")
    made = trial("prefix", length=480)
    made.strategy.lm.context = 490
    with pytest.raises(RequestError, match=r"^strategy: what stands .* takes 480 tokens, .* reads 490 at"):
        next(made.strategy.adapt(support_of(made)))


def test_model_without_words_and_classes_without_names_are_refused(
    text_experiment: Make, tiny_bert: Path, tiny_lm: Path
) -> None:
    with pytest.raises(RequestError, match=r"model: it has no language head, .*; choose model=causal_lm"):
        text_experiment("strategy=prefix", "model=hf_text", f"model.path={tiny_bert}")
    with pytest.raises(RequestError, match=r"it answers in words and the classes have no names; give texts"):
        text_experiment("strategy=prefix", "model=causal_lm", f"model.path={tiny_lm}")
