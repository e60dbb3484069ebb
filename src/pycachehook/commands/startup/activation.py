"""The start-up module: activates pycachehook in every process of this environment.

Written by `pycachehook enable`, removed by `pycachehook disable`. `OPTIONS` are the options as resolved at that time; a
`cache_dir` of None means the default of the user who starts Python.

It consists of three files of the package: `activation.py`, and what only a start needs that imports a source module,
`library.py` and `hook_loading.py`. In the bytecode that `enable` writes, these two are the constant `LATER`, because a
start that imports nothing would spend most of its time on them.
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
PACKAGE = ""  # the package's directory, absolute or relative to the directory of this file
MODULES = ()  # the package's modules that a start loads, each after those that it imports
METHODS, FUNCTIONS = (), ()  # names of what the standard loader consists of, in its class and in its module
OPEN_CODE_HOOKED = False  # whether an embedder had set a hook for `io.open_code` (PEP 578)

# Everything is looked up now, so that later patches of `builtins`, `os` or `sys` do not affect the functions below, and
# so that none of the modules remains a lazy import (PEP 810).
__builtins__ = dict(vars(builtins))
system = sys.modules["nt" if os.name == "nt" else "posix"]
open_file, read_file, close_file = system.open, system.read, system.close
stat, fstat, lstat, listdir = system.stat, system.fstat, system.lstat, system.listdir
effective_user = getattr(system, "geteuid", None)
READ_FLAGS = os.O_RDONLY | getattr(os, "O_BINARY", 0) | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_CLOEXEC", 0)
loads, source_hash, get_ident = marshal.loads, _imp.source_hash, _thread.get_ident
fix_filename = getattr(_imp, "_fix_co_filename", None)
create_builtin, exec_builtin = _imp.create_builtin, _imp.exec_builtin
get_recursion_limit, set_recursion_limit = sys.getrecursionlimit, sys.setrecursionlimit
open_code = _io.open_code
environ = os.environ
PLATFORM = sys.platform, sys.getfilesystemencoding(), sys.getfilesystemencodeerrors()
ModuleSpec, Module = type(sys.__spec__), type(sys)
importlib, bootstrap = sys.modules["_frozen_importlib_external"], sys.modules["_frozen_importlib"]
io = sys.modules["_io"]
SourceFileLoader, PathFinder = importlib.SourceFileLoader, importlib.PathFinder
get_code, source_to_code = SourceFileLoader.get_code, SourceFileLoader.source_to_code
# What the hook's modules import, whatever a program puts into `sys.modules` before they are loaded.
ORIGINALS = ("_imp", "_io", "_thread", "_warnings", "_weakref", "builtins", "marshal", "os", "sys", "time")
ORIGINALS = {name: sys.modules[name] for name in ORIGINALS if name in sys.modules}

SEP = os.sep
FILE = __file__
FOLDER = FILE.rpartition(SEP)[0]
PACKAGE_FOLDER = PACKAGE if os.path.isabs(PACKAGE) else f"{FOLDER}{SEP}{PACKAGE}"
LIBRARY = f"{getattr(os, '__file__', '').rpartition(SEP)[0]}{SEP}"  # "/" if an embedder has no library on disk
OPT = f".opt-{sys.flags.optimize}" if sys.flags.optimize else ""
PYTHON_BUILD = sys.version.encode()
PYC_MAGIC = importlib.MAGIC_NUMBER + bytes(4)  # of a timestamp pyc
S_IFMT, S_IFDIR, S_IFREG, S_ISVTX, OTHERS_WRITE = 0o170000, 0o040000, 0o100000, 0o1000, 0o022
OVERFLOW_USER = 65534  # the id that represents all unmapped users in a user namespace
LAZY_IMPORTS = hasattr(sys, "set_lazy_imports")  # PEP 810
LEGACY_FINDERS = sys.version_info < (3, 12)
LATER_KEY = 0x4C41  # of the hash in front of what `LATER` contains
FRAMES = 120  # an upper bound for the frames that loading the hook needs

activated = False
first_import = None  # the finder that `activate` has put into `sys.meta_path`
# From `LATER`:
WRITE_BYTECODE = LibraryLoader = is_in_library = spares_library = load_hook = hook_finders = install = None


def hidden(function):
    """Give `function` importlib's file name, so that CPython removes its frame from tracebacks."""
    function.__code__ = function.__code__.replace(co_filename=get_code.__code__.co_filename)
    return function


