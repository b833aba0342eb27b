"""The command line: one file per command. A user's mistake is one line on standard error and exit code 2."""

from __future__ import annotations

import sys

from limbeck.errors import LimbeckError


def main() -> None:
    """Run the command line."""
    from limbeck.cli.app import app

    try:
        app()
    except LimbeckError as error:
        print(f"limbeck: {error}", file=sys.stderr)
        sys.exit(2)
    except KeyboardInterrupt:
        print("limbeck: stopped; the same command continues from the last checkpoint", file=sys.stderr)
        sys.exit(130)
