"""Names of what is measured."""

from __future__ import annotations

VALIDATION = "validation_"
"""Begins the name of what is measured on validation tasks."""
