"""A bundle on labelled rows."""
