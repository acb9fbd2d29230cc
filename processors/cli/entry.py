"""Where the command `hookstream` begins: with the standard library alone, so that it can say what is not installed."""

from __future__ import annotations

import sys

_FAILED = 1


def main() -> None:
    """Run the command line and end the process."""
    try:
        from .main import main as run

        run()
    except ModuleNotFoundError as exc:
        # One of ours that is missing is a defect of the release, and everything else comes with the extra.
        if exc.name is None or exc.name.partition(".")[0] == "hookstream":
            raise
        sys.stderr.write(
            f"hookstream: the command needs `pip install 'hookstream[server]'`; there is no module {exc.name}\n"
        )
        sys.exit(_FAILED)