class FirstImport:
    """A finder that loads the hook at the first import of a plain source module; other starts stay almost free.

    Modules of the standard library that have valid bytecode do not count, if `prefix` is the cache directory, which is
    `sys.pycache_prefix` already; it is None otherwise. `silences` is whether `sys.dont_write_bytecode` has been set.
    """

    def __init__(self, prefix):
        self.original_prefix = sys.pycache_prefix
        self.prefix = prefix
        self.silences = bool(prefix and OPTIONS.get("read_only") and not sys.dont_write_bytecode)
        self.steps = None  # see `spares_library`
        self.lock = _thread.RLock()  # which only its owner can release
        self.thread = None  # the thread that loads the hook
        self.done = False
        self.wrapped = False  # by a tool, which calls this finder although it is not in `sys.meta_path`

    @hidden
    def find_spec(self, name, path=None, target=None):
        """Find as the finders behind this one do, but load the hook for the first plain source module."""
        if self.thread == get_ident():  # an import made by the hook itself
            return None
        try:
            return self.find(name, path, target)
        except RecursionError:  # the interpreter, which needs fewer frames, might succeed
            pass
        # Not in a function that both places call: there may be no frame left for it.
        limit = get_recursion_limit()
        set_recursion_limit(limit + FRAMES)
        try:
            return self.find(name, path, target)
        finally:
            set_recursion_limit(limit)

    @hidden
    def find(self, name, path, target):
        index = position(self)
        if self.done:  # called by a tool's wrapper, or by a thread that was already iterating over `sys.meta_path`
            return find_spec(sys.meta_path, name, path, target) if index is None and not self.wrapped else None
        later = [PathFinder] if index is None else sys.meta_path[index + 1 :]
        spec = find_spec(later, name, path, target)
        loader = getattr(spec, "loader", None)
        if type(loader) is not SourceFileLoader:
            return spec
        try:
            if not define_later():
                self.give_up()
                return spec
        except MemoryError as error:
            if is_foreign(error):
                raise
            return spec  # there may be enough memory at the next import
        if is_in_library(loader) and name not in WRITE_BYTECODE and spares_library():
            spec.loader = LibraryLoader(loader.name, loader.path)
        elif load_hook() and self.done:
            later = hook_finders() if index is None else sys.meta_path[index:]
            spec = find_spec(later, name, path, target)
            if name == "pycachehook" and name in sys.modules:  # importlib takes this spec instead of the returned one
                sys.modules[name].__spec__ = spec
        return spec

    def give_up(self):
        self.leave()
        if sys.pycache_prefix == self.prefix:
            sys.pycache_prefix = self.original_prefix
        if self.silences:
            sys.dont_write_bytecode = False

    def leave(self):
        self.done = True
        index = position(self)
        if index is not None and isinstance(sys.meta_path, list):
            list.__delitem__(sys.meta_path, index)  # not the method of a subclass


def activate():
    """Activate pycachehook; never raises.

    A second call does nothing, because before Python 3.15 `.pth` files run twice in virtual environments.
    """
    global activated, first_import
    if activated or disabled():
        return
    activated = True
    try:
        if has_options():
            if define_later():
                install()
            return
        lstat(path_of("__init__.py"))
        names = [getattr(finder, "__name__", None) for finder in sys.meta_path]
        index = names.index("PathFinder") if "PathFinder" in names else 0  # wrapped by a tool
        prefix = OPTIONS["cache_dir"] or (None if sys.pycache_prefix else default_cache_dir())
        if prefix is not None and not is_private(prefix):
            prefix = None
        first_import = FirstImport(prefix)
        globals().pop("__file__", None)  # see `own_modules.OwnModule`; functions below run in front of tracers
        sys.meta_path.insert(index, first_import)
        if prefix is not None:
            sys.pycache_prefix = prefix
        if first_import.silences:
            sys.dont_write_bytecode = True
    except Exception:
        return


def disabled():
    """Return whether the kill switch `PYCACHEHOOK_DISABLE` is set to anything but "", 0, false, no or off."""
    return environ.get("PYCACHEHOOK_DISABLE", "").lower() not in ("", "0", "false", "no", "off")


def has_options():
    """Return whether the environment may set options, which are ignored under `-E` and `-I`."""
    if sys.flags.ignore_environment:
        return False
    return any(name.startswith("PYCACHEHOOK_") and name != "PYCACHEHOOK_DISABLE" for name in environ)


def default_cache_dir():
    """Return the hook's default cache directory in the usual case: the user owns HOME, and nothing else is set."""
    home = environ.get("HOME", "").rstrip("/")
    if effective_user is None or sys.platform == "darwin" or environ.get("XDG_CACHE_HOME") or home[:1] != "/":
        return None
    try:
        return f"{home}/.cache/pycachehook" if lstat(home).st_uid == effective_user() else None
    except OSError:
        return None


