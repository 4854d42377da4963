"""`python -m coldstart_cli` is `coldstart`."""

import sys

from coldstart_cli.processes.safe_path import leave_out_this_folder

leave_out_this_folder()  # before more is imported; `coldstart` itself starts without it

from coldstart_cli.cli.command_line import main  # noqa: E402

if __name__ == "__main__":
    sys.exit(main())
