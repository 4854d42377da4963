"""Inputs -> answers, by torch or by a bundle's own program."""
