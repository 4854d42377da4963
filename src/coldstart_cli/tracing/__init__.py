"""Computations that are recorded once and replayed, and counts of their arithmetic."""
