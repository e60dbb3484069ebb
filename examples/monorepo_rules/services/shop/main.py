"""The shop: shows an order as a table."""

from api.orders import ORDER
from basket import show

show(ORDER)
