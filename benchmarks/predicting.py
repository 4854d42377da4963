"""`coldstart predict` by torch and by the bundle's own program: seconds to the first answer, texts a second.

    python -m benchmarks.predicting BUNDLE TEXTS [--starts 3]

BUNDLE holds a program (`coldstart export bundle=BUNDLE inside=true`), TEXTS is a file with a text a line. The
first answer is timed from the start of the process, over a file of one text; the rate is of all texts, less a
start. The encoder alone is onnxruntime's session, on tokens made before the clock starts, in the same parts.
All on one thread; seconds of CPU stand beside those of the clock, for other jobs change them less.
"""

from __future__ import annotations

import argparse
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

RUNTIMES = ("torch", "onnxruntime")
ONE_THREAD = {**os.environ, "OMP_NUM_THREADS": "1", "TOKENIZERS_PARALLELISM": "false"}


@dataclass(frozen=True)
class Took:
    """Seconds of the clock to the first answer and to the last one, and of the process's CPU."""

    first: float
    last: float
    cpu: float


def predicted(bundle: str, texts: str, runtime: str) -> Took:
    """One process, which must answer."""
    words = ["predict", f"bundle={bundle}", f"input={texts}", f"runtime={runtime}"]
    before, started = _cpu(), time.perf_counter()
    with subprocess.Popen(
        [sys.executable, "-m", "coldstart_cli", *words], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL,
        env=ONE_THREAD,
    ) as process:  # fmt: skip
        assert process.stdout is not None
        process.stdout.readline()
        first = time.perf_counter() - started
        process.stdout.read()
    if process.returncode:
        raise SystemExit(f"predict ended with {process.returncode}: {' '.join(words)}")
    return Took(first, time.perf_counter() - started, _cpu() - before)


def bare(bundle: str, texts: Sequence[str]) -> tuple[float, float]:
    """Seconds of the clock and of the CPU of the encoder alone, a part of 256 texts after the other."""
    from coldstart_cli.bundles.predicting.program import OnnxPredictor

    found = OnnxPredictor.load(Path(bundle))
    if found is None:
        raise SystemExit(f"{bundle} holds no program; coldstart export bundle={bundle} inside=true")
    parts = [found.preprocess.texts(texts[i : i + 256]) for i in range(0, len(texts), 256)]
    found.run(parts[-1])
    clock, cpu = time.perf_counter(), time.process_time()
    for part in parts:
        found.run(part)
    return time.perf_counter() - clock, time.process_time() - cpu


def _cpu() -> float:
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def table(bundle: str, path: str, starts: int) -> str:
    texts = Path(path).read_text(encoding="utf-8").splitlines()
    lines = [
        "| answered by | first answer, s | of CPU, s | texts a second | of CPU |",
        "| --- | ---: | ---: | ---: | ---: |",
    ]
    with tempfile.TemporaryDirectory() as folder:
        one = Path(folder, "one.txt")
        one.write_text(texts[0] + "\n", encoding="utf-8")
        for runtime in RUNTIMES:
            begun = [predicted(bundle, str(one), runtime) for _ in range(starts)]
            first, cpu = (
                statistics.median(getattr(took, name) for took in begun) for name in ("first", "cpu")
            )
            whole = predicted(bundle, path, runtime)
            rates = [len(texts) / (whole.last - first), len(texts) / (whole.cpu - cpu)]
            lines.append(f"| {runtime} | {first:.2f} | {cpu:.2f} | {rates[0]:,.0f} | {rates[1]:,.0f} |")
    clock, cpu = bare(bundle, texts)
    lines.append(f"| the encoder alone |  |  | {len(texts) / clock:,.0f} | {len(texts) / cpu:,.0f} |")
    return "\n".join(lines)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("bundle")
    parser.add_argument("texts")
    parser.add_argument("--starts", type=int, default=3)
    asked = parser.parse_args()
    os.environ.update(OMP_NUM_THREADS="1", TOKENIZERS_PARALLELISM="false")
    print(table(asked.bundle, asked.texts, asked.starts))
