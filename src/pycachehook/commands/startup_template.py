"""Turns pycachehook on in every process of this environment.

Written by `pycachehook enable`, removed by `pycachehook disable`. `OPTIONS` are the options as they were resolved
then; `cache_dir` None means the default of whoever starts Python. One file, although it is long: a second one would
cost every start.
"""

import _imp
import _io
import _thread
import builtins
import marshal
import os
import sys

VERSION = ""
OPTIONS = {}
PACKAGE = ""  # the package's directory, relative to the one of this file unless it is absolute
MODULES = ()  # of the package: what a start loads, each behind those that it imports
OPEN_CODE_HOOKED = False  # whether an embedder had set a hook for `io.open_code` (PEP 578)

# What a program patches later in `builtins`, `os` or `sys` does not reach the functions below. To use each module here
# makes that none stays a lazy import (PEP 810).
__builtins__ = dict(vars(builtins))
system = sys.modules["nt" if os.name == "nt" else "posix"]
open_file, read_file, close_file, fstat, lstat = system.open, system.read, system.close, system.fstat, system.lstat
effective_user = getattr(system, "geteuid", None)
READ_FLAGS = os.O_RDONLY | getattr(os, "O_BINARY", 0) | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_CLOEXEC", 0)
loads, source_hash, get_ident = marshal.loads, _imp.source_hash, _thread.get_ident
fix_filename = getattr(_imp, "_fix_co_filename", None)
create_builtin, exec_builtin = _imp.create_builtin, _imp.exec_builtin
get_recursion_limit, set_recursion_limit = sys.getrecursionlimit, sys.setrecursionlimit
open_code = _io.open_code
ModuleSpec, Module = type(sys.__spec__), type(sys)
SourceFileLoader = sys.modules["_frozen_importlib_external"].SourceFileLoader
get_code, source_to_code = SourceFileLoader.get_code, SourceFileLoader.source_to_code

FOLDER = __file__.rpartition(os.sep)[0]
PACKAGE_FOLDER = PACKAGE if os.path.isabs(PACKAGE) else f"{FOLDER}{os.sep}{PACKAGE}"
IMAGE_MAGIC = b"PYCHIMG2"
# The seal's key depends on the build of Python: no other build's data is given to `marshal`.
IMAGE_KEY = (
    int.from_bytes(source_hash(0x50594348, sys.version.encode())[:4], "little") >> 1
)  # C's long has 32 bits at least
LARGEST_IMAGE = 1 << 25  # bytes
S_IFMT, S_IFDIR, S_IFREG, S_ISVTX, OTHERS_WRITE = 0o170000, 0o040000, 0o100000, 0o1000, 0o022
OVERFLOW_USER = 65534  # stands for all unmapped users in a user namespace
LAZY_IMPORTS = hasattr(sys, "set_lazy_imports")  # PEP 810
FRAMES = 120  # more than bringing in the hook takes
WAIT = 1.0  # seconds

activated = False


class FirstImport:
    """Stands in for the hook until a plain source module is imported: a start that imports none costs next to nothing."""

    def __init__(self, found_prefix):
        self.found_prefix = found_prefix
        self.lock = _thread.allocate_lock()
        self.thread = None  # the one that brings in the hook
        self.done = False

    def find_spec(self, name, path=None, target=None):
        """Find as the finders behind this one do; for the first plain source module, bring in the hook, and ask that."""
        if self.thread == get_ident():  # an import of the hook's own
            return None
        limit = get_recursion_limit()
        try:
            need(FRAMES)
        except RecursionError:
            set_recursion_limit(limit + FRAMES)
        else:
            return self.find(name, path, target)
        try:
            return self.find(name, path, target)
        finally:
            set_recursion_limit(limit)

    def find(self, name, path, target):
        if self.done:  # in a thread that had begun to iterate over `sys.meta_path`
            return find_spec(sys.meta_path, name, path, target)
        place = position(self)
        if place is None:  # some tool has wrapped it; then there is no hook
            return None
        spec = find_spec(sys.meta_path[place + 1 :], name, path, target)
        if type(getattr(spec, "loader", None)) is not SourceFileLoader:
            return spec
        if not self.lock.acquire(timeout=WAIT):  # a circle of imports in two threads; or its owner is gone with a fork
            return spec
        try:
            self.thread = get_ident()
            if not self.done:  # else another thread has done it meanwhile
                self.give_way()
        except (RecursionError, MemoryError):  # the limit for C functions is another one: again at the next import
            pass
        finally:
            self.thread = None
            self.lock.release()
        return find_spec(sys.meta_path[place:], name, path, target)

    def give_way(self):
        """Install the hook and leave `sys.meta_path`, in this order: other threads iterate over it."""
        chosen, sys.pycache_prefix = sys.pycache_prefix, self.found_prefix
        try:
            install()
        except BaseException:  # the program's own, from a signal handler or a trace function: again at the next import
            sys.pycache_prefix = chosen
            raise
        self.done = True
        place = position(self)
        if place is not None:
            del sys.meta_path[place]
        if chosen not in (self.found_prefix, OPTIONS["cache_dir"]):  # the program has set it since
            sys.pycache_prefix = chosen


