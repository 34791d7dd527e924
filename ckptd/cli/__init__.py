"""Arguments to calls, errors to exit status."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from typing import Final

from ckptd.cli.parser import parse
from ckptd.errors import CkptdError

INTERRUPTED: Final = 130


def main(argv: Sequence[str] | None = None) -> int:
    """Runs one command line; returns its exit status (listed in `ckptd --help`)."""
    arguments = parse(sys.argv[1:] if argv is None else list(argv))
    try:
        status: int = arguments.run(arguments)
        sys.stdout.flush()
    except CkptdError as error:
        from ckptd.cli.start import complain

        complain(error)
        return error.exit_status
    except BrokenPipeError:
        # Whoever read our output has gone; the interpreter must not complain of it at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except OSError as error:
        from ckptd.cli.start import complain

        complain(error)
        return 1
    except KeyboardInterrupt:
        return INTERRUPTED
    return status
