"""Operating-system functions as they were when this module was loaded.

Programs replace functions of `os`, `time`, `marshal` and `builtins` temporarily: `unittest.mock`, freezegun, pyfakefs,
gevent and eventlet do. CPython's own importlib is immune, because it calls `posix`, `_io` and `marshal` directly. The
code of this package that runs during an import calls the attributes of `system` for the same reason.

`system` is an instance, not a module: freezegun and pyfakefs search the globals of every module for functions and
modules to replace, but do not look inside other objects. `BUILTINS` is a copy of the builtins for modules that run
during an import; a module that assigns it to `__builtins__` does not see later patches of `builtins`.

Start-up module: imports nothing at module level that the interpreter has not already loaded.
"""

import _frozen_importlib_external
import _imp
import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from os import stat_result
    from types import FrameType
    from typing import Any

# The start-up file executes this module with its own copy of the builtins, made before any program could patch them.
BUILTINS: "Any" = dict(globals()["__builtins__"])
__builtins__ = BUILTINS  # also for the functions below

_Builtin: "Any" = type(len)
_WINDOWS = "nt" in sys.builtin_module_names
_Module, _ModuleSpec = type(sys), type(sys.__spec__)
# The start-up file records these before any program can patch them.
_create_builtin, _exec_builtin, _platform, _fs_encoding, _fs_errors = globals().get("RECORDED") or (
    _imp.create_builtin,
    _imp.exec_builtin,
    sys.platform,
    sys.getfilesystemencoding(),
    sys.getfilesystemencodeerrors(),
)

# Names of `posix` and `nt` that the package uses. A name that the platform lacks becomes None.
_OS_NAMES = (
    "access",
    "chmod",
    "close",
    "fchmod",
    "fchown",
    "fstat",
    "getcwd",
    "getegid",
    "geteuid",
    "getgid",
    "getgroups",
    "getpid",
    "getresuid",
    "getuid",
    "getxattr",
    "listdir",
    "lseek",
    "lstat",
    "mkdir",
    "open",
    "read",
    "readlink",
    "register_at_fork",
    "replace",
    "rmdir",
    "stat",
    "strerror",
    "unlink",
    "utime",
    "write",
)
_TIME_NAMES = ("monotonic", "perf_counter_ns", "sleep", "time", "time_ns")
_IMP_NAMES = (
    "_fix_co_filename",
    "acquire_lock",
    "create_dynamic",  # missing in a build without extension modules, as `exec_dynamic`
    "exec_dynamic",
    "extension_suffixes",
    "release_lock",
    "source_hash",
)


class System:
    """Unpatched functions, and the constants of `posix` or `nt`, as attributes; see the module's docstring.

    `os_module` is `posix` or `nt` itself, for its constants; it and the modules of `loads` and `open_code` are those
    that importlib holds, even if a program has replaced them in `sys.modules`. `version` is the interpreter's, as two
    numbers. `os.environ` is not copied, because changes that the program makes to its environment must be seen.
    """

    if TYPE_CHECKING:

        def __getattr__(self, name: str) -> Any: ...

    def __init__(self) -> None:
        self.windows = _WINDOWS
        self.os_module: Any = _of_importlib("nt" if _WINDOWS else "posix", "_os")
        clock = unpatched("time", _TIME_NAMES)
        present = tuple(name for name in _OS_NAMES if hasattr(self.os_module, name))
        functions = unpatched("nt" if _WINDOWS else "posix", present, self.os_module)
        for name in _OS_NAMES:
            setattr(self, name, getattr(functions, name, None))
        for name in _TIME_NAMES:
            setattr(self, name, getattr(clock, name))
        self.get_ident = unpatched("_thread", ("get_ident",)).get_ident
        marshal = unpatched("marshal", ("loads", "dumps"))
        self.loads, self.dumps = marshal.loads, marshal.dumps
        self.open_code = _of_importlib("_io").open_code
        self.file_io = _of_importlib("_io").FileIO
        present = tuple(name for name in _IMP_NAMES if hasattr(_imp, name))
        self.imp = unpatched("_imp", present, _of_importlib("_imp"))
        self.create_dynamic: Any = getattr(self.imp, "create_dynamic", None)
        self.exec_dynamic: Any = getattr(self.imp, "exec_dynamic", None)
        self.platform: str = _platform
        self.version = tuple(sys.version_info[:2])
        self._errors: Any = None  # a copy of `errno`, made when it is first needed
        self.fs_encoding: str = _fs_encoding
        self.fs_errors: str = _fs_errors

    def fsencode(self, path: str) -> bytes:
        """Return `path` encoded as `os.fsencode` encodes it."""
        return path.encode(self.fs_encoding, self.fs_errors)

    def error_number(self, name: str) -> "int | None":
        """Return the number of an error such as `"ELOOP"`, or None if the platform does not define it."""
        if self._errors is None:
            self._errors = builtin_module("errno")
        return getattr(self._errors, name, None)


