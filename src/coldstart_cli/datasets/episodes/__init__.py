"""Tasks drawn from any table of classes, or of functions."""
