"""Run directories beside one another: a verdict. Knows neither torch nor Hydra."""

from coldstart_cli.faces import face

__getattr__, __dir__ = face(
    __name__,
    {
        "comparison": "compare",
    },
)
