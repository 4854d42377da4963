"""`python -m coldstart_cli` is `coldstart`."""

import sys

from coldstart_cli.cli.command_line import main

if __name__ == "__main__":
    sys.exit(main())
