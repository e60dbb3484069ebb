"""The programs that are started; each does the work of a real program up to its first own line."""

from __future__ import annotations

from dataclasses import dataclass

_DJANGO = """
import django
from django.conf import settings

contrib = ("admin", "auth", "contenttypes", "sessions", "messages", "staticfiles")
settings.configure(
    INSTALLED_APPS=[f"django.contrib.{name}" for name in contrib],
    DATABASES={"default": {"ENGINE": "django.db.backends.sqlite3", "NAME": ":memory:"}},
)
django.setup()
"""


@dataclass(frozen=True)
class Application:
    """A program for `python -c`, and the requirements that pip must install for it."""

    code: str
    requirement: str


APPLICATIONS = {
    "sympy": Application("import sympy", "sympy"),
    "sqlalchemy": Application("import sqlalchemy.orm", "sqlalchemy"),
    "django": Application(_DJANGO, "django"),
    "flask": Application("import flask", "flask"),
    "boto3": Application("import boto3", "boto3"),
    "pandas": Application("import pandas", "pandas"),
    "tiny": Application("import itsdangerous", "itsdangerous"),  # for a test of the benchmarks themselves
}