def _of_importlib(name: str, attribute: str = "") -> "Any":
    """Return the module that CPython's import system itself uses, even if another one is in `sys.modules`."""
    return vars(_frozen_importlib_external).get(attribute or name) or sys.modules[name]


def builtin_module(name: str) -> "Any":
    """Return a new copy of the built-in module `name`, not stored in `sys.modules`; None if it is not built in.

    The copy has the interpreter's own functions (PEP 489), even if those of the module in `sys.modules` have been
    patched: gevent and eventlet replace `time.sleep` in the module itself.
    """
    try:
        module = _create_builtin(_ModuleSpec(name, None))
        _exec_builtin(module)
    except (ImportError, AttributeError, TypeError):
        return sys.modules.get(name)
    return module


def unpatched(name: str, functions: "tuple[str, ...]", module: "Any" = None) -> "Any":
    """Return the built-in module `name` with the interpreter's own `functions`, even if a program has patched them.

    `module` is the module as it is present, if not the one in `sys.modules`.

    gevent and eventlet replace `time.sleep` in the module itself. A second copy of a built-in module (PEP 489) has
    the original functions. A copy costs more than this check, so it is made only if a function is not the module's own.
    """
    module = module or sys.modules.get(name)
    if type(module) is not _Module:
        return builtin_module(name) or __import__(name)
    for function_name in functions:
        function: Any = getattr(module, function_name, None)
        owner = function.__self__ if type(function) is _Builtin else None
        if owner is not module or function.__name__ != function_name:
            return builtin_module(name)
    return module


system = System()

_flag = vars(system.os_module).get
_NO_LINKS: int = _flag("O_NOFOLLOW", 0)
# O_NONBLOCK: opening a FIFO must not block. O_NOFOLLOW: an entry must not be a link out of the cache.
READ_FLAGS: int = _flag("O_RDONLY", 0) | _flag("O_BINARY", 0) | _flag("O_NOINHERIT", 0) | _flag("O_NONBLOCK", 0)
ENTRY_FLAGS: int = READ_FLAGS | _NO_LINKS
_VARARGS = 0x04  # of `co_flags`: the function takes `*args`
S_IFMT, S_IFDIR, S_IFREG, S_IFLNK = 0o170000, 0o040000, 0o100000, 0o120000  # of `st_mode`, as in `stat`


def is_foreign(error: BaseException) -> bool:
    """Return whether `error`, caught by a `try` block of this package, was raised by code outside it.

    A signal handler or a trace function can run between any two instructions, and may raise an `OSError` such as
    `TimeoutError`. That exception belongs to the program and must be raised again. An exception raised by a function
    of the operating system has a traceback that ends in the frame that called the function. So does, apart from the
    frames of the hook, one raised by an audit hook (PEP 578) that refuses an operation of this package.
    """
    return _is_asynchronous(error) if not _foreign_frames(error) else not is_refusal(error)