def activate():
    """Activate pycachehook; never raises. The second call does nothing: before Python 3.15, venvs run `.pth` files twice."""
    global activated
    if activated or disabled():
        return
    activated = True
    try:
        if has_options():
            install()
            return
        lstat(path_of("__init__.py"))
        names = [getattr(finder, "__name__", None) for finder in sys.meta_path]
        place = names.index("PathFinder") if "PathFinder" in names else len(names)
        sys.meta_path.insert(place, FirstImport(sys.pycache_prefix))
        prefix = OPTIONS["cache_dir"]
        if prefix is not None and (OPTIONS.get("allow_shared") or is_private(prefix)):
            sys.pycache_prefix = prefix
    except Exception:
        return


def disabled():
    """Say whether `PYCACHEHOOK_DISABLE`, the kill switch, is set: to anything but an empty string, 0, false, no, off."""
    return os.environ.get("PYCACHEHOOK_DISABLE", "").lower() not in ("", "0", "false", "no", "off")


def has_options():
    """Say whether the environment may hold options, which `-E` and `-I` have Python ignore."""
    if sys.flags.ignore_environment:
        return False
    return any(name.startswith("PYCACHEHOOK_") and name != "PYCACHEHOOK_DISABLE" for name in os.environ)


def is_private(path):
    """Say whether nobody but root and this user can decide what is in the directory `path`, as far as is seen at once.

    The hook knows of links, private groups and user namespaces, and sets the prefix for what this function refuses.
    """
    if effective_user is None:
        return True
    user = effective_user()
    if user == OVERFLOW_USER or path[:1] != "/":
        return False
    parts = [part for part in path.split("/") if part]
    sticky = False
    for count in range(len(parts) + 1):
        try:
            status = lstat("/" + "/".join(parts[:count]))
        except FileNotFoundError:
            return not sticky  # only who may write to the last one can make it
        sticky = status.st_mode & S_ISVTX and status.st_mode & OTHERS_WRITE
        if status.st_mode & S_IFMT != S_IFDIR or status.st_uid not in (0, user):
            return False
        if status.st_mode & OTHERS_WRITE and (not sticky or count == len(parts)):
            return False
    return True


def need(frames):
    """Raise RecursionError if the recursion limit leaves fewer `frames` than these."""
    if frames:
        need(frames - 1)


def position(finder):
    """Return the index of `finder` in `sys.meta_path`, or None; other finders' `__eq__` is not asked."""
    for index, each in enumerate(sys.meta_path):
        if each is finder:
            return index
    return None


def find_spec(finders, name, path, target):
    """Return the spec of the first of `finders` that has one, or None."""
    for finder in finders:
        find = getattr(finder, "find_spec", None)
        spec = None if find is None else find(name, path, target)
        if spec is not None:
            return spec
    return None


def install():
    """Install the hook; does nothing if pycachehook has been uninstalled since."""
    if disabled():
        return
    gc = builtin("gc")
    collecting = gc.isenabled()
    gc.disable()  # nothing that is made here becomes garbage
    try:
        start_up = load()
        if start_up is not None and not start_up(OPTIONS, VERSION, __file__):
            raise RecursionError
    except (RecursionError, MemoryError):
        raise
    except Exception as error:
        if is_foreign(error):
            raise
    finally:
        if collecting:
            gc.enable()


def is_foreign(error):
    """Say whether the program's code has raised `error`: a signal handler, or a trace function."""
    traceback = error.__traceback__
    while traceback is not None:
        name = str(traceback.tb_frame.f_globals.get("__name__"))
        if name != __name__ and not name.startswith(("pycachehook", "importlib.", "_frozen_importlib")):
            return True
        traceback = traceback.tb_next
    return False


def builtin(name):
    """Return a copy of its own of a built-in module: unpatched, and not in `sys.modules`."""
    module = create_builtin(ModuleSpec(name, None))
    exec_builtin(module)
    return module


