"""Records to numbers, intervals and tests; no torch."""

from coldstart_cli.faces import face

__getattr__, __dir__ = face(
    __name__,
    {
        "budgets": "Budget",
    },
)
