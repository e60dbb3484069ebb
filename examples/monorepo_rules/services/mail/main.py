"""The mailer: writes the letter for an order."""

from api.orders import ORDER
from letter import letter

print(letter("you@example.org", ORDER))
