"""The command line, a file for each command."""

from coldstart_cli.faces import face

__getattr__, __dir__ = face(
    __name__,
    {
        "command_line": "main",
    },
)
