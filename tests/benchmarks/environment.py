"""The virtual environments in which programs are started, made once and used again.

There are five with identical contents: the same interpreter, the same files (hard links to one copy), installed without
bytecode, and without pip, so that there is bytecode only where a measurement puts it.

    compiled          never activated, `__pycache__` everywhere, as compileall leaves it
    plain             never activated, no `__pycache__`
    default           activated by `pycachehook enable`, no `__pycache__`
    checked-hash      the same with `--in-tree ignore`: every module from a cache entry, the standard library's too
    unchecked-hash    the same with `--in-tree ignore --invalidation-mode unchecked-hash`

The standard library keeps the bytecode that it was installed with. The activated environments also have this project's
wheel with its requirements; only these packages have the bytecode that pip writes, and that `enable` writes for the
start-up.
"""

from __future__ import annotations

import atexit
import functools
import json
import os
import shutil
import subprocess
import sys
import sysconfig
import tempfile
import venv
from collections.abc import Iterable, Mapping
from contextlib import nullcontext
from dataclasses import dataclass, field
from pathlib import Path

from .applications import Application
from .conditions import sweep
from .counts import Claim
from .measure import Condition, Variant, clean_environment

# By the variants of `archive` and `whole_process`: the invalidation mode, and other options. Variants with `in_tree` have
# entries instead of an archive.
ENTRIES = ("--in-tree", "ignore")
ARCHIVED = {
    "checked": ("checked-hash",),
    "unchecked": ("unchecked-hash",),
    "paused": ("unchecked-hash", "--gc", "pause"),
    "frozen": ("unchecked-hash", "--gc", "freeze"),
    "checked, paused": ("checked-hash", "--gc", "pause"),
    "checked, frozen": ("checked-hash", "--gc", "freeze"),
    "entries": ("unchecked-hash", "--gc", "pause", *ENTRIES),
    "store": ("checked-hash", *ENTRIES),
    "store, paused": ("checked-hash", "--gc", "pause", *ENTRIES),
    "store, frozen": ("checked-hash", "--gc", "freeze", *ENTRIES),
}
LEFT_OUT = ("*/test/*", "*/tests/*", "*/lib2to3/*", "*/idlelib/*", "*/turtledemo/*")  # packages that no start imports

PROJECT = Path(__file__).resolve().parents[2]


@dataclass(frozen=True)
class Tree:
    """One virtual environment at `path`, and the environment variables of its processes.

    `cache` is the directory for bytecode, if that is not in the tree; `hooked` says whether it is activated, with which
    `options`.
    """

    path: Path
    cache: Path
    options: tuple[str, ...] = ()
    environment: Mapping[str, str] = field(default_factory=dict)
    hooked: bool = False

    @property
    def python(self) -> Path:
        """The environment's interpreter."""
        return self.path / "bin" / "python"

    @property
    def purelib(self) -> Path:
        """The environment's `site-packages`."""
        return Path(sysconfig.get_path("purelib", "venv", {"base": str(self.path)}))

    def variant(
        self,
        name: str,
        code: str,
        *,
        condition: Condition = nullcontext,
        claim: Claim | None = None,
        processes: int = 1,
    ) -> Variant:
        """Return the variant that runs `code` in this environment, from an empty directory."""
        empty = self.path.parent / "empty"
        return Variant(name, self.python, code, empty, self.environment, processes, condition, claim, self.hooked)


class Environment:
    """The environments below one directory: those of the module's docstring, and `prefix`.

    `prefix` is `plain` under PYTHONPYCACHEPREFIX.
    """

    def __init__(self, root: Path) -> None:
        self.root = root
        self._archived: dict[tuple[str, str], Tree] = {}
        self._built: set[tuple[str, str]] = set()  # modes and cases
        self.caches = root / "caches"
        self.compiled = Tree(root / "compiled", root / "compiled")
        self.plain = Tree(root / "plain", root / "plain")
        prefix = self.caches / "prefix"
        self.prefix = Tree(self.plain.path, prefix, environment={"PYTHONPYCACHEPREFIX": str(prefix)})
        entries_only = ("--in-tree", "ignore", "--invalidation-mode")
        self.default = Tree(root / "default", self.caches / "default", hooked=True)
        self.checked, self.unchecked = (
            Tree(root / mode, self.caches / mode, (*entries_only, mode), hooked=True)
            for mode in ("checked-hash", "unchecked-hash")
        )

    def archived(self, case: str, application: Application, *variants: str) -> dict[str, Tree]:
        """Return the environments with the application's archive in front, by these keys of `ARCHIVED`.

        There is one archive for each mode, of everything in an environment; the modules that a recorded start of the
        application used come first in it. Missing ones are made.
        """
        for name in variants:
            if (name, case) not in self._archived:
                self._archived[name, case] = self._with_archive(name, case, application, *ARCHIVED[name])
        return {name: self._archived[name, case] for name in variants}

    def sharing(self) -> tuple[Tree, Tree]:
        """Return two identical environments at different paths that share a cache with `layout = "shared"`."""
        options = ("--layout", "shared", "--in-tree", "ignore")
        one, two = (
            Tree(self.root / f"sharing-{number}", self.caches / "sharing", options, hooked=True) for number in (1, 2)
        )
        for tree in (one, two):
            shutil.rmtree(tree.path, ignore_errors=True)
            shutil.copytree(self.plain.path, tree.path, symlinks=True, copy_function=os.link)
        _install_project(one, two)
        return one, two

    def _with_archive(self, variant: str, case: str, application: Application, mode: str, *options: str) -> Tree:
        name = f"{variant.replace(', ', '-')}-{case}"
        out = self.caches / f"archive-{mode}-{case}.pyca"
        archives = () if "--in-tree" in options else ("--archives", str(out))
        cache = self.caches / f"archive-{name}"
        tree = Tree(
            self.root / f"archive-{name}", cache, (*archives, "--invalidation-mode", mode, *options), hooked=True
        )
        shutil.rmtree(tree.path, ignore_errors=True)
        shutil.copytree(self.plain.path, tree.path, symlinks=True, copy_function=os.link)
        _install_project(tree)
        if archives and (mode, case) not in self._built:
            self._built.add((mode, case))
            _build(tree, out, application, mode)
        return tree

    @property
    def activated(self) -> tuple[Tree, ...]:
        """The environments with this project in them."""
        return self.default, self.checked, self.unchecked


