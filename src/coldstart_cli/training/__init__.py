"""Inner and outer loops, optimizers, batches of tasks."""

from coldstart_cli.faces import face

__getattr__, __dir__ = face(
    __name__,
    {
        "augmentation": "Augmentation",
        "inner_loop": "descend",
        "outer_loops": "episodic supervised",
        "optimizers": "Adam OptimizerFactory SGD",
    },
)
