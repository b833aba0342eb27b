"""A process that makes runs: orders come on standard input, events go to standard output, a JSON line each.

`python -m limbeck.studies.worker` is started by `Processes`. It ends when its input does, also in the middle of a run,
so that nothing goes on writing when the study has been killed.
"""

from __future__ import annotations

import json
import os
import sys
import threading
from queue import SimpleQueue

from limbeck.studies.orders import Event, Order, execute


def main() -> None:
    """Take orders until there are no more."""
    # what a user's own class prints must not come between the events
    events = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)
    orders: SimpleQueue[Order] = SimpleQueue()
    threading.Thread(target=_read, args=(orders,), daemon=True).start()

    def report(event: Event) -> None:
        events.write(json.dumps(event) + "\n")
        events.flush()

    while True:
        execute(orders.get(), report)


def _read(orders: SimpleQueue[Order]) -> None:
    for line in sys.stdin:
        orders.put(Order(*json.loads(line)))
    os._exit(0)


if __name__ == "__main__":
    main()
