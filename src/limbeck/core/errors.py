from limbeck.errors import LimbeckError as LimbeckError
from limbeck.errors import NonFiniteLossError as NonFiniteLossError
from limbeck.errors import nearest as nearest