def is_private(path):
    """Return whether a quick check shows that only root and this user can change what is in the directory `path`.

    It must also be a cache, or be empty, or may be created. Links, private groups and user namespaces are left to the
    hook, which sets the prefix where this function returns False.
    """
    user = effective_user and effective_user()
    if user == OVERFLOW_USER or (user is not None and path[:1] != "/"):
        return False
    shared = user is None or OPTIONS.get("allow_shared")
    parts = [part for part in path.split("/") if part]
    sticky = False
    try:
        for count in range(0 if shared else len(parts) + 1):
            parent = "/" + "/".join(parts[:count])
            status = lstat(parent)
            sticky = status.st_mode & S_ISVTX and status.st_mode & OTHERS_WRITE
            if status.st_mode & S_IFMT != S_IFDIR or status.st_uid not in (0, user):
                return False
            if status.st_mode & OTHERS_WRITE and (not sticky or count == len(parts)):
                return False
        lstat(path)
    except FileNotFoundError:  # only users who may write to its parent can create it
        return not sticky and not is_in_missing_home(path)
    except OSError:
        return False
    return is_cache(path)


def is_cache(path):
    """Return whether the directory `path` is marked as a cache, or is empty."""
    try:
        lstat(f"{path}{SEP}.pycachehook{SEP}format")
    except OSError:
        try:
            return not listdir(path)
        except OSError:
            return False
    return True


def is_in_missing_home(path):
    """Return whether the home directory, which must not be created, may be missing above `path`."""
    home = environ.get("HOME", "").rstrip("/")
    try:
        lstat(home)
    except OSError:
        return not home or path.startswith(f"{home}/")
    return False


def position(finder):
    """Return the index of `finder` in `sys.meta_path`, or None, without calling `__eq__` of other finders."""
    for index, candidate in enumerate(sys.meta_path):
        if candidate is finder:
            return index
    return None


@hidden
def find_spec(finders, name, path, target):
    """Return the spec of the first finder in `finders` that has one, or None."""
    for finder in finders:
        find = getattr(finder, "find_spec", None)
        if find is None and LEGACY_FINDERS and hasattr(finder, "find_module"):  # which the interpreter calls
            return None
        spec = None if find is None else find(name, path, target)
        if spec is not None:
            return spec
    return None


def is_foreign(error):
    """Return whether `error` was raised by code of the program, such as a signal handler or a trace function.

    One raised by an audit hook (PEP 578), which refuses an operation of this module, does not count.
    """
    try:
        return is_from_foreign_frame(error)
    except BaseException as refusal:  # a hook that refuses access to a traceback
        return type(refusal) is not type(error)


def is_from_foreign_frame(error):
    frames = []
    traceback = error.__traceback__
    while traceback is not None:
        name = str(traceback.tb_frame.f_globals.get("__name__"))
        if frames or (name != __name__ and not name.startswith(("pycachehook", "importlib.", "_frozen_importlib"))):
            frames.append(traceback.tb_frame)
        traceback = traceback.tb_next
    if not frames:
        return False
    kinds = kinds_of_arguments(frames[0])
    is_audit_hook = kinds[:2] == [str, tuple] or (kinds[1:] == [str, tuple] and kinds[0] is not type(frames[0]))
    return not is_audit_hook or any(type(frame) in kinds_of_arguments(frame) for frame in frames[1:])


def kinds_of_arguments(frame):
    """Return the types of the first three positional arguments of the function that runs in `frame`."""
    code, values = frame.f_code, frame.f_locals
    arguments = [values.get(name) for name in code.co_varnames[: code.co_argcount]]
    if code.co_flags & 4:  # *arguments
        arguments += values.get(code.co_varnames[code.co_argcount + code.co_kwonlyargcount]) or ()
    return [type(value) for value in arguments[:3]]


def path_of(name):
    """Return the path of a file in the package."""
    return f"{PACKAGE_FOLDER}{SEP}{name}"


def define_later():
    """Define what `LATER` contains, once, and return True; raises MemoryError.

    Returns False if it is damaged, or an audit hook prevents it (PEP 578).
    """
    global LATER
    later = LATER
    if later:
        try:
            body = memoryview(later)[8:]
            if source_hash(LATER_KEY, body) != later[:8]:
                return False
            code = loads(body)
            if code.co_filename != FILE and fix_filename is not None:  # the environment has been moved
                fix_filename(code, FILE)
            exec(code, globals())
        except (RecursionError, MemoryError):
            raise
        except Exception as error:
            if is_foreign(error):
                raise
            return False
        LATER = b""
    return True


LATER = b""
