"""Few-shot and cold-start experiments from configuration files, from the command line and from Python.

`coldstart --help` shows the commands; docs/python.md shows the functions of the same names.
"""

from typing import TYPE_CHECKING

from coldstart_cli.faces import face

__version__ = "0.1.0"

__all__ = [
    "Bundle",
    "JobError",
    "Prediction",
    "RequestError",
    "RunResult",
    "adapt",
    "choose",
    "compare",
    "evaluate",
    "label_next",
    "load_run",
    "train",
]

if TYPE_CHECKING:  # what a type checker sees; at run time each is imported on first use
    from coldstart_cli.api import RunResult, adapt, choose, compare, evaluate, label_next, load_run, train
    from coldstart_cli.bundles.bundle import Bundle
    from coldstart_cli.bundles.predicting.prediction import Prediction
    from coldstart_cli.errors import JobError, RequestError
else:
    __getattr__, __dir__ = face(
        __name__,
        {
            "api": "RunResult adapt choose compare evaluate label_next load_run train",
            "bundles.bundle": "Bundle",
            "bundles.predicting.prediction": "Prediction",
            "errors": "JobError RequestError",
        },
    )
