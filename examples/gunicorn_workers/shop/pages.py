"""The pages."""

from flask import Blueprint, abort, jsonify
from flask.typing import ResponseReturnValue

from shop.goods import GOODS

pages = Blueprint("pages", __name__)


@pages.get("/goods/<name>")
def good(name: str) -> ResponseReturnValue:
    """What one thing costs."""
    if name not in GOODS:
        abort(404)
    return jsonify(name=name, price=str(GOODS[name]))
