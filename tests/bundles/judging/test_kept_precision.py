"""The threshold that keeps a precision, by held-out labels."""

from __future__ import annotations

import numpy as np
import torch

from coldstart_cli.bundles.judging.held_out_labels import Answers, Together
from coldstart_cli.bundles.judging.kept_precision import kept_precision


def answers(n: int, n_repeats: int) -> Answers:
    """The n / 2 surest of the labels are right, of the others every second one."""
    sure = torch.linspace(6, 0.1, n).repeat(n_repeats)
    right = (torch.arange(n) < n // 2) | (torch.arange(n) % 2 == 0)
    which = np.arange(n)
    return Answers(
        torch.stack([sure, torch.zeros(n * n_repeats)], 1),
        (~right).long().repeat(n_repeats),
        np.tile(which, n_repeats),
        np.repeat(np.arange(n_repeats), n),
        None,
        2,
        n_repeats,
        Together(which, which, False, which),
    )


def test_the_threshold_keeps_the_precision_and_repeats_promise_no_more() -> None:
    threshold, said = kept_precision(answers(600, 1), 1.0, 0.9, 0.0)
    accepted = torch.linspace(6, 0.1, 600).sigmoid() >= threshold
    right = (torch.arange(600) < 300) | (torch.arange(600) % 2 == 0)
    assert right[accepted].double().mean() > 0.9 and accepted.sum() > 300
    assert said.startswith(f"precision 90 %: threshold {threshold:g} keeps it")
    again, _ = kept_precision(answers(600, 4), 1.0, 0.9, 0.0)
    assert again == threshold
    hotter, _ = kept_precision(answers(600, 1), 2.0, 0.9, 0.0)
    assert hotter < threshold


def test_few_labels_keep_nothing() -> None:
    assert kept_precision(answers(60, 9), 1.0, 0.95, 0.2)[0] == 0.2
    assert "60 held-out labels; label more" in kept_precision(answers(60, 9), 1.0, 0.95, 0.2)[1]
    assert kept_precision(None, 1.0, 0.95, 0.2) == (
        0.2,
        "precision 95 %: no label can be held out to find a threshold by; the threshold stays 0.2",
    )
