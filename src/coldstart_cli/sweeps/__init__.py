"""Many jobs: processes, launchers, a search for hyper-parameters."""

from coldstart_cli.faces import face

__getattr__, __dir__ = face(
    __name__,
    {
        "launcher": "SweepPlan",
        "search": "TunePlan",
    },
)
