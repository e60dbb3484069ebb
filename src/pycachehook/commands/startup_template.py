"""The start-up module: activates pycachehook in every process of this environment.

Written by `pycachehook enable`, removed by `pycachehook disable`. `OPTIONS` are the options as resolved at that time; a
`cache_dir` of None means the default of the user who starts Python. This is one long file because a second one would
slow down every start.
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
stat, fstat, lstat = system.stat, system.fstat, system.lstat
effective_user = getattr(system, "geteuid", None)
READ_FLAGS = os.O_RDONLY | getattr(os, "O_BINARY", 0) | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_CLOEXEC", 0)
loads, source_hash, get_ident = marshal.loads, _imp.source_hash, _thread.get_ident
fix_filename = getattr(_imp, "_fix_co_filename", None)
create_builtin, exec_builtin = _imp.create_builtin, _imp.exec_builtin
get_recursion_limit, set_recursion_limit = sys.getrecursionlimit, sys.setrecursionlimit
open_code = _io.open_code
environ = os.environ
ModuleSpec, Module = type(sys.__spec__), type(sys)
importlib, bootstrap = sys.modules["_frozen_importlib_external"], sys.modules["_frozen_importlib"]
SourceFileLoader, PathFinder = importlib.SourceFileLoader, importlib.PathFinder
get_code, source_to_code = SourceFileLoader.get_code, SourceFileLoader.source_to_code

SEP = os.sep
FILE = __file__
FOLDER = FILE.rpartition(SEP)[0]
PACKAGE_FOLDER = PACKAGE if os.path.isabs(PACKAGE) else f"{FOLDER}{SEP}{PACKAGE}"
IMAGE_MAGIC = b"PYCHIMG3"
# The key of the seal depends on the build of Python, so that `marshal` never reads data written by another build.
IMAGE_KEY = (
    int.from_bytes(source_hash(0x50594348, sys.version.encode())[:4], "little") >> 1
)  # a C long has at least 32 bits
LARGEST_IMAGE = 1 << 25  # bytes
S_IFMT, S_IFDIR, S_IFREG, S_ISVTX, OTHERS_WRITE = 0o170000, 0o040000, 0o100000, 0o1000, 0o022
OVERFLOW_USER = 65534  # the id that represents all unmapped users in a user namespace
LAZY_IMPORTS = hasattr(sys, "set_lazy_imports")  # PEP 810
LEGACY_FINDERS = sys.version_info < (3, 12)
FRAMES = 120  # an upper bound for the frames that loading the hook needs
WAIT = 1.0  # seconds

LIBRARY = f"{getattr(os, '__file__', '').rpartition(SEP)[0]}{SEP}"  # "/" if an embedder has no library on disk
PYC_MAGIC = importlib.MAGIC_NUMBER + bytes(4)  # of a timestamp pyc
OPT = f".opt-{sys.flags.optimize}" if sys.flags.optimize else ""
CODE_TYPE = type((lambda: None).__code__)
activated = False
first_import = None  # the finder that `activate` has put into `sys.meta_path`


def hidden(function):
    """Give `function` importlib's file name, so that CPython removes its frame from tracebacks."""
    function.__code__ = function.__code__.replace(co_filename=get_code.__code__.co_filename)
    return function


