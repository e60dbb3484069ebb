"""The command that installs a package into an environment, as advice: environments made by uv have no pip."""

import shlex
from importlib.machinery import PathFinder
from importlib.util import find_spec


def install_command(requirement: str, python: str | None = None, places: list[str] | None = None) -> str:
    """Return a command that installs `requirement` into this environment; `python` names its interpreter.

    `places` are the environment's own package directories, if modules of another environment can be imported too.
    """
    quoted = shlex.quote(requirement)
    if (find_spec("pip") if places is None else PathFinder.find_spec("pip", places)) is None:
        chosen = "" if python is None else f" --python {shlex.quote(python)}"
        return f"uv pip install{chosen} {quoted}"
    return f"pip install {quoted}" if python is None else f"{shlex.quote(python)} -m pip install {quoted}"
