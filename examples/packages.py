"""Packages for a tree of an example's own, copied from the environment that runs it: no network is needed."""

import importlib.metadata
import re
import shutil
from pathlib import Path

from steps import stop

import pycachehook


def copy_packages(site: Path, *names: str) -> None:
    """Put distributions, and what they require, into a directory, as `pip install --no-compile --target` would."""
    for distribution in with_what_they_require(*names):
        for file in distribution.files or ():
            if ".." not in file.parts and file.suffix not in (".pyc", ".pth"):
                (site / file).parent.mkdir(parents=True, exist_ok=True)
                shutil.copy(str(distribution.locate_file(file)), site / file)
    if "pycachehook" in names:  # an editable installation's files are elsewhere
        package = Path(str(pycachehook.__file__)).parent
        shutil.copytree(package, site / "pycachehook", ignore=shutil.ignore_patterns("__pycache__"), dirs_exist_ok=True)


def with_what_they_require(*names: str) -> list[importlib.metadata.Distribution]:
    """Return installed distributions, and all that they require here; end the example if one of `names` is missing."""
    found: dict[str, importlib.metadata.Distribution] = {}
    waiting = list(names)
    while waiting:
        name = waiting.pop()
        try:
            found[name] = importlib.metadata.distribution(name)
        except importlib.metadata.PackageNotFoundError:
            if name in names:
                stop(
                    f"This example needs {name}, which it copies from the environment that runs it: pip install {name}"
                )
            continue  # required elsewhere, by another Python or system
        required = (each for each in found[name].requires or () if "extra ==" not in each)
        waiting += {re.split(r"[^\w.-]", each)[0] for each in required} - set(found)
    return list(found.values())
