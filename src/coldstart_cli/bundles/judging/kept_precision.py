"""The threshold of a bundle that keeps a precision, by what was said of held-out labels."""

from __future__ import annotations

from coldstart_cli.bundles.judging.held_out_labels import Answers
from coldstart_cli.bundles.judging.temperature import probabilities
from coldstart_cli.metrics.fresh import threshold_for
from coldstart_cli.metrics.held_out import DESIGN_EFFECT

CONFIDENCE = 0.95


def kept_precision(
    answers: Answers | None, temperature: float, precision: float, otherwise: float
) -> tuple[float, str]:
    """The lowest threshold that keeps it (`metrics.fresh.threshold_for`), and a line that says how surely.

    Labels that are held out are answered by learners that saw a part of the others; the bundle has learned
    from all.

    Args:
        answers: None where no label can be held out.
        otherwise: the threshold where none is found.
    """
    asked, stays = f"precision {100 * precision:g} %", f"the threshold stays {otherwise:g}"
    if answers is None:
        return otherwise, f"{asked}: no label can be held out to find a threshold by; {stays}"
    sure, said = probabilities(answers.outputs, temperature).max(-1)
    together = answers.together
    found = threshold_for(
        sure.numpy(),
        (said == answers.targets).double().numpy(),
        (together.alike[answers.examples], together.clusters[answers.examples]),
        precision,
        confidence=CONFIDENCE,
        design_effect=DESIGN_EFFECT,
    )
    if found is None:
        return otherwise, (
            f"{asked}: no threshold keeps it with a probability of {100 * CONFIDENCE:g} % on "
            f"{answers.n_different:,} held-out labels; label more, or ask for less; {stays}"
        )
    return found.threshold, (
        f"{asked}: threshold {found.threshold:g} keeps it, with a probability of {100 * CONFIDENCE:g} % by "
        f"cross-validation; {100 * found.share:.1f} % of the held-out labels are answered from there on, "
        f"{100 * found.precision:.1f} % of them rightly"
    )
