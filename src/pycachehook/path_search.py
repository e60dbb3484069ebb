"""CPython's path search, reimplemented on the directory listings that its finders cache.

Start-up module: imports nothing at module level that the interpreter has not already loaded.
"""

import sys

from ._compat import (
    ExtensionFileLoader,
    FileFinder,
    ModuleSpec,
    PathFinder,
    SourceFileLoader,
    replaced_search_step,
)
from .system import BUILTINS, S_IFDIR, S_IFMT, S_IFREG, is_foreign, system

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from typing import Any

    from .archive import ArchivedModules

__builtins__ = BUILTINS  # so that later patches of `builtins` do not reach this module

# Whether `find_in_listings` can replace CPython's search: only where file names are case-sensitive, because
# `FileFinder` has more rules elsewhere, and not under `-v`, which reports each step of CPython's search.
_APPLICABLE = (
    not system.windows and not system.platform.startswith(("cygwin", "darwin", "ios")) and not sys.flags.verbose
)
_path_search = getattr(PathFinder.find_spec, "__func__", None)
_directory_finder: "Any" = FileFinder
_directory_search = getattr(FileFinder, "find_spec", None)
_zipimporter = getattr(sys.modules.get("zipimport"), "zipimporter", None)
# Device, inode and mtime of the current directory when it was last listed.
_listed_state: "tuple[int, int, int] | None" = None
_listed_names: "set[str]" = set()  # the names in it, up to the first dot
# The path hooks of an unmodified interpreter; None if the list had been modified before this module was loaded.
_PLAIN_PATH_HOOKS = (
    [*sys.path_hooks]
    if [getattr(hook, "__qualname__", "") for hook in sys.path_hooks]
    == [
        "zipimporter",
        "FileFinder.path_hook.<locals>.path_hook_for_FileFinder",
    ]
    else None
)
_UNKNOWN = object()
NOT_FOUND: "Any" = object()  # returned instead of a spec
# Packages that compare the exact type of their own loader. pip has a copy of distlib, which some versions use on every
# run: an environment in which pip fails is worse than one `__init__` that is not cached.
LEFT_TO_STOCK_LOADER = ("distlib",)


