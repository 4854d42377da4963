"""Benchmarks; both sides run with threads that sleep while they wait, as the command line does."""

import os

os.environ.setdefault("GOMP_SPINCOUNT", "10000")  # as the command line does; read when torch is imported
