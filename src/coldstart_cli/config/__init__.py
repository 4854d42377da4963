"""Configurations: found, composed, checked, built."""
