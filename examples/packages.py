"""Packages for an example's tree, copied from the environment that runs it, so that no network is needed."""

import importlib.metadata
import re
import shutil
from pathlib import Path

from steps import stop

import pycachehook


def copy_packages(site: Path, *names: str) -> None:
    """Copy distributions and their requirements into a directory, as `pip install --no-compile --target` would."""
    for distribution in with_what_they_require(*names):
        for file in distribution.files or ():
            if ".." not in file.parts and file.suffix not in (".pyc", ".pth"):
                (site / file).parent.mkdir(parents=True, exist_ok=True)
                shutil.copy(str(distribution.locate_file(file)), site / file)
    if "pycachehook" in names:  # the files of an editable installation are elsewhere
        package = Path(str(pycachehook.__file__)).parent
        shutil.copytree(package, site / "pycachehook", ignore=shutil.ignore_patterns("__pycache__"), dirs_exist_ok=True)


def with_what_they_require(*names: str) -> list[importlib.metadata.Distribution]:
    """Return installed distributions and all their requirements; end the example if one of `names` is missing."""
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
            continue  # required by another Python or system only
        required = (requirement for requirement in found[name].requires or () if "extra ==" not in requirement)
        waiting += {re.split(r"[^\w.-]", requirement)[0] for requirement in required} - set(found)
    return list(found.values())
