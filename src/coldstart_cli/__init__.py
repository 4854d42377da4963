"""Few-shot and cold-start experiments from configuration files."""

__version__ = "0.1.0"