class FirstImport:
    """A finder that loads the hook at the first import of a plain source module; other starts stay almost free.

    Modules of the standard library that have valid bytecode do not count, if `prefix` is the cache directory, which is
    `sys.pycache_prefix` already; it is None otherwise.
    """

    def __init__(self, original_prefix, prefix):
        self.original_prefix = original_prefix
        self.prefix = prefix
        self.steps = None  # see `spares_library`
        self.lock = _thread.allocate_lock()
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
            return None if self.wrapped else find_spec(sys.meta_path, name, path, target)
        later = [PathFinder] if index is None else sys.meta_path[index + 1 :]
        spec = find_spec(later, name, path, target)
        loader = getattr(spec, "loader", None)
        if type(loader) is not SourceFileLoader:
            return spec
        if is_in_library(loader) and name not in WRITE_BYTECODE and self.spares_library():
            spec.loader = LibraryLoader(loader.name, loader.path)
            return spec
        if not self.load_hook() or not self.done:
            return spec
        later = hook_finders() if index is None else sys.meta_path[index:]
        spec = find_spec(later, name, path, target)
        if name == "pycachehook" and name in sys.modules:  # importlib takes this spec instead of the returned one
            sys.modules[name].__spec__ = spec
        return spec

    def spares_library(self):
        """Return whether modules of the standard library do not count. This records the standard loader's steps."""
        if self.steps is None:
            self.steps = ()
            try:
                present = steps()
                if self.prefix is not None and are_original(present) and leaves_library():
                    self.steps = present
            except RecursionError:
                self.steps = None
                raise
            except Exception as error:
                if is_foreign(error):
                    raise
        return self.steps != ()

    def load_hook(self):
        """Load the hook, even if the stack is almost full, and return whether it could be tried."""
        limit = get_recursion_limit()
        try:
            need(FRAMES)
        except RecursionError:
            set_recursion_limit(limit + FRAMES)
        else:
            return self.load_hook_once()
        try:
            return self.load_hook_once()
        finally:
            set_recursion_limit(limit)

    def load_hook_once(self):
        if not self.lock.acquire(timeout=WAIT):  # two threads import in a circle, or the owner was lost in a fork
            return False
        try:
            self.thread = get_ident()
            if not self.done:  # otherwise another thread has loaded the hook
                self.wrapped = position(self) is None
                self.replace_by_hook()
        except (RecursionError, MemoryError):  # the C stack has a separate limit: try again at the next import
            pass
        finally:
            self.thread = None
            self.lock.release()
        return True

    def replace_by_hook(self):
        """Install the hook, then leave `sys.meta_path`; in this order, because other threads iterate over it."""
        chosen, sys.pycache_prefix = sys.pycache_prefix, self.original_prefix
        try:
            install()
        except BaseException:  # raised by a signal handler or trace function: try again at the next import
            sys.pycache_prefix = chosen
            raise
        self.done = True
        index = position(self)
        if index is not None:
            del sys.meta_path[index]
        if chosen not in (self.original_prefix, self.prefix):  # the program has set it since
            sys.pycache_prefix = chosen


class LibraryLoader(SourceFileLoader):
    """Loads a module of the standard library from its own `__pycache__`, as the hook would, or else by the hook.

    Like the hook's own loader, it equals a standard loader of the same module, and pickles as one.
    """

    def __init__(self, fullname, path):
        self.name, self.path = fullname, path

    def __eq__(self, other):
        alike = type(other) is SourceFileLoader or type(other).__module__ in (__name__, "pycachehook.loader")
        return alike and self.__dict__ == other.__dict__

    __hash__ = SourceFileLoader.__hash__

    def __reduce__(self):
        return SourceFileLoader, (self.name, self.path)

    @hidden
    def get_code(self, fullname):
        """Return the module's code; raises what the standard loader raises."""
        if fullname != self.name:
            self.get_filename(fullname)  # raises ImportError
        if not first_import.done and first_import.thread != get_ident():
            try:
                if len(self.__dict__) == 2:  # noqa: PLR2004 -- `name` and `path`
                    code = library_code(self.path)
                    if code is not None:
                        return code
            except RecursionError:  # the hook needs frames, too, but gets them
                pass
            first_import.load_hook()
        finders = hook_finders()
        if not finders:
            return get_code(self, fullname)
        kind = sys.modules["pycachehook.loader"].CachingLoader
        loader = kind(self.name, self.path, finders[0].pycachehook_runtime.policies)
        loader.__dict__.update(self.__dict__)  # a tool may have replaced steps of this loader alone
        return loader.get_code(fullname)


# Modules that write pycs into source trees: as soon as a program imports one, the hook decides where they are written.
WRITE_BYTECODE = ("compileall", "py_compile")


def leaves_library():
    """Return whether, by the options, a module of the standard library is loaded from its own bytecode if it is valid.

    This is so by default; with `gc` and `compile_ahead`, the hook has something to do at each import.
    """
    defaults = {"gc": "default", "compile_ahead": 0, "rules": (), "archives": (), "open_code": "auto"}
    return (
        sys.implementation.cache_tag is not None
        and not OPEN_CODE_HOOKED
        and OPTIONS.get("in_tree") in ("installed", "all")
        and all(not OPTIONS.get(name) or OPTIONS[name] == value for name, value in defaults.items())
    )


def is_in_library(loader):
    """Return whether a loader is unmodified, and its source lies in the standard library's own directory."""
    path = loader.path
    inside = path[len(LIBRARY) :].split(SEP)
    return (
        path.startswith(LIBRARY)
        and LIBRARY != SEP
        and path[-3:] == ".py"
        and not {"site-packages", "dist-packages", ".."}.intersection(inside)
        and len(loader.__dict__) == 2  # noqa: PLR2004 -- `name` and `path`
    )


