"""Run two services of one repository with the rules in its pyproject.toml, and show which rules applied."""

import importlib.util
import json
import os
import shutil
import sys
import tempfile
from pathlib import Path
from typing import Any

sys.dont_write_bytecode = True  # for this program's own modules
sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from steps import COUNTERS, counters, folders_of_bytecode, run, stop, table, take_stats  # noqa: E402

HERE = Path(__file__).resolve().parent
SHARED = ("libraries", "generated")  # directories on every service's path
MODULES = {"basket": "shop", "letter": "mail", "money.amounts": "shop", "rich.table": "shop", "api.orders": "mail"}


class Repository:
    """A copy of this directory, whose services use its pyproject.toml."""

    def __init__(self, folder: Path) -> None:
        self.root = folder.resolve() / "repository"
        self.caches = self.root / ".cache"
        self.stats = folder / "stats.jsonl"
        shutil.copytree(HERE, self.root, ignore=shutil.ignore_patterns("__pycache__", "run.py", "README.md"))

    def pycachehook(self, service: str, *arguments: object) -> str:
        """Run a pycachehook command in the environment of the service's own processes."""
        path = os.pathsep.join(str(self.root / folder) for folder in (f"services/{service}", *SHARED))
        variables = {"PYTHONPATH": path, "PYCACHEHOOK_CONFIG": "pyproject.toml"}
        return run(sys.executable, "-m", "pycachehook", *arguments, cwd=self.root, **variables)

    def start(self, service: str) -> dict[str, Any]:
        """Start a service and return its counters."""
        path = os.pathsep.join(str(self.root / folder) for folder in SHARED)
        command = (sys.executable, "-m", "pycachehook", "run", "--config", "pyproject.toml")
        variables = {"PYTHONPATH": path, "PYCACHEHOOK_STATS": self.stats}
        run(*command, f"services/{service}/main.py", cwd=self.root, **variables)
        (stats,) = take_stats(self.stats)
        return stats

    def explain(self, module: str, service: str) -> tuple[object, ...]:
        """Return a row: the result of `explain` for a module, and the pycs on the disk."""
        said = json.loads(self.pycachehook(service, "explain", "--json", module))
        origins = (option["origin"] for option in said["options"].values())
        rule = next((origin for origin in origins if origin.startswith("rule ")), "none")
        (path,) = self.pycs_of(Path(said["source"]))
        pyc = json.loads(self.pycachehook(service, "inspect", "--json", path))
        cache = f".cache/{path.relative_to(self.caches).parts[0]}"
        return module, rule if said["ours"] else said["why"], said["outcome"], cache, pyc["mode"], pyc["seal"]

    def pycs_of(self, source: Path) -> list[Path]:
        """Return every pyc of a source, in any of the caches."""
        found = self.caches.rglob(f"{source.stem}.*.pyc")
        return [path for path in found if str(path.parent).endswith(str(source.parent))]


def main() -> None:
    """Print the counters of each start, and a line for each of some modules."""
    if importlib.util.find_spec("rich") is None:
        stop("This example needs rich, as the package that a rule is about: pip install rich")
    with tempfile.TemporaryDirectory() as folder:
        repository = Repository(Path(folder))
        starts = [(service, which) for which in ("first", "second") for service in ("shop", "mail")]
        table(
            ("service", "start", *COUNTERS),
            [(service, which, *counters(repository.start(service))) for service, which in starts],
        )
        print()
        table(
            ("module", "rule", "outcome now", "its pyc is in", "mode", "seal"),
            [repository.explain(module, service) for module, service in MODULES.items()],
        )
        print()
        for cache in sorted(repository.caches.iterdir()):
            print(f".cache/{cache.name}: {len(list(cache.rglob('*.pyc')))} pycs")
        print(f"__pycache__ beside the sources: {folders_of_bytecode(repository.root)}")


if __name__ == "__main__":
    main()
