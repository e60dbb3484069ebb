"""A menu as a page."""

import io

from rich.console import Console
from rich.table import Table

from menu.prices import with_tax


def page(dishes: dict[str, str]) -> str:
    """Return HTML with a line for each dish, by its price before tax."""
    table = Table("dish", "price", title="Today")
    for dish, price in dishes.items():
        table.add_row(dish, with_tax(price))
    console = Console(record=True, file=io.StringIO(), width=40)
    console.print(table)
    return console.export_html()
