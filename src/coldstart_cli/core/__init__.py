"""The vocabulary: tasks, sources, strategies and objectives."""

from coldstart_cli.faces import face

__getattr__, __dir__ = face(
    __name__,
    {
        "tasks": "Adapted Examples Inputs Objective Pool Split Strategy Support Task TaskShape TaskSource",
        "objectives": "Classification Regression",
    },
)
