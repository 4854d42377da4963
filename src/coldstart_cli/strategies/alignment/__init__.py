"""Alignment learning: source and target models brought together."""
