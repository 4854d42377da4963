"""Loggers: where the progress and the numbers of a run are sent."""

from coldstart_cli.faces import face

__getattr__, __dir__ = face(
    __name__,
    {
        "logger": "Logger",
        "console": "Console",
        "tensorboard": "TensorBoard",
        "mlflow": "MLflow",
        "trackio": "Trackio",
        "wandb": "WandB",
    },
)
