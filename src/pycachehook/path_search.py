"""CPython's path search, followed through the directory listings that its finders keep.

Start-up module: imports nothing at module level that the interpreter has not already loaded.
"""

import sys

from ._compat import ExtensionFileLoader, FileFinder, ModuleSpec, PathFinder, SourceFileLoader
from .system import BUILTINS, S_IFDIR, S_IFMT, S_IFREG, is_foreign, system

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from typing import Any

__builtins__ = BUILTINS  # what programs patch in `builtins` later does not reach this module

# CPython's own path search, which `find_in_listings` follows, unless names are looked up without regard to case (there
# `FileFinder` has rules of its own) or somebody wants to read of every step (`-v`).
_FOLLOWED = not system.windows and not sys.platform.startswith(("cygwin", "darwin", "ios")) and not sys.flags.verbose
_path_search = getattr(PathFinder.find_spec, "__func__", None)
_directory_finder: "Any" = FileFinder
_directory_search = getattr(FileFinder, "find_spec", None)
_zipimporter = getattr(sys.modules.get("zipimport"), "zipimporter", None)
_here: "tuple[int, int, int] | None" = None  # the current directory's device, inode and mtime when it was last listed
_names_here: "set[str]" = set()  # the names in it, up to the first dot
# The path hooks that every interpreter begins with, unless somebody has been at them already: None.
_PLAIN_PATH_HOOKS = (
    [*sys.path_hooks]
    if [getattr(each, "__qualname__", "") for each in sys.path_hooks]
    == [
        "zipimporter",
        "FileFinder.path_hook.<locals>.path_hook_for_FileFinder",
    ]
    else None
)
_UNKNOWN = object()
NOWHERE: "Any" = object()  # instead of a spec


def find_in_listings(  # noqa: C901, PLR0911, PLR0912, PLR0915 -- see below
    fullname: str,
    path: "Sequence[str]",
    known: "Callable[[str], bool] | None" = None,
    archived: "Any" = None,
) -> "Any":
    """Return the spec that `PathFinder` would find on this `path`; `NOWHERE`: none, as far as listings tell.

    `known`, if there is one, may say of a source that its directory lists that this is a file, which is not looked at then.
    `archived` are the directories that archives answer for, so that nobody looks at them (see `archive.Listings`).

    The same steps in the same order, through the listings that CPython's finders keep, without their calls and without
    what only other kinds of module need. None: there is a finder that is not CPython's or that somebody has changed,
    or a namespace package; then `PathFinder` has to be asked.

    One long function, because it runs for every module, between module bodies that push everything else out of the
    processor's caches: a call there costs several times what it does in a loop.
    """
    if not _FOLLOWED or PathFinder.find_spec.__func__ is not _path_search:  # type: ignore[attr-defined]
        return None
    if _directory_finder.find_spec is not _directory_search:
        return None
    if archived is not None and sys.path_hooks != _PLAIN_PATH_HOOKS:  # a tool has its own finders for directories
        archived = None
    name = fullname.rpartition(".")[2]
    finders = sys.path_importer_cache
    elsewhere: list[str] = []
    try:
        for entry in path:
            if type(entry) is not str:  # PathFinder decides about these
                return None
            if archived is not None and not entry and _is_not_here(name):
                continue
            place = entry or system.getcwd()
            finder: Any = finders.get(place, _UNKNOWN)
            if finder is None:  # nothing can be found there, as the path finder remembers
                continue
            if archived is not None and (finder is _UNKNOWN or type(finder) is _directory_finder):
                listing = archived[place]
                if listing is not None:
                    record = listing.get(name)
                    if record is None:
                        if "/" not in listing:
                            elsewhere = [*elsewhere, place]
                        continue
                    loader: Any
                    if type(record) is tuple:
                        offset, size, is_package = record
                        base = f"{place}/{name}"
                        package = [base] if is_package else None
                        origin = f"{base}/__init__.py" if is_package else f"{base}.py"
                        if archived.loader is None or name in archived.left_alone:
                            loader = SourceFileLoader(fullname, origin)
                        else:
                            loader = archived.loader(fullname, origin, archived.policies, (listing["."], offset, size))
                    elif record:
                        package, origin = None, f"{place}/{name}{record}"
                        loader = ExtensionFileLoader(fullname, origin)
                    else:
                        return None
                    spec: Any = ModuleSpec(fullname, loader, origin=origin)
                    spec._set_fileattr = True
                    spec.submodule_search_locations = package
                    if archived.suffix and type(record) is tuple:
                        spec._cached = f"{archived.prefix}{origin[:-2]}{archived.suffix}"
                    return spec
            if finder is _UNKNOWN:
                finder = _new_finder(place)
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
                    (known is None or loader is not SourceFileLoader or not known(base + suffix))
                    and system.stat(base + suffix).st_mode & S_IFMT != S_IFREG
                ):
                    continue
                spec = ModuleSpec(fullname, loader(fullname, base + suffix), origin=base + suffix)
                spec._set_fileattr = True  # what `has_location` sets
                spec.submodule_search_locations = package
                return spec
            if package is not None:  # a portion of a namespace package, or a file without a suffix
                return None
    except (OSError, ValueError, TypeError, AttributeError) as error:  # no such file, or not a path at all
        if is_foreign(error):
            raise
        return None
    # What has come to a directory since the archive was built must be ours, too: the path finder's has a timestamp.
    return find_in_listings(fullname, elsewhere, known) if elsewhere else NOWHERE


def _is_not_here(name: str) -> bool:
    """Say whether nothing in the current directory has this name: one system call; its path alone would cost another."""
    global _here, _names_here  # noqa: PLW0603
    status = system.stat(".")
    now = status.st_dev, status.st_ino, status.st_mtime_ns
    if now != _here:
        _names_here = {each.partition(".")[0] for each in system.listdir(".")}
        _here = now
    return name not in _names_here


def look_again_here() -> None:
    """Forget the names in the current directory: one may have been added within what its mtime tells apart."""
    global _here  # noqa: PLW0603
    _here = None


def _new_finder(path: str) -> "Any":
    """Return the finder for a directory that no finder is known for yet, and have `PathFinder` know it, too.

    The hooks are asked in their order, but for zipimport's, which refuses every directory, at some length.
    """
    if system.stat(path).st_mode & S_IFMT == S_IFDIR:
        for hook in sys.path_hooks:
            if hook is not _zipimporter:
                try:
                    finder = sys.path_importer_cache[path] = hook(path)
                except ImportError:
                    continue
                except Exception:  # noqa: BLE001 -- the hook's own; PathFinder asks it again, and lets that pass
                    return _UNKNOWN
                return finder
    return _UNKNOWN
