"""The packages whose tests are run, and what each needs for it."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Suite:
    """A package whose source distribution has its tests at `tests`, and the packages they need beside pytest.

    `arguments` go to pytest; `prepare` is a script of the tree, with its arguments, that must run first; `unused` is
    then removed from the tree, because the tests would import it instead of the installed package. `version` is a
    constraint; `from_index` says that the package is installed from the index, not built. `scripts`: each file is one
    test, see `run_scripts.py`. `conftest` is a file of this directory that the tests' directory gets.
    """

    name: str
    tests: tuple[str, ...] = ("tests",)
    requirements: tuple[str, ...] = ()
    arguments: tuple[str, ...] = ()
    unused: tuple[str, ...] = ()
    prepare: tuple[str, ...] = ()
    version: str = ""
    from_index: bool = False
    scripts: bool = False
    conftest: str = ""


# The parts of coverage's tests that measure programs, in the same process and in others.
COVERAGE = ("api", "arcs", "concurrency", "context", "coverage", "execfile", "oddball", "plugins", "process", "python")

# The parts of setuptools' tests that build in this process, and need no network.
SETUPTOOLS = (
    "archive_util",
    "build_py",
    "config_discovery",
    "dist",
    "find_packages",
    "find_py_modules",
    "glob",
    "sdist",
)

# Django's tests of applications, of reloading and lazy loading, and of commands and migrations that it imports by name.
DJANGO = ("apps", "app_loading", "utils_tests", "settings_tests", "user_commands", "migrations/test_loader.py")

# gevent's tests of imports, of replacing modules of the standard library before, during and after their use, and of
# processes, that need no network.
GEVENT = (
    *("all__", "compat", "core_fork", "execmodules", "import_blocking_in_greenlet", "import_wait", "issue_728"),
    *("monkey", "monkey_builtins_future", "monkey_futures_thread_fork", "monkey_hub_in_thread", "monkey_logging"),
    *("monkey_module_run", "monkey_multiple_imports", "monkey_queue", "monkey_select", "monkey_selectors"),
    *("monkey_sigchld", "monkey_sigchld_2", "monkey_ssl_warning", "monkey_ssl_warning2", "monkey_ssl_warning3"),
    *("subprocess_poll", "threading_before_monkey", "threading_fork_from_dummy"),
    *("threading_holding_lock_while_monkey", "threading_monkey_in_thread", "threading_native_before_monkey"),
    *("threading_no_monkey", "threading_shutdown_atexit"),
)

# virtualenv's tests of its own configuration, of interpreters that it asks, and of imports in a new environment.
VIRTUALENV = ("config", "create/via_global_ref", "discovery", "test_run.py", "test_util.py")

# IPython's tests of its own imports, reloads, and programs that it runs.
IPYTHON = (
    *("compilerop", "completerlib", "deepreload", "extension", "imports", "importstring", "module_paths", "oinspect"),
    *("run", "syspathcontext", "ultratb", "zzz_autoreload"),
)

PYTEST_REQUIREMENTS = ("argcomplete", "attrs", "hypothesis", "mock", "pexpect", "pygments", "pytest-xdist", "xmlschema")

SUITES = {
    suite.name: suite
    for suite in (
        Suite("attrs", requirements=("cloudpickle", "hypothesis", "pympler"), arguments=("--hypothesis-seed=0",)),
        Suite("beartype", ("beartype_test",)),
        Suite("click"),
        Suite(
            "coverage",
            tuple(f"tests/test_{name}.py" for name in COVERAGE),
            requirements=("flaky", "hypothesis", "pytest-xdist", "setuptools"),
            arguments=("-n0", "-o", "addopts=-p no:legacypath --no-flaky-report"),
            unused=("coverage", "coverage.egg-info"),
            prepare=("tools/igor.py", "zip_mods"),
        ),
        Suite("dill", ("dill/tests",), scripts=True),
        Suite(
            "django",
            tuple(f"tests/{name}" for name in DJANGO),
            # test_xoptions expects another command line than `python -m pytest`
            arguments=("-o", "python_files=tests.py test_*.py", "-o", "pythonpath=tests", "-k", "not test_xoptions"),
            from_index=True,
            conftest="django_conftest.py",
        ),
        Suite(
            "eventlet",
            ("tests/patcher_test.py", "tests/greenio_test.py"),
            # the others expect that a host does not answer
            arguments=("-o", "python_files=*_test.py", "-k", "not connect_timeout and not connect_ex_timeout"),
        ),
        Suite("flask", requirements=("asgiref", "greenlet", "python-dotenv", "pytest<9")),
        Suite("freezegun"),
        Suite("gevent", tuple(f"src/gevent/tests/test__{n}.py" for n in GEVENT), from_index=True, scripts=True),
        Suite("hy"),
        Suite("importlib-metadata", requirements=("packaging", "pyfakefs", "setuptools")),
        Suite("importlib-resources", ("importlib_resources/tests",), requirements=("jaraco.test", "zipp")),
        Suite(
            "ipython",
            tuple(f"tests/test_{name}.py" for name in IPYTHON),
            requirements=("pytest-asyncio", "setuptools", "testpath"),
        ),
        Suite("jinja2", requirements=("trio",)),
        Suite("lazy-loader"),
        Suite("packaging", requirements=("hypothesis", "pretend", "tomli_w")),
        Suite("pluggy", ("testing",), requirements=("pytest-benchmark",)),
        Suite("pytest", ("testing",), requirements=(*PYTEST_REQUIREMENTS, "requests", "setuptools")),
        Suite("pyfakefs", ("pyfakefs/tests",)),
        Suite(
            "setuptools",
            tuple(f"setuptools/tests/test_{name}.py" for name in SETUPTOOLS),
            requirements=(
                "build",
                "coverage",
                "ini2toml[lite]",
                "jaraco.envs",
                "jaraco.path",
                "jaraco.test",
                "pytest-home",
                "wheel",
            ),
            arguments=("-o", "addopts="),
        ),
        Suite(
            "virtualenv",
            tuple(f"tests/unit/{name}" for name in VIRTUALENV),
            requirements=("flaky", "pytest-env", "pytest-mock", "pytest-timeout", "setuptools", "time-machine"),
            version="<20.36",  # later ones need a build dependency that not every index has
        ),
        Suite("wrapt", ("tests/core",)),
        Suite("typeguard", requirements=("mypy", "typing_extensions")),
    )
}
