"""Letters to customers."""

from collections.abc import Iterable
from email.message import EmailMessage

from api.orders import Line
from money.amounts import shown, total


def letter(address: str, lines: Iterable[Line]) -> EmailMessage:
    """Return the message that says what an order costs."""
    message = EmailMessage()
    message["To"] = address
    message["Subject"] = f"Your order: {shown(total((line.number, line.price) for line in lines))}"
    message.set_content("Thank you.")
    return message
