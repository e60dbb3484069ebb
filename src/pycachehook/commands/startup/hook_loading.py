"""The hook is loaded from the start-up image, or from the sources of the package."""

from .activation import *
from .library import *

# The key of the seal depends on the build of Python, so that `marshal` never reads data written by another build.
IMAGE_KEY = int.from_bytes(source_hash(0x50594348, PYTHON_BUILD)[:4], "little") >> 1  # a C long has at least 32 bits
IMAGE_MAGIC = b"PYCHIMG3"
LARGEST_IMAGE = 1 << 25  # bytes
WAIT = 1.0  # seconds


def load_hook():
    """Load the hook, even if the stack is almost full, and return whether it could be tried."""
    limit = get_recursion_limit()
    try:
        need(FRAMES)
    except RecursionError:
        set_recursion_limit(limit + FRAMES)
    else:
        return load_hook_once()
    try:
        return load_hook_once()
    finally:
        set_recursion_limit(limit)


def load_hook_once():
    taken = True
    try:
        taken = first_import.lock.acquire(timeout=WAIT)
        if not taken:  # two threads import in a circle, or the owner was lost in a fork
            return False
        first_import.thread = get_ident()
        if not first_import.done:  # otherwise another thread has loaded the hook
            first_import.wrapped = position(first_import) is None
            replace_by_hook()
    except (RecursionError, MemoryError):  # the C stack has a separate limit: try again at the next import
        pass
    finally:
        if taken:
            release()
    return True


def release():
    """Release the lock, unless a signal handler raised an exception before it was taken."""
    if first_import.thread == get_ident():
        first_import.thread = None
    try:  # noqa: SIM105 -- imports nothing
        first_import.lock.release()
    except RuntimeError:  # not the owner
        pass


def replace_by_hook():
    """Install the hook, then leave `sys.meta_path`; in this order, because other threads iterate over it."""
    chosen, sys.pycache_prefix = sys.pycache_prefix, first_import.original_prefix
    silent = sys.dont_write_bytecode
    if first_import.silences:
        sys.dont_write_bytecode = False
    try:
        install()
    except BaseException:  # raised by a signal handler or trace function: try again at the next import
        sys.pycache_prefix, sys.dont_write_bytecode = chosen, silent
        raise
    first_import.leave()
    if chosen not in (first_import.original_prefix, first_import.prefix):  # the program has set it since
        sys.pycache_prefix = chosen


def need(frames):
    """Raise RecursionError if the recursion limit leaves fewer than `frames` frames."""
    if frames:
        need(frames - 1)


def hook_finders():
    """Return the hook's own finder in a list, which is empty if it is not installed."""
    return [finder for finder in sys.meta_path if "pycachehook_runtime" in vars(type(finder))]


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


def builtin(name):
    """Return a new copy of a built-in module: unpatched, and not stored in `sys.modules`."""
    module = create_builtin(ModuleSpec(name, None))
    exec_builtin(module)
    return module


def load():
    """Load the modules of a start and return `start_up`; None if another package of this name, or none, is installed.

    None also if the program has removed even `sys` from `sys.modules`: an import statement would make a bare one. The
    modules are loaded from their directory without `sys.path` and finders, each before any that imports it.
    """
    if sys.modules.get("sys") is not sys:
        return None
    if "pycachehook" in sys.modules:
        package = sys.modules["pycachehook"]
        package_file = (getattr(package, "__file__", None) if isinstance(package, Module) else None) or ""
        if package_file.rpartition(SEP)[0] != PACKAGE_FOLDER:
            return None
    made = []
    try:
        for name, path, code in from_image() or from_sources():
            if name not in sys.modules:
                made.append(name)
                execute(name, path, code)
        sys.modules["pycachehook.own_modules"].remember()  # before functions of the others run in front of tracers
        return sys.modules["pycachehook.runtime"].start_up
    except BaseException:
        for name in made:
            sys.modules.pop(name, None)
        raise


def execute(name, path, code):
    """Make a module and execute its code with the builtins, modules and functions that the start-up module has seen."""
    module = new_module(name, path)
    module.__builtins__ = {**__builtins__, "__import__": import_original, "__lazy_import__": import_original}
    if name == "pycachehook._compat":
        module.RECORDED_STEPS = recorded_steps()
    elif name == "pycachehook.system":
        module.RECORDED = create_builtin, exec_builtin, *PLATFORM
    exec(code, module.__dict__)
    for name_in_module in list(module.__dict__) if LAZY_IMPORTS else ():  # so that none is resolved later
        getattr(module, name_in_module)


def import_original(name, globals=None, locals=None, fromlist=(), level=0):  # noqa: A002 -- as `__import__`
    """Replace `__import__` for the modules of a start: it ignores what a program has put into `sys.modules`."""
    module = None if level else ORIGINALS.get(name)
    return __builtins__["__import__"](name, globals, locals, fromlist, level) if module is None else module


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


def new_module(name, path):
    """Return a module stored in `sys.modules` and its package, in the state before its code is executed."""
    loader = SourceFileLoader(name, path)
    package, _, tail = name.rpartition(".")
    spec = ModuleSpec(name, loader, origin=path, is_package=not package)
    spec._set_fileattr = True  # noqa: SLF001 -- `has_location` would call `bool`, which a program may have replaced
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