def library_code(path):
    """Return the code of the source's own timestamp pyc; None if it is not there, not valid, or not CPython's to judge.

    The conditions are CPython's, and that the pyc is not older than the source by a part of a second.
    """
    folder, _, name = path.rpartition(SEP)
    pyc = f"{folder}{SEP}__pycache__{SEP}{name[:-3]}.{sys.implementation.cache_tag}{OPT}.pyc"
    try:
        if not all(step is original for step, original in zip(steps(), first_import.steps)):  # noqa: B905
            return None
        data, written = read_with_status(pyc)
        source = stat(path)
        stamp = (int(source.st_mtime) & 0xFFFFFFFF).to_bytes(4, "little") + source.st_size.to_bytes(8, "little")[:4]
        if data[:8] != PYC_MAGIC or data[8:16] != stamp or written.st_mtime_ns < source.st_mtime_ns:
            return None
        code = loads(memoryview(data)[16:])
    except RecursionError:
        raise
    except Exception as error:
        if is_foreign(error):
            raise
        return None
    if type(code) is not CODE_TYPE:
        return None
    if code.co_filename != path:
        if fix_filename is None:
            return None
        fix_filename(code, path)
    return code


def steps():
    """Return the functions and modules that the standard loader consists of at present, and the functions' code."""
    present = [getattr(SourceFileLoader, name, None) for name in METHODS]
    present += [getattr(importlib, name, None) for name in FUNCTIONS]
    present.append(getattr(bootstrap, "_call_with_frames_removed", None))
    present += [getattr(step, "__code__", None) for step in present]
    optimize = (source_to_code.__kwdefaults__ or {}).get("_optimize")
    attribute = SourceFileLoader.__getattribute__
    return [*present, attribute, bootstrap, builtins.compile, _io.open_code, optimize, vars(importlib).get("compile")]


def recorded_steps():
    """Return the `steps` as recorded before the program could replace any, for `_compat`; () if there is no record."""
    if first_import is None or not first_import.steps:
        return ()
    *present, _, bootstrap, compiling, opening, optimize, _ = first_import.steps
    return (*present, bootstrap, compiling, opening, {} if optimize is None else {"_optimize": optimize})


def are_original(present):
    """Return whether the `steps` are CPython's own: another tool's `.pth` file may have run before."""
    count = len(METHODS) + len(FUNCTIONS) + 1
    for step, code in zip(present[:count], present[count:]):  # noqa: B905
        if not getattr(code, "co_filename", "").startswith("<frozen importlib") and type(step) is not Module:
            return False
    functions = (builtins.compile, _io.open_code)
    return "compile" not in vars(importlib) and all(type(function) is type(len) for function in functions)


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
            install()
            return
        lstat(path_of("__init__.py"))
        names = [getattr(finder, "__name__", None) for finder in sys.meta_path]
        index = names.index("PathFinder") if "PathFinder" in names else 0  # wrapped by a tool
        prefix = OPTIONS["cache_dir"] or (None if sys.pycache_prefix else default_cache_dir())
        if prefix is not None and not OPTIONS.get("allow_shared") and not is_private(prefix):
            prefix = None
        first_import = FirstImport(sys.pycache_prefix, prefix)
        globals().pop("__file__", None)  # see `own_modules.OwnModule`; functions below run in front of tracers
        sys.meta_path.insert(index, first_import)
        if prefix is not None:
            sys.pycache_prefix = prefix
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

    Links, private groups and user namespaces are left to the hook, which sets the prefix where this function returns
    False.
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
            return not sticky  # only users who may write to its parent can create it
        sticky = status.st_mode & S_ISVTX and status.st_mode & OTHERS_WRITE
        if status.st_mode & S_IFMT != S_IFDIR or status.st_uid not in (0, user):
            return False
        if status.st_mode & OTHERS_WRITE and (not sticky or count == len(parts)):
            return False
    return True


def need(frames):
    """Raise RecursionError if the recursion limit leaves fewer than `frames` frames."""
    if frames:
        need(frames - 1)


def position(finder):
    """Return the index of `finder` in `sys.meta_path`, or None, without calling `__eq__` of other finders."""
    for index, candidate in enumerate(sys.meta_path):
        if candidate is finder:
            return index
    return None


def hook_finders():
    """Return the hook's own finder in a list, which is empty if it is not installed."""
    return [finder for finder in sys.meta_path if "pycachehook_runtime" in vars(type(finder))]


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


def install():
    """Install the hook; does nothing if the pycachehook package has been uninstalled."""
    if disabled():
        return
    gc = builtin("gc")
    collecting = gc.isenabled()
    gc.disable()  # the objects created here stay alive
    try:
        start_up = load()
        if start_up is not None and not start_up(OPTIONS, VERSION, FILE):
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


def builtin(name):
    """Return a new copy of a built-in module: unpatched, and not stored in `sys.modules`."""
    module = create_builtin(ModuleSpec(name, None))
    exec_builtin(module)
    return module


