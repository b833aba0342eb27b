"""The command line: one file per command. A user's mistake is one line on standard error and exit code 2."""

from __future__ import annotations

import errno
import sys
from typing import NoReturn

from limbeck.errors import LimbeckError

SURROUNDINGS = {errno.EACCES, errno.EDQUOT, errno.EFBIG, errno.ENOSPC, errno.EPERM, errno.EROFS}
INTERRUPTED = 130


def main() -> None:
    """Run the command line."""
    from limbeck.cli.app import UsageError, app

    try:
        code = app(prog_name="limbeck", standalone_mode=False)
    except LimbeckError as error:
        _refuse(str(error))
    except UsageError as error:
        path = "limbeck" if error.ctx is None else error.ctx.command_path
        message = error.format_message().replace("Value error, ", "").rstrip(".")
        if message:  # without any argument the help has been shown instead
            _refuse(f"{message} ({path} --help says more)")
        code = 2
    except OSError as error:
        if error.errno not in SURROUNDINGS:
            raise
        where = f"{error.filename}: " if error.filename else ""
        _refuse(f"{where}{error.strerror}; mend that, and the same command continues")
    if code == INTERRUPTED:
        print("limbeck: stopped; the same command continues from the last checkpoint", file=sys.stderr)
    sys.exit(code)


def _refuse(message: str) -> NoReturn:
    print("limbeck:", " ".join(message.splitlines()), file=sys.stderr)
    sys.exit(2)
