"""A basket on a terminal."""

from collections.abc import Iterable

from api.orders import Line
from money.amounts import shown, total
from rich.console import Console
from rich.table import Table


def show(lines: Iterable[Line]) -> None:
    """Print the lines of an order and their total."""
    lines = list(lines)
    table = Table("what", "number", "price")
    for line in lines:
        table.add_row(line.name, str(line.number), shown(line.price))
    Console().print(table, f"total {shown(total((line.number, line.price) for line in lines))}")
