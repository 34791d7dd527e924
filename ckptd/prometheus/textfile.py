"""A file that another program reads at any moment: whole or not at all, for all to read."""

from __future__ import annotations

import os
from contextlib import suppress


def put(path: str, content: bytes) -> None:
    """*content* in the place of what was at *path*. Raises OSError, and leaves nothing behind."""
    directory, name = os.path.split(path)
    temporary = os.path.join(directory, f".{name}.{os.getpid()}")  # ends otherwise: nobody reads it
    with suppress(FileNotFoundError):
        os.unlink(temporary)
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
    try:
        with open(os.open(temporary, flags, 0o644), "wb") as file:
            os.fchmod(file.fileno(), 0o644)  # whatever the umask is: node_exporter is another user
            file.write(content)
        os.rename(temporary, path)
    except OSError:
        with suppress(OSError):
            os.unlink(temporary)
        raise
