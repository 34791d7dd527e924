"""Where a running ckptd leaves what it sees, and where readers look. No socket, no port.

Each daemon keeps one file per user in a directory that only it may write to:
`<uid>.<pid>.json`, 0600, that user's own, replaced atomically. Its own file shows everything, the
others what concerns the runs of one user. Readers import little and trust nothing they read.
"""

from ckptd.status.narrow import narrow
from ckptd.status.reading import Reports, read, stamp

__all__ = ["Reports", "narrow", "read", "stamp"]
