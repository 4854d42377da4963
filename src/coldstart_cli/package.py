"""Where this package is: its source, its configurations, its page of errors."""

from __future__ import annotations

from pathlib import Path

from coldstart_cli.errors import RequestError

ROOT = Path(__file__).resolve().parent
"""The folder of the package."""


def errors_page() -> Path:
    """The page that explains errors: inside an installed package, in docs/ of a checkout.

    Raises:
        RequestError: where neither is there.
    """
    for folder in (ROOT / "docs", ROOT.parents[1] / "docs"):
        if (folder / "errors.md").is_file():
            return folder / "errors.md"
    raise RequestError(f"{ROOT / 'docs' / 'errors.md'}: is missing; install coldstart-cli again")


def getting(extra: str) -> str:
    """What to type for what an extra of the package brings, several with commas.

    No index has the package: a clone is installed anew, of a wheel pip completes what is installed already.
    """
    if (ROOT.parents[1] / "pyproject.toml").is_file():
        return f"pip install -e '.[{extra}]' in the clone"
    return f"pip install 'coldstart-cli[{extra}]'"


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
