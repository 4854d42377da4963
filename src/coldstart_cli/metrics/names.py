"""Names of what is measured."""

from __future__ import annotations

VALIDATION = "validation_"
"""Begins the name of what is measured on validation tasks."""

ABLATION = "ablation: "
"""Prefix of the role of a strategy without one of its parts (`Strategy.ablations`)."""

SIMILARITY = "similarity of "
"""Prefix of the note of a source group's resemblance to a task. The group's name follows; it is also the role
of the predictor that learned from that group alone."""

CONSTANT = "constant"
"""Role of a regression's trivial answer, the mean of the support's labels, scored beside every strategy."""