def load():
    """Load the modules of a start and return `start_up`; None if another package of this name, or none, is installed.

    The modules are loaded from their directory without `sys.path` and finders, each before any that imports it.
    """
    if "pycachehook" in sys.modules:
        package_file = getattr(sys.modules["pycachehook"], "__file__", None) or ""
        if package_file.rpartition(SEP)[0] != PACKAGE_FOLDER:
            return None
    made = []
    try:
        for name, path, code in from_image() or from_sources():
            if name not in sys.modules:
                made.append(name)
                module = new_module(name, path)
                if name == "pycachehook._compat":
                    module.RECORDED_STEPS = recorded_steps()
                exec(code, module.__dict__)
                for name_in_module in list(module.__dict__) if LAZY_IMPORTS else ():  # so that none is resolved later
                    getattr(module, name_in_module)
        sys.modules["pycachehook.own_modules"].remember()  # before functions of the others run in front of tracers
        return sys.modules["pycachehook.runtime"].start_up
    except BaseException:
        for name in made:
            sys.modules.pop(name, None)
        raise


def image_path():
    """Return the path of this interpreter's start-up image: the bytecode of all start-up modules in one file."""
    name = FILE.rpartition(SEP)[2]
    return f"{FOLDER}{SEP}__pycache__{SEP}{name[:-3]}.{sys.implementation.cache_tag}{OPT}.image"


def from_image():
    """Return name, path and code of each module in the image; None without a usable image.

    This takes half the time of reading the modules' pycs. The image is used if it was written by this very build of
    Python and from these very sources. A source that has been replaced, written or given another time since then is
    read, and its hash is compared; under `unchecked-hash`, pip's record of the sources takes their place. The seal is verified before anything
    else is done with the image.
    """
    try:
        data = memoryview(read(image_path(), like=FILE))
        body = data[16:]
        if data[:8] != IMAGE_MAGIC or data[8:16] != source_hash(IMAGE_KEY, body):
            return None
        evidence, modules, parts = loads(body)
        for name, digest, stamp in evidence:
            path = path_of(name)
            if stamp != stamp_of(stat(path)) and source_hash(IMAGE_KEY, read(path)) != digest:
                return None
    except (RecursionError, MemoryError):
        raise
    except Exception as error:
        if is_foreign(error):
            raise
        return None
    return unpacked(modules, parts)


def unpacked(modules, parts):
    """Yield name, path and code of each module in an image; then store the modules that a miss needs, as bytes."""
    for name, file, code in modules:
        path = path_of(file)
        if code.co_filename != path and fix_filename is not None:  # the environment has been moved
            fix_filename(code, path)
        yield name, path, code
    own_modules = sys.modules.get("pycachehook.own_modules")
    if own_modules is not None:
        own_modules.IMAGE_PARTS.update({name: (path_of(file), data) for name, file, data in parts})


def from_sources():
    """Yield the same from the sources, or from bytecode that an installer has compiled; nothing is written."""

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


def stamp_of(status):
    """Return the part of a file's status that differs after the file has been written, replaced or given another time."""
    return status.st_ino, status.st_size, status.st_mtime_ns, status.st_ctime_ns


def path_of(name):
    """Return the path of a file in the package."""
    return f"{PACKAGE_FOLDER}{SEP}{name}"


def new_module(name, path):
    """Return a module stored in `sys.modules` and its package, in the state before its code is executed."""
    loader = SourceFileLoader(name, path)
    package, _, tail = name.rpartition(".")
    spec = ModuleSpec(name, loader, origin=path, is_package=not package)
    spec.has_location = True
    module = sys.modules[name] = Module(name)
    module.__spec__, module.__loader__, module.__package__ = spec, loader, package or name
    if package:
        setattr(sys.modules[package], tail, module)
    else:
        module.__path__ = spec.submodule_search_locations = [path.rpartition(SEP)[0]]
    return module


def read(path, like=None):
    """Return the bytes of the file at `path`; raises OSError.

    With `like`, the file's owner must be trusted, or be the owner of the file `like`.
    """
    if like is not None:
        check(lstat(path), (0, effective_user and effective_user(), lstat(like).st_uid))
    if OPTIONS.get("open_code") == "always" or (OPEN_CODE_HOOKED and OPTIONS.get("open_code") != "never"):
        with open_code(path) as file:
            return file.read()
    return read_with_status(path)[0]


def read_with_status(path):
    """Return the bytes of a regular file, and its status; raises OSError."""
    descriptor = open_file(path, READ_FLAGS)
    try:
        status = fstat(descriptor)
        check(status)
        return read_file(descriptor, status.st_size + 1), status
    finally:
        close_file(descriptor)


def check(status, owners=None):
    """Raise OSError unless the file is regular, not too large, and, with `owners`, writable only for one of these."""
    regular = status.st_mode & S_IFMT == S_IFREG
    untrusted = owners and effective_user and (status.st_uid not in owners or status.st_mode & OTHERS_WRITE)
    if untrusted or not regular or status.st_size > LARGEST_IMAGE:
        raise OSError