def prepare(directory: Path, applications: Iterable[Application]) -> Environment:
    """Make, or update, the environments for this interpreter below `directory`.

    The applications' requirements are installed once, this project every time; the caches are empty at first.
    """
    environment = Environment(directory.resolve() / str(sys.implementation.cache_tag))
    _install_requirements(environment, {each.requirement for each in applications})
    shutil.rmtree(environment.caches, ignore_errors=True)
    for tree in (environment.plain, *environment.activated):
        sweep(tree.purelib)  # an earlier run that was killed may have left it
    _install_project(*environment.activated)
    modes = ("-q", "-j", "0", "--invalidation-mode", "timestamp")
    _python(environment.compiled.python, "-m", "compileall", *modes, environment.compiled.purelib, check=False)
    return environment


def _build(tree: Tree, out: Path, application: Application, mode: str) -> None:
    """Write the archive of everything in the environment."""
    profile = out.with_suffix(".profile")
    out.parent.mkdir(parents=True, exist_ok=True)
    out.unlink(missing_ok=True)
    record = ("run", "--record", profile, "-c", application.code)
    subprocess.run(
        [tree.python, "-m", "pycachehook", *record], env=clean_environment(), check=True, stdout=subprocess.DEVNULL
    )
    left_out = [word for glob in LEFT_OUT for word in ("--exclude", glob)]
    _python(
        tree.python, "-m", "pycachehook", "archive", "build", "--invalidation-mode", mode, "--profile", profile,
        *left_out, out, check=False,  # sources that do not compile
    )  # fmt: skip
    out.stat()
    sweep(tree.purelib / "pycachehook")


def _install_requirements(environment: Environment, requirements: set[str]) -> None:
    stamp = environment.root / "stamp.json"
    python, there = json.loads(stamp.read_text()) if stamp.exists() else (None, [])
    trees = (environment.plain, environment.compiled, *environment.activated)
    if python == sys.version and requirements <= set(there) and all(tree.path.is_dir() for tree in trees):
        return
    wanted = sorted(requirements.union(there))
    shutil.rmtree(environment.root, ignore_errors=True)
    (environment.root / "empty").mkdir(parents=True)
    plain, *others = trees
    venv.EnvBuilder(symlinks=True).create(plain.path)
    if wanted:
        _pip_install(plain, "--no-compile", *wanted)
    for other in others:
        shutil.copytree(plain.path, other.path, symlinks=True, copy_function=os.link)
    stamp.write_text(json.dumps([sys.version, wanted]))


def _install_project(*trees: Tree) -> None:
    wheel = _wheel()
    for tree in trees:
        _pip_install(tree, "--force-reinstall", wheel)
        _python(tree.python, "-m", "pycachehook", "enable", "--cache-dir", tree.cache, *tree.options)


@functools.cache
def _wheel() -> Path:
    """Return this project's wheel, made once, in a directory that is removed when this process ends.

    `TESTS_WHEEL` may name an existing one.
    """
    if given := os.environ.get("TESTS_WHEEL"):
        return Path(given)
    folder = Path(tempfile.mkdtemp())
    atexit.register(shutil.rmtree, folder)
    _python(Path(sys.executable), "-m", "pip", "wheel", "--quiet", "--no-deps", "--wheel-dir", folder, PROJECT)
    return next(folder.glob("*.whl"))


def _pip_install(tree: Tree, *arguments: str | Path) -> None:
    pip = ("-m", "pip", "--python", tree.python, "install", "--quiet", "--disable-pip-version-check")
    _python(Path(sys.executable), *pip, *arguments)


def _python(python: Path, *arguments: str | Path, check: bool = True) -> None:
    """Run a tool that writes no bytecode of its own, with the hook off."""
    environment = clean_environment(PYTHONDONTWRITEBYTECODE="1", PYCACHEHOOK_DISABLE="1")
    subprocess.run([python, *arguments], env=environment, check=check, stdout=subprocess.DEVNULL)
