"""What similarities to source groups were worth: a contestant that noted one is held to the real gains."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from coldstart_cli.comparison.contestants import Contestant, Shot, task_key
from coldstart_cli.comparison.findings import Similarity
from coldstart_cli.metrics import strategy_notes
from coldstart_cli.metrics.names import SIMILARITY
from coldstart_cli.metrics.numbers import known
from coldstart_cli.metrics.records import Record


def similarities(
    members: Sequence[Contestant], k: int, references: Mapping[str, Contestant], higher: bool
) -> list[Similarity]:
    """Of every contestant that noted a similarity, at k; a baseline notes none of its own.

    Args:
        references: contestant -> what its gain is measured against.
        higher: the headline is better when it is higher.
    """
    own = (m for m in members if m.name in references and not m.baseline)
    found = (_of(m, k, references[m.name].shots[k], higher) for m in own)
    return [similarity for similarity in found if similarity is not None]


def _of(member: Contestant, k: int, reference: Mapping[int, Shot], higher: bool) -> Similarity | None:
    """One contestant's, over all its seeds; None where it noted none, or nothing can be said of them."""
    base: dict[str, float] = {}
    noted: list[strategy_notes.Noted] = []
    beside: dict[tuple[str, str], float] = {}
    for seed, shot in member.shots[k].items():
        # Seeds are kept apart by a prefix: a task's gain is over what scratch made of it with the same seed.
        other = reference.get(seed) or next(iter(reference.values()))
        base |= {f"{seed}/{task}": value for task, value in other.adapted.items()}
        rows = _with_similarity(shot)
        noted += [(f"{seed}/{task_key(row)}", row.notes) for row in rows]
        step = rows[0].step if rows else None
        beside |= {(r.role, f"{seed}/{task_key(r)}"): r.value for r in shot.rows if r.step == step}
    check = strategy_notes.similarity_check(noted, beside, base, higher)
    if check is None:
        return None
    points = strategy_notes.similarity_pairs(noted, beside, base, higher)
    return Similarity(
        contestant=member.name,
        k=str(k),
        rho=known(check.rho),
        p=known(check.p),
        pairs=check.pairs,
        within_task_rho=known(check.within_task_rho),
        regret=known(check.regret),
        constant_rho=None if check.constant_rho is None else known(check.constant_rho),
        constant_regret=None if check.constant_regret is None else known(check.constant_regret),
        points=[(known(similarity), known(gain), group) for _, group, similarity, gain in points],
    )


def _with_similarity(shot: Shot) -> list[Record]:
    """The records with a similarity, of the first step from the chosen one on that has any."""
    rows = [r for r in shot.rows if any(name.startswith(SIMILARITY) for name in r.notes)]
    step = min((row.step for row in rows if row.step >= shot.step), default=None)
    return [row for row in rows if row.step == step]
