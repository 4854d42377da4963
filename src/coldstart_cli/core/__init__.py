"""The vocabulary: tasks, sources, strategies and objectives."""

from coldstart_cli.faces import face

__getattr__, __dir__ = face(
    __name__,
    {
        "tasks": "Examples Inputs Objective Pool Split Support Task TaskShape TaskSource",
        "strategy": "Adapted Strategy",
        "objectives": "Classification Regression",
    },
)
