"""The run directory: names, locks, checkpoints, formats."""

from coldstart_cli.faces import face

__getattr__, __dir__ = face(
    __name__,
    {
        "run": "Run",
    },
)
