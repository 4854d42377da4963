"""Causal language models: what they say of a prompt, of labels in words, and what is computed once."""