def load():
    """Load the modules of a start, and return `start_up`; None if there is another package of this name, or none.

    They come from their directory, without `sys.path` or any finder: each is in `sys.modules` before another imports it.
    """
    if "pycachehook" in sys.modules:
        found = getattr(sys.modules["pycachehook"], "__file__", None) or ""
        if found.rpartition(os.sep)[0] != PACKAGE_FOLDER:
            return None
    made = []
    try:
        for name, path, code in from_image() or from_sources():
            if name not in sys.modules:
                made.append(name)
                module = new_module(name, path)
                exec(code, module.__dict__)
                for each in list(module.__dict__) if LAZY_IMPORTS else ():  # so that none is left for later
                    getattr(module, each)
        return sys.modules["pycachehook.runtime"].start_up
    except BaseException:
        for name in made:
            sys.modules.pop(name, None)
        raise


def image_path():
    """Return where the start-up image for this interpreter lies: all start-up modules' bytecode in one file."""
    opt = f".opt-{sys.flags.optimize}" if sys.flags.optimize else ""
    name = __file__.rpartition(os.sep)[2]
    return f"{FOLDER}{os.sep}__pycache__{os.sep}{name[:-3]}.{sys.implementation.cache_tag}{opt}.image"


def from_image():
    """Return the name, path and code of each module, in half the time that reading their pycs takes; None without a usable image.

    It is used if this very build of Python wrote it, and from these very sources: they are read and their hashes
    compared, since packaging changes modification times; under `unchecked-hash`, what pip has noted of them is. Its seal is checked
    before anything else is done with it.
    """
    try:
        data = memoryview(read(image_path(), like=__file__))
        body = data[16:]
        if data[:8] != IMAGE_MAGIC or data[8:16] != source_hash(IMAGE_KEY, body):
            return None
        evidence, modules, parts = loads(body)
        for path, stamp in evidence:
            if source_hash(IMAGE_KEY, read(path_of(path))) != stamp:
                return None
    except (OSError, ValueError, EOFError, TypeError):
        return None
    return unpacked(modules, parts)


def unpacked(modules, parts):
    """Yield the name, path and code of each module of an image; then hand over what a miss needs, as bytes."""
    for name, file, code in modules:
        path = path_of(file)
        if code.co_filename != path and fix_filename is not None:  # the environment has been moved
            fix_filename(code, path)
        yield name, path, code
    own_modules = sys.modules.get("pycachehook.own_modules")
    if own_modules is not None:
        own_modules.IMAGE_PARTS.update({name: (path_of(file), data) for name, file, data in parts})


def from_sources():
    """Yield the same from the sources, or from the bytecode that an installer has put beside them; nothing is written."""

    class Loader(SourceFileLoader):
        get_code = get_code
        source_to_code = source_to_code

        def get_data(self, path):
            return read(path)

        def set_data(self, path, data, *, _mode=0o666):
            pass

    for name in MODULES:
        path = path_of(f"{name}.py")
        full = "pycachehook" if name == "__init__" else f"pycachehook.{name}"
        yield full, path, Loader(full, path).get_code(full)


def path_of(name):
    """Return the path of this file of the package."""
    return f"{PACKAGE_FOLDER}{os.sep}{name}"


def new_module(name, path):
    """Return a module, in `sys.modules` and in its package, as importing it from `path` would begin to make it."""
    loader = SourceFileLoader(name, path)
    package, _, tail = name.rpartition(".")
    spec = ModuleSpec(name, loader, origin=path, is_package=not package)
    spec.has_location = True
    module = sys.modules[name] = Module(name)
    module.__spec__, module.__loader__, module.__file__, module.__package__ = spec, loader, path, package or name
    if package:
        setattr(sys.modules[package], tail, module)
    else:
        module.__path__ = spec.submodule_search_locations = [path.rpartition(os.sep)[0]]
    return module


def read(path, like=None):
    """Return the bytes of the file at `path`; raises OSError. `like`: only if its owner is trusted, or the one of that file."""
    if like is not None:
        check(lstat(path), (0, effective_user and effective_user(), lstat(like).st_uid))
    if OPTIONS.get("open_code") == "always" or (OPEN_CODE_HOOKED and OPTIONS.get("open_code") != "never"):
        with open_code(path) as file:
            return file.read()
    descriptor = open_file(path, READ_FLAGS)
    try:
        status = fstat(descriptor)
        check(status)
        return read_file(descriptor, status.st_size + 1)
    finally:
        close_file(descriptor)


def check(status, owners=None):
    """Raise OSError for what is no regular file, or too large for one of ours, or not these `owners`' alone."""
    regular = status.st_mode & S_IFMT == S_IFREG
    theirs = owners and effective_user and (status.st_uid not in owners or status.st_mode & OTHERS_WRITE)
    if theirs or not regular or status.st_size > LARGEST_IMAGE:
        raise OSError
