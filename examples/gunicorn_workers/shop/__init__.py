"""A small shop's web interface."""

from flask import Flask

from shop.pages import pages


def create_app() -> Flask:
    """Return the application."""
    app = Flask(__name__)
    app.register_blueprint(pages)
    return app
