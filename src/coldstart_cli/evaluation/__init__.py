"""Adaptation to tasks, scores and times."""

from coldstart_cli.faces import face

__getattr__, __dir__ = face(
    __name__,
    {
        "loop": "EvaluationPlan evaluate",
    },
)
