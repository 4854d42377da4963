"""Transfer learning: a source model as the start."""
