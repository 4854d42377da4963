"""Benchmarks; idle threads of both sides spin for a bounded time, as under the command line."""

import os

os.environ.setdefault("GOMP_SPINCOUNT", "1500")  # as the command line does; read when torch is imported
