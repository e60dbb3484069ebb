"""Gunicorn's configuration, which does not refer to pycachehook."""

import typing

wsgi_app = "shop:create_app()"
bind = "127.0.0.1:0"
workers = 8


def post_worker_init(worker: typing.Any) -> None:
    """Report that a worker has loaded the application."""
    worker.log.info("Worker %s is ready", worker.pid)
