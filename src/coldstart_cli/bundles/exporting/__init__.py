"""A bundle in the formats of others."""
