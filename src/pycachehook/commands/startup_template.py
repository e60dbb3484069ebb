"""Turns pycachehook on in every process of this environment.

Written by `pycachehook enable`, removed by `pycachehook disable`. `OPTIONS` are the options as they were resolved
then; `cache_dir` None means the default of whoever starts Python.
"""

import marshal
import os
import sys

VERSION = ""
OPTIONS: dict = {}

activated = False


class FirstImport:
    """Stands in for the hook until a plain source module is imported: a start that imports none costs next to nothing."""

    def __init__(self, found_prefix):
        self.found_prefix = found_prefix

    def find_spec(self, name, path=None, target=None):
        """Find as the finders behind this one do; for the first plain source module, bring in the hook, and ask that."""
        if self not in sys.meta_path:  # some tool has wrapped it; then there is no hook
            return None
        place = sys.meta_path.index(self)
        spec = find_spec(sys.meta_path[place + 1 :], name, path, target)
        if spec is None or type(spec.loader) is not type(__spec__.loader):
            return spec
        sys.meta_path.remove(self)
        chosen, sys.pycache_prefix = sys.pycache_prefix, self.found_prefix
        install()
        if chosen not in (self.found_prefix, OPTIONS["cache_dir"]):  # the program has set it since
            sys.pycache_prefix = chosen
        return find_spec(sys.meta_path[place:], name, path, target)


def activate():
    """Activate pycachehook; never raises. The second call does nothing: before Python 3.15, venvs run `.pth` files twice."""
    global activated
    if activated:
        return
    activated = True
    if any(name.startswith("PYCACHEHOOK_") for name in os.environ):
        install()
        return
    names = [getattr(finder, "__name__", None) for finder in sys.meta_path]
    place = names.index("PathFinder") if "PathFinder" in names else len(names)
    sys.meta_path.insert(place, FirstImport(sys.pycache_prefix))
    if OPTIONS["cache_dir"] is not None:
        sys.pycache_prefix = OPTIONS["cache_dir"]


def install():
    """Install the hook; does nothing if pycachehook has been uninstalled since."""
    import gc  # built in

    collecting = gc.isenabled()
    gc.disable()  # nothing that is made here becomes garbage
    try:
        if "pycachehook" not in sys.modules:
            load_image()
        from pycachehook.runtime import start_up
    except Exception:
        return
    else:
        start_up(OPTIONS, VERSION, __file__)
    finally:
        if collecting:
            gc.enable()


def find_spec(finders, name, path, target):
    """Return the spec of the first of `finders` that has one, or None."""
    for finder in finders:
        find = getattr(finder, "find_spec", None)
        spec = None if find is None else find(name, path, target)
        if spec is not None:
            return spec
    return None


def image_path():
    """Return where the start-up image for this interpreter lies: all start-up modules' bytecode in one file."""
    opt = f".opt-{sys.flags.optimize}" if sys.flags.optimize else ""
    folder, _, name = __file__.rpartition(os.sep)
    return f"{folder}/__pycache__/{name[:-3]}.{sys.implementation.cache_tag}{opt}.image"


def load_image():
    """Put the image's modules into `sys.modules`, in half the time that importing them takes.

    It is used if this very build of Python wrote it, and from these very sources: they are read and compared, since
    packaging changes modification times; under `unchecked-hash`, what pip has noted of them is. Else they are imported,
    as modules are.
    """
    try:
        python, evidence, modules = marshal.loads(read(image_path()))
        if python != sys.version or any(read(path) != contents for path, contents in evidence):
            return
    except (OSError, ValueError, EOFError, TypeError):
        return
    for name, path, code in modules:
        exec(code, new_module(name, path).__dict__)


def new_module(name, path):
    """Return a module, in `sys.modules` and in its package, as importing it from `path` would begin to make it."""
    loader = type(__spec__.loader)(name, path)
    package, _, tail = name.rpartition(".")
    spec = type(__spec__)(name, loader, origin=path, is_package=not package)
    spec.has_location = True
    module = sys.modules[name] = type(sys)(name)
    module.__spec__, module.__loader__, module.__file__, module.__package__ = spec, loader, path, package or name
    if package:
        setattr(sys.modules[package], tail, module)
    else:
        module.__path__ = spec.submodule_search_locations = [os.path.dirname(path)]
    return module


def read(path):
    """Return the bytes of the file at `path`."""
    file = os.open(path, os.O_RDONLY | getattr(os, "O_BINARY", 0))
    try:
        return os.read(file, os.fstat(file).st_size + 1)
    finally:
        os.close(file)
