"""One task of your own, adapted to: a folder that predicts."""

from coldstart_cli.faces import face

__getattr__, __dir__ = face(
    __name__,
    {
        "adapting.preparing": "AdaptPlan",
        "bundle": "Bundle",
        "labelling.labelling": "LabelNextPlan",
        "predicting.prediction": "Prediction",
    },
)
