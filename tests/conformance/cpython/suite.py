"""Which modules of CPython's regression suite are run."""

# Everything that imports, compiles, or starts interpreters. Not every version has every one.
# The first part is what imports; the second what looks at modules, at their code and where it came from.
MODULES = (
    "test_importlib",
    "test_import",
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
)

# Those that say most in little time.
QUICK = ("test_importlib", "test_import", "test_py_compile", "test_pkgutil", "test_runpy", "test_cmd_line_script")

# Modules that are part of another one in all versions here.
ELSEWHERE = {"test_threaded_import": "test_importlib"}
