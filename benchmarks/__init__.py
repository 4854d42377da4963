"""Benchmarks; both sides run with threads that sleep while they wait, as the command line does."""

import os

os.environ.setdefault("OMP_WAIT_POLICY", "passive")  # read when torch is imported
os.environ.setdefault("GOMP_SPINCOUNT", "0")
