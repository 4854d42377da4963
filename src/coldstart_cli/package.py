"""Where this package is: its source and its configurations."""

from __future__ import annotations

from pathlib import Path

from coldstart_cli.errors import RequestError

ROOT = Path(__file__).resolve().parent
"""The folder of the package."""


def packaged_conf() -> Path:
    """The package's own conf: inside an installed package, at the top of a checkout.

    Raises:
        RequestError: where neither is there.
    """
    # A folder `conf` of somebody else's may stand there too; ours is a package.
    for folder in (ROOT / "conf", ROOT.parents[1] / "conf"):
        if (folder / "__init__.py").is_file():
            return folder
    raise RequestError(f"{ROOT / 'conf'}: the configurations are missing; install coldstart-cli again")
