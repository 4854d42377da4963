"""A bundle behind HTTP: requests that wait together are answered in one call; a page to try it by hand."""

from coldstart_cli.faces import face

__getattr__, __dir__ = face(__name__, {"plan": "ServePlan"})
