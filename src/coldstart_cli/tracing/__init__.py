"""Computations recorded once and replayed; arithmetic counted."""