def is_refusal(error: BaseException) -> bool:
    """Return whether an audit hook (PEP 578) raised `error` to refuse an operation of this package.

    A signal handler or a trace function that runs within such a hook refuses nothing, nor does Ctrl-C.
    """
    frames = _foreign_frames(error)
    if not frames or isinstance(error, KeyboardInterrupt) or not _is_audit_hook(frames[0]):
        return False
    return not any(type(frame) in _kinds_of_arguments(frame) for frame in frames[1:])


def _is_asynchronous(error: BaseException) -> bool:
    """Return whether another thread raised `error`, without a foreign frame, by `PyThreadState_SetAsyncExc`.

    Such an exception has no arguments, unlike an `OSError` of the system; or its class is neither Python's nor ours.
    """
    origin = str(type(error).__module__)
    if origin not in ("builtins", "pycachehook") and not origin.startswith("pycachehook."):
        return True
    return isinstance(error, OSError) and not error.args


def _foreign_frames(error: BaseException) -> "list[FrameType]":
    """Return the frames of the traceback from the first on that does not belong to this package."""
    frames: "list[FrameType]" = []
    traceback = error.__traceback__
    while traceback is not None:
        name = traceback.tb_frame.f_globals.get("__name__")
        if frames or (name != "pycachehook" and not str(name).startswith("pycachehook.")):
            frames.append(traceback.tb_frame)
        traceback = traceback.tb_next
    return frames


def _is_audit_hook(frame: "FrameType") -> bool:
    """Return whether the function of `frame` was called with an event's name and a tuple, perhaps after `self`.

    Signal handlers are called with a number and a frame, trace functions with a frame, an event's name and a value.
    """
    kinds = _kinds_of_arguments(frame)
    return kinds[:2] == [str, tuple] or (kinds[1:] == [str, tuple] and kinds[0] is not type(frame))


def _kinds_of_arguments(frame: "FrameType") -> "list[type]":
    """Return the types of the first three positional arguments, unless the function has bound these names again."""
    code, values = frame.f_code, frame.f_locals
    arguments = [values.get(name) for name in code.co_varnames[: code.co_argcount]]
    if code.co_flags & _VARARGS:
        arguments += values.get(code.co_varnames[code.co_argcount + code.co_kwonlyargcount]) or ()
    return [type(value) for value in arguments[:3]]


def read_file(path: str, flags: int, limit: int | None = None) -> "tuple[bytes, stat_result]":
    """Return a file's bytes and status; raises OSError, also if it is no regular file or exceeds `limit` bytes."""
    # `map` opens and `extend` stores the descriptor in one instruction: no signal handler can raise between the two.
    opened: list[int] = []
    try:
        opened.extend(map(system.open, (path,), (flags,)))
        status = system.fstat(opened[0])
        if status.st_mode & S_IFMT != S_IFREG:
            raise OSError(None, "not a regular file", path)
        if limit is not None and status.st_size > limit:
            raise OSError(None, f"{status.st_size} bytes are too many", path)
        size = status.st_size + 1  # one byte more, so that the same read also detects the end of the file
        data = system.read(opened[0], size)
        if len(data) != status.st_size:
            data = rest_of_file(opened[0], data)
    finally:
        if opened:
            system.close(opened[0])
    return data, status


def read_code_file(path: str, _flags: int, limit: int | None = None) -> "tuple[bytes, stat_result]":
    """Do as `read_file`, but through `io.open_code`, so that an embedder's hook (PEP 578) can inspect and refuse."""
    status = system.lstat(path) if _flags & _NO_LINKS else system.stat(path)
    if status.st_mode & S_IFMT != S_IFREG:
        raise OSError(None, "not a regular file", path)
    if limit is not None and status.st_size > limit:
        raise OSError(None, f"{status.st_size} bytes are too many", path)
    with system.open_code(path) as file:
        return file.read(), status


def rest_of_file(descriptor: int, data: bytes) -> bytes:
    """Return `data`, which was read from an open file, with the rest of the file appended."""
    parts = [data]
    while parts[-1]:
        parts.append(system.read(descriptor, 1 << 20))
    return b"".join(parts)
