"""Orders as defined by the interface. Generated: do not edit."""

from typing import NamedTuple


class Line(NamedTuple):
    """A line of an order; the price is in cents."""

    name: str
    number: int
    price: int


ORDER = (Line("Notebook", 3, 450), Line("Pencil", 10, 85), Line("Lamp", 1, 3990))
