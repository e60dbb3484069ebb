"""What Django's own `runtests.py` does before it runs tests: its settings, applications and databases.

It is copied to the directory of Django's tests, as `conftest.py`.
"""

import os

import pytest


def pytest_configure(config: pytest.Config) -> None:
    """Install the applications of the tests' directories, and make the databases."""
    os.environ["DJANGO_SETTINGS_MODULE"] = "test_sqlite"
    import runtests  # type: ignore[import-not-found]
    from django.test import utils  # type: ignore[import-not-found]

    labels = sorted({argument.split("/")[1] for argument in config.args})
    runtests.setup_run_tests(0, None, None, labels)
    utils.setup_test_environment()
    utils.setup_databases(0, interactive=False)
