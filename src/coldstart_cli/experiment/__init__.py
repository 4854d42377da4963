"""From a resolved config to a trained and evaluated run."""

from coldstart_cli.faces import face

__getattr__, __dir__ = face(
    __name__,
    {
        "assembly": "Experiment assemble",
        "trainer": "TrainingPlan ValidationPlan",
    },
)
