"""Encoders, heads and the network they make. What is trainable is the strategy's matter."""
