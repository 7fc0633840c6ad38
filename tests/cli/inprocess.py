"""The command line in this process, with its exit code: a start of Python costs a second."""

from __future__ import annotations

import contextlib
import io
import signal
import sys
from typing import NamedTuple

from attachtrans.cli import main


class Done(NamedTuple):
    """Exit code, stdout and stderr of a command."""

    code: int
    out: str
    err: str


def call(*arguments: object) -> Done:
    """Run a command as `attachtrans ARGUMENTS`."""
    out, err = io.StringIO(), io.StringIO()
    before, handler = sys.argv, signal.getsignal(signal.SIGTERM)
    sys.argv = ["attachtrans", *map(str, arguments)]
    try:
        with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
            main()
    except SystemExit as end:
        code = end.code or 0
    finally:
        sys.argv = before
        signal.signal(signal.SIGTERM, handler)
    return Done(int(code), out.getvalue(), err.getvalue())
