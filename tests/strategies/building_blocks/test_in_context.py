"""Demonstrations before a question: what is shown, whether it fits, and how answers are corrected."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from coldstart_cli.core.objectives import Classification
from coldstart_cli.core.tasks import Examples, Support, Task, map_inputs
from coldstart_cli.models.language.label_likelihood import check_labels, rows
from coldstart_cli.models.mlp import MLP
from coldstart_cli.models.pretrained.text import Tokens
from coldstart_cli.strategies.building_blocks.in_context import (
    Asked,
    InContextPredictor,
    apart,
    check_fits,
    in_order,
    language_model,
    with_names,
)
from tests.models.language.test_causal_lm import by_hand, lm_at, of_transformers

QUERIES = ["w1 w2 w3", "w7", "w4 w5 w6 w8"]
FREE = ["w9 w2", "w11 w12 w13 w14"]
EMPTY = ["N/A", "[MASK]", ""]


def asked(**changed: Any) -> Asked:
    return {"score": "sum", "calibration": "none", "order_seed": 0, **changed}  # type: ignore[typeddict-item]


def support_of(path: Path, k: int = 2) -> Support:
    """k demonstrations of each of three classes."""
    tokens = Tokens(path=str(path), max_length=16, in_prompt=True)
    texts = [f"w{10 * c + i} w{i}" for c in range(3) for i in range(k)]
    names = tokens.names(["w20 w21", "w22", "w23 w24 w25"])
    inputs = tokens.texts(texts or ["w1"])
    inputs = map_inputs(lambda t: t[: len(texts)], inputs)
    targets = torch.arange(3).repeat_interleave(k)
    return Support(inputs, targets, Classification(3), seed=5, names=names)


def predictor(path: Path, support: Support, nearest: int | None = None, **changed: Any) -> InContextPredictor:
    lm = lm_at(path, frozen=True)
    assert support.names is not None
    settings = asked(**changed)
    shown = in_order(support, settings["order_seed"])
    made = InContextPredictor(lm, shown, support.names, settings, nearest)
    return made.prepare(Tokens(path=str(path), max_length=16, in_prompt=True).texts(FREE))


def plain_scores(path: Path, support: Support, order: list[int], texts: list[str]) -> Tensor:
    """log p(label | prompt) by transformers, prompt by prompt."""
    tokens, theirs = Tokens(path=str(path), max_length=16, in_prompt=True), of_transformers(path)
    before, between = (torch.tensor(tokens.part(p)) for p in ("Text:", "\nLabel:"))
    names, shown = rows(support.names), rows(support.inputs)  # type: ignore[arg-type]
    prompt = [t for i in order for t in (before, shown[i], between, names[int(support.targets[i])])]
    found = torch.zeros(len(texts), 3)
    for i, text in enumerate(rows(tokens.texts(texts))):
        for c, name in enumerate(names):
            found[i, c] = by_hand(theirs, torch.cat([*prompt, before, text, between]), name)
    return found


def order_of(support: Support, made: InContextPredictor) -> list[int]:
    """Which example of the support set each demonstration is."""
    shown = made.get_buffer("shown_input_ids").tolist()
    own = support.inputs["input_ids"].tolist()  # type: ignore[index]
    return [own.index(row) for row in shown]


@pytest.mark.parametrize("k", [0, 2])
@pytest.mark.parametrize("calibration", ["none", "contextual", "batch", "unlabelled"])
def test_outputs_are_likelihoods_divided_by_what_is_said_anyway(
    tiny_lm: Path, calibration: str, k: int
) -> None:
    support = support_of(tiny_lm, k)
    made = predictor(tiny_lm, support, calibration=calibration)
    tokens = Tokens(path=str(tiny_lm), max_length=16, in_prompt=True)
    with torch.no_grad():
        found = made(tokens.texts(QUERIES)).softmax(1)
    order = order_of(support, made)
    said = plain_scores(tiny_lm, support, order, QUERIES).softmax(1)
    if calibration == "contextual":
        said = said / plain_scores(tiny_lm, support, order, EMPTY).softmax(1).mean(0)
    elif calibration == "batch":
        said = said / said.mean(0)
    elif calibration == "unlabelled":
        said = said / plain_scores(tiny_lm, support, order, FREE).softmax(1).mean(0)
    torch.testing.assert_close(found, said / said.sum(1, keepdim=True), rtol=1e-3, atol=1e-5)


def test_prior_of_unlabelled_examples_is_state_and_reads_their_own_demonstrations(tiny_lm: Path) -> None:
    made = predictor(tiny_lm, support_of(tiny_lm), nearest=2, calibration="unlabelled")
    raw = predictor(tiny_lm, support_of(tiny_lm), nearest=2)
    tokens = Tokens(path=str(tiny_lm), max_length=16, in_prompt=True)
    with torch.no_grad():
        expected = raw(tokens.texts(FREE)).softmax(1).mean(0).log()
        torch.testing.assert_close(made.state_dict()["prior"], expected, rtol=1e-4, atol=1e-5)
        alone, beside = made(tokens.texts(QUERIES[:1])), made(tokens.texts(QUERIES))
    torch.testing.assert_close(alone[0], beside[0], rtol=1e-4, atol=1e-4)


def test_order_depends_on_seeds_alone(tiny_lm: Path) -> None:
    support = support_of(tiny_lm)
    turned = Support(
        map_inputs(lambda t: t.flip(0), support.inputs),
        support.targets.flip(0),
        support.objective,
        support.seed,
    )
    one, two = in_order(support, 0), in_order(turned, 0)
    assert torch.equal(one.targets, two.targets)
    assert torch.equal(one.inputs["input_ids"], two.inputs["input_ids"])  # type: ignore[index]
    orders = {tuple(in_order(support, seed).inputs["input_ids"][:, 0].tolist()) for seed in range(5)}  # type: ignore[index]
    assert len(orders) > 2


def test_nearest_demonstrations_are_chosen_for_each_query_by_features(tiny_lm: Path) -> None:
    support = support_of(tiny_lm)
    made = predictor(tiny_lm, support, nearest=2)
    tokens, lm = Tokens(path=str(tiny_lm), max_length=16, in_prompt=True), lm_at(tiny_lm, frozen=True)
    with torch.no_grad():
        found = made(tokens.texts(QUERIES))
        own, theirs = lm(support.inputs), lm(tokens.texts(QUERIES))
    for i, query in enumerate(QUERIES):
        similar = torch.nn.functional.cosine_similarity(theirs[i], own)
        order = similar.argsort()[-2:].tolist()
        expected = plain_scores(tiny_lm, support, order, [query])[0]
        torch.testing.assert_close(found[i], expected, rtol=1e-4, atol=1e-3)


def test_predictor_that_is_given_other_demonstrations_answers_by_them(tiny_lm: Path) -> None:
    one, two = support_of(tiny_lm), support_of(tiny_lm)
    two.inputs["input_ids"][0, 0] = 30  # type: ignore[index]
    first, second = predictor(tiny_lm, one), predictor(tiny_lm, two)
    inputs = Tokens(path=str(tiny_lm), max_length=16, in_prompt=True).texts(QUERIES)
    with torch.no_grad():
        before, expected = first(inputs), second(inputs)
        assert not torch.allclose(before, expected)
        first.load_state_dict(second.state_dict())
        torch.testing.assert_close(first(inputs), expected)
    assert not any("_known" in name for name in first.state_dict())


def test_prompts_longer_than_the_context_are_refused_with_what_would_fit(tiny_lm: Path) -> None:
    lm, support = lm_at(tiny_lm), support_of(tiny_lm, k=8)
    labels = check_labels(support.names)
    # "Text:" and "Label:" are 4 tokens, texts 2, labels 2, 1 and 3; a query has up to 4 + 16 + 3.
    lm.context = 24 * 8 + 23
    check_fits(lm, support, labels, None)
    lm.context -= 1
    with pytest.raises(
        ValueError, match=r"^its 24 demonstrations take 192 tokens beside a query of up to 23,"
    ):
        check_fits(lm, support, labels, None)
    with pytest.raises(ValueError, match=r"give at most 7 a class \(evaluation.k_shots=\[7\]\), or"):
        check_fits(lm, support, labels, None)
    lm.context = 23 + 9 + 9 + 8
    check_fits(lm, support, labels, 2)
    with pytest.raises(
        ValueError, match=r"^nearest: 6 demonstrations take up to 54 tokens .*; give at most 2$"
    ):
        check_fits(lm, support, labels, 6)


def test_model_that_says_no_words_is_refused() -> None:
    with pytest.raises(ValueError, match=r"^model: it has no language head, .*; choose model=causal_lm"):
        language_model(MLP((3,), hidden=[4], activation="relu"))


def test_batch_calibration_of_one_query_says_nothing(tiny_lm: Path) -> None:
    made = predictor(tiny_lm, support_of(tiny_lm), calibration="batch")
    inputs = Tokens(path=str(tiny_lm), max_length=16, in_prompt=True).texts(QUERIES[:1])
    with torch.no_grad():
        torch.testing.assert_close(made(inputs), torch.zeros(1, 3) + 0.0)
    assert math.isclose(float(made(inputs).softmax(1)[0, 0]), 1 / 3, rel_tol=1e-5)


def test_training_task_has_names_beside_its_texts_and_some_of_its_questions(tiny_lm: Path) -> None:
    support = support_of(tiny_lm)
    query = Examples(map_inputs(lambda t: t.flip(0), support.inputs), support.targets.flip(0))
    task = Task(support, query, "train/0")
    seen, plain = (with_names(task, n_query=1, order_seed=seed) for seed in (1, None))
    assert seen.query.targets.tolist() == [0, 1, 2] == plain.query.targets.tolist()
    ordered = in_order(support, 1)
    for found, expected in ((seen.support, ordered), (plain.support, support)):
        texts, names = apart(found.inputs)
        assert isinstance(texts, dict) and isinstance(names, dict) and isinstance(expected.inputs, dict)
        assert torch.equal(found.targets, expected.targets)
        assert all(torch.equal(texts[key], expected.inputs[key]) for key in texts)
        assert all(torch.equal(names[key], support.names[key]) for key in names)  # type: ignore[index]
        assert set(texts) == set(names) == {"input_ids", "attention_mask"}
