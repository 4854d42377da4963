"""Which strategy for a task of your own: candidates, the labels they are judged by, and a stated rule."""

from coldstart_cli.faces import face

__getattr__, __dir__ = face(__name__, {"plan": "ChoosePlan"})
