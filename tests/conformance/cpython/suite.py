"""The modules of CPython's regression suite that are run."""

# All modules that test imports, compilation, or starting interpreters. No version has all of them.
# The first part tests imports; the second examines modules, their code and its location; the third observes or replaces
# what an import does: debuggers, tracing, audit hooks, the collector, executors, generated code, embedding.
MODULES = (
    "test_importlib",
    "test_import",
    "test_lazy_import",
    "test_py_compile",
    "test_compileall",
    "test_pkgutil",
    "test_runpy",
    "test_cmd_line_script",
    "test_zipimport",
    "test_zipimport_support",
    "test_inspect",
    "test_linecache",
    "test_traceback",
    "test_source_encoding",
    "test_multiprocessing_spawn",
    "test_multiprocessing_forkserver",
    "test_multiprocessing_main_handling",
    "test_interpreters",
    "test_venv",
    "test_site",
    "test_modulefinder",
    "test_threaded_import",
    "test_cmd_line",
    "test_pkg",
    "test_module",
    "test_frozen",
    "test_zipapp",
    "test_trace",
    "test_pyclbr",
    "test_pydoc",
    "test_doctest",
    "test_warnings",
    "test_unittest",
    "test_sys",
    "test_compile",
    "test_code",
    "test_marshal",
    "test_bdb",
    "test_pdb",
    "test_sys_settrace",
    "test_monitoring",
    "test_audit",
    "test_gc",
    "test_concurrent_futures",
    "test_dataclasses",
    "test_typing",
    "test_ast",
    "test_faulthandler",
    "test_embed",
)

# The modules that test most in little time.
QUICK = ("test_importlib", "test_import", "test_py_compile", "test_pkgutil", "test_runpy", "test_cmd_line_script")

# Those without process pools and virtual environments, which take most of the time.
MEDIUM = tuple(
    name
    for name in MODULES
    if not name.startswith(("test_multiprocessing", "test_concurrent_futures", "test_venv", "test_interpreters"))
)

# Modules that another module includes in all versions used here.
ELSEWHERE = {"test_threaded_import": "test_importlib"}
