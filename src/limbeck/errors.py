"""What can go wrong by a user's hand: one clear line each, shown without a traceback by the command line."""

from __future__ import annotations

import difflib
from collections.abc import Iterable


class LimbeckError(Exception):
    """Something the user can mend. The message says what is wrong, where, and what to do about it."""


class NonFiniteLossError(LimbeckError):
    """A loss term became NaN or infinite; the last good checkpoint is untouched."""


def nearest(name: str, known: Iterable[str], see: str | None = None) -> str:
    """Return `"; did you mean 'x'?"` for the closest known name; if none is close, all names or where to `see` them."""
    names = sorted(known)
    if not names:
        return "; there are none"
    close = difflib.get_close_matches(name, names, n=1, cutoff=0.6)
    if close:
        return f"; did you mean {close[0]!r}?"
    return f"; there are: {', '.join(names)}" if see is None else f"; see {see}"
