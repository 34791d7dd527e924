"""The time zone of this process, for tests of what is counted by the clock on the wall."""

import os
import time
from contextlib import contextmanager

BERLIN = "CET-1CEST,M3.5.0,M10.5.0/3"  # as POSIX has it: no time zone database is needed
NEW_YORK = "EST5EDT,M3.2.0,M11.1.0"
KIRITIMATI = "<+14>-14"
BAKER = "<-12>12"


@contextmanager
def zone(tz):
    """Within it local time is that of *tz*."""
    before = os.environ.get("TZ")
    _set(tz)
    try:
        yield
    finally:
        _set(before)


def _set(tz):
    if tz is None:
        os.environ.pop("TZ", None)
    else:
        os.environ["TZ"] = tz
    time.tzset()