def find_in_listings(  # noqa: C901, PLR0911, PLR0912, PLR0915 -- see the docstring
    fullname: str,
    path: "Sequence[str]",
    is_file: "Callable[[str], bool] | None" = None,
    archived: "ArchivedModules | None" = None,
) -> "Any":
    """Return the spec that `PathFinder` would find on `path`, without calling it.

    Returns `NOT_FOUND` if no directory on `path` lists the module. Returns None if the caller has to call
    `PathFinder`: for a namespace package, or if a finder is not CPython's own or has been modified.

    `is_file(path)` may return True for a listed source that is known to be a regular file, which saves a `stat` call.
    `archived` has the directory listings of archives, which replace any access to a directory.

    The steps and their order are those of `PathFinder`. This is one long function because a function call here costs
    several times as much as in a loop: each import runs it once, after a module body has replaced the contents of the
    processor's caches.
    """
    if not _APPLICABLE or PathFinder.find_spec.__func__ is not _path_search:  # type: ignore[attr-defined]
        return None
    if _directory_finder.find_spec is not _directory_search or replaced_search_step():
        return None
    # With other path hooks, a tool may have its own finders for directories.
    if archived is not None and sys.path_hooks != _PLAIN_PATH_HOOKS:
        archived = None
    name = fullname.rpartition(".")[2]
    finders = sys.path_importer_cache
    unlisted: list[str] = []
    try:
        for entry in path:
            if type(entry) is not str:  # left to PathFinder
                return None
            if archived is not None and not entry and _is_absent_here(name):
                continue
            entry_path = entry or system.getcwd()
            finder: Any = finders.get(entry_path, _UNKNOWN)
            if finder is None:  # PathFinder has cached that no hook accepts this entry
                continue
            if archived is not None and (finder is _UNKNOWN or type(finder) is _directory_finder):
                listing = archived.listings[entry_path]
                if listing is not None:
                    # A tuple for a source, the suffix of an extension module, or False if PathFinder has to be called.
                    record = listing.get(name)
                    if record is None:
                        if "/" not in listing:  # not compared with the disk, so a module may have been added
                            unlisted = [*unlisted, entry_path]
                        continue
                    loader: Any
                    if type(record) is tuple:
                        offset, size, is_package = record
                        base = f"{entry_path}/{name}"
                        package = [base] if is_package else None
                        origin = f"{base}/__init__.py" if is_package else f"{base}.py"
                        if archived.loader is None or archived.policies is None or name in LEFT_TO_STOCK_LOADER:
                            loader = SourceFileLoader(fullname, origin)
                        else:
                            loader = archived.loader(fullname, origin, archived.policies, (listing["."], offset, size))
                    elif record:
                        package, origin = None, f"{entry_path}/{name}{record}"
                        loader = ExtensionFileLoader(fullname, origin)
                    else:
                        return None
                    spec: Any = ModuleSpec(fullname, loader, origin=origin)
                    spec._set_fileattr = True
                    spec.submodule_search_locations = package
                    if archived.store is not None and type(record) is tuple:
                        spec._cached = archived.store.path(origin)
                    return spec
            if finder is _UNKNOWN:
                finder = _new_finder(entry_path)
            if type(finder) is not _directory_finder:
                return None
            directory = finder.path
            if directory[:1] != "/" or directory[-1:] == "/":
                return None
            mtime = system.stat(directory).st_mtime
            if mtime != finder._path_mtime:
                finder._fill_cache()
                finder._path_mtime = mtime
            names = finder._path_cache
            base = f"{directory}/{name}"
            package = None
            if name in names:
                package = [base]
                base = f"{base}/__init__"
            for suffix, loader in finder._loaders:
                if package is not None:
                    try:
                        if system.stat(base + suffix).st_mode & S_IFMT != S_IFREG:
                            continue
                    except OSError:
                        continue
                elif name + suffix not in names or (
                    (is_file is None or loader is not SourceFileLoader or not is_file(base + suffix))
                    and system.stat(base + suffix).st_mode & S_IFMT != S_IFREG
                ):
                    continue
                spec = ModuleSpec(fullname, loader(fullname, base + suffix), origin=base + suffix)
                spec._set_fileattr = True  # set by the property `has_location`
                spec.submodule_search_locations = package
                return spec
            if package is not None:  # part of a namespace package, or a file without a suffix
                return None
    except (OSError, ValueError, TypeError, AttributeError) as error:  # a missing file, or an invalid path
        if is_foreign(error):
            raise
        return None
    # Modules may have been added to these directories after the archive was built.
    return find_in_listings(fullname, unlisted, is_file) if unlisted else NOT_FOUND


def _is_absent_here(name: str) -> bool:
    """Return whether no name in the current directory matches, at the cost of one `stat` of "."."""
    global _listed_state, _listed_names  # noqa: PLW0603
    status = system.stat(".")
    state = status.st_dev, status.st_ino, status.st_mtime_ns
    if state != _listed_state:
        _listed_names = {entry.partition(".")[0] for entry in system.listdir(".")}
        _listed_state = state
    return name not in _listed_names


def forget_current_directory() -> None:
    """Forget the names in the current directory: a file may have been added without a change of the mtime."""
    global _listed_state  # noqa: PLW0603
    _listed_state = None


def _new_finder(path: str) -> "Any":
    """Return the finder for a directory without one, and store it in `sys.path_importer_cache` as `PathFinder` does.

    The path hooks are asked in order, except zipimport's, which takes long to refuse a directory.
    """
    if system.stat(path).st_mode & S_IFMT == S_IFDIR:
        for hook in sys.path_hooks:
            if hook is not _zipimporter:
                try:
                    finder = sys.path_importer_cache[path] = hook(path)
                except ImportError:
                    continue
                except Exception:  # noqa: BLE001 -- PathFinder will call the hook again and raise this
                    return _UNKNOWN
                return finder
    return _UNKNOWN
