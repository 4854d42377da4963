import math
from dataclasses import dataclass
import numpy as np
from scipy import stats


@dataclass(frozen=True, slots=True)
class Estimate:
    mean: float
    half_width: float
    standard_error: float
    df: float
    p: float
    n_seeds: int
    n_tasks: int
    seed_sd: float
    task_sd: float
    residual_sd: float


def crossed(v, confidence):
    v = np.asarray(v, float)
    S, T = v.shape
    m = v.mean()
    if T < 2 or not np.isfinite(v).all():
        return Estimate(float(m), math.inf, math.inf, math.nan, math.nan, S, T, math.nan, math.nan, math.nan)
    t = v.mean(0)
    se = t.std(ddof=1) / math.sqrt(T)
    df = T - 1
    p = float(2 * stats.t.sf(abs(m) / se, df)) if se > 0 else (0.0 if m else 1.0)
    return Estimate(
        float(m),
        float(stats.t.ppf(0.5 + confidence / 2, df) * se),
        se,
        df,
        p,
        S,
        T,
        math.nan,
        math.nan,
        math.nan,
    )


def wilcoxon(d):
    return float(stats.wilcoxon(d).pvalue) if np.any(d != 0) else 1.0


def holm(ps):
    o = np.argsort(ps)
    m = len(ps)
    out = [0.0] * m
    run = 0
    for i, j in enumerate(o):
        run = max(run, min(1, (m - i) * ps[j]))
        out[j] = run
    return out


def verdict(e, p, zone, confidence):
    a = 1 - confidence
    h = stats.t.ppf(1 - a, e.df) * e.standard_error
    if abs(e.mean) + h < zone:
        return "tie"
    if p < a:
        return "win" if e.mean > 0 else "loss"
    return "undecided"


def ranks(names, beats):
    return {n: 1 + sum((o, n) in beats for o in names) for n in names}
