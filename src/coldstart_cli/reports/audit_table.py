"""A leak audit as a person reads it: what was checked, how many, result; then the leaks; then the bank."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from rich.console import Console
from rich.table import Table

from coldstart_cli.datasets.audit.findings import BankRow, DataAudit, Finding, counted
from coldstart_cli.datasets.audit.one_task import TaskAudit
from coldstart_cli.reports.plain_text import plain, terminal

MOST_UNREADABLE = 20
"""Files or rows that are named."""


def show_read(facts: Mapping[str, str], unreadable: Sequence[str], console: Console | None = None) -> None:
    """Prints what was read: the facts of each split, and what could not be."""
    console = console or terminal()
    for name, fact in facts.items():
        console.print(plain(f"{name}: {fact}"), soft_wrap=True)
    for line in unreadable[:MOST_UNREADABLE]:
        console.print(plain(f"UNREADABLE {line}"), soft_wrap=True)
    if len(unreadable) > MOST_UNREADABLE:
        console.print(plain(f"UNREADABLE ... and {len(unreadable) - MOST_UNREADABLE:,} more"))


def show(audit: DataAudit, console: Console | None = None) -> None:
    """Prints an audit of data, as `data check` makes it."""
    console = console or terminal()
    console.print(plain(_title(audit)), style="bold", soft_wrap=True)
    show_read({}, audit.unreadable, console)  # the title has the facts
    console.print(_table(("what was checked", "how many", "result"), [_cells(f) for f in audit.findings]))
    for found in audit.findings:
        for line in found.leaks:
            console.print(plain(f"LEAK {line}"), soft_wrap=True)
        if found.n_leaks > len(found.leaks):
            more = found.n_leaks - len(found.leaks)
            console.print(plain(f"LEAK ... and {more:,} more: {found.check}"), soft_wrap=True)
    for line in audit.not_served:
        console.print(plain(f"left out, as in a run: {line}"), soft_wrap=True, style="dim")
    console.print()
    console.print(plain(_bank_title(audit)), style="bold", soft_wrap=True)
    console.print(_table(("tasks of", "shape", "different", "digest"), [_bank(row) for row in audit.bank]))
    console.print()
    console.print(plain(_verdict(audit)), style="bold", soft_wrap=True)


def show_task(checked: TaskAudit, console: Console | None = None) -> None:
    """Prints what is to be known of one task, as `data_check.task_checked` makes it."""
    console = console or terminal()
    title = f"{checked.root or checked.name}: {checked.facts}"
    console.print(plain(title), style="bold", soft_wrap=True)
    show_read({}, checked.unreadable, console)
    for line in checked.remarks:
        console.print(plain(line), soft_wrap=True)
    rows = [(o.check, f"{o.n_found:,}", o.note) for o in checked.observations]
    console.print(_table(("what was looked for", "found", "what follows"), rows))
    for one in checked.observations:
        for line in one.first:
            console.print(plain(f"FOUND {line}"), soft_wrap=True)
        if one.n_found > len(one.first):
            more = one.n_found - len(one.first)
            console.print(plain(f"FOUND ... and {more:,} more: {one.check}"), soft_wrap=True)
    n = checked.n_found
    verdict = f"{counted(n, 'thing')} to look at" if n else "clean: nothing to look at was found"
    console.print(plain(verdict), style="bold", soft_wrap=True)


def _table(heads: Sequence[str], rows: Sequence[Sequence[str]]) -> Table:
    table = Table(box=None, pad_edge=False)
    for head in heads:
        table.add_column(head, overflow="fold", no_wrap=head == "digest")
    for row in rows:
        table.add_row(*map(plain, row))
    return table


def _cells(found: Finding) -> tuple[str, str, str]:
    if not found.checked:
        return found.check, "-", f"not checked: {found.note}"
    result = f"LEAK: {found.n_leaks:,}" if found.n_leaks else "clean"
    return found.check, found.checked, f"{result}; {found.note}" if found.note else result


def _bank(row: BankRow) -> tuple[str, str, str, str]:
    return (
        f"{row.split} ({', '.join(row.uses)})",
        row.shape,
        f"{row.n_distinct} of {row.n_tasks}",
        row.digest,
    )


def _title(audit: DataAudit) -> str:
    facts = ", ".join(f"{split} {fact}" for split, fact in audit.facts.items())
    return f"{audit.name}: {facts}"


def _bank_title(audit: DataAudit) -> str:
    drawn = f"bank seed {audit.settings['bank_seed']}, " if "bank_seed" in audit.settings else ""
    return f"Task bank ({drawn}data {audit.fingerprint}): equal digests are equal tasks"


def _verdict(audit: DataAudit) -> str:
    if not audit.n_leaks:
        return "clean: no leak was found"
    kinds = sum(1 for found in audit.findings if found.n_leaks)
    return f"{counted(audit.n_leaks, 'leak')} of {counted(kinds, 'kind')}"
