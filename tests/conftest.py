"""How hypothesis runs here: the same examples each time, and no clock in the verdict."""

import signal

from hypothesis import HealthCheck, settings

settings.register_profile(
    "ckptd", derandomize=True, deadline=None, suppress_health_check=[HealthCheck.too_slow]
)
settings.load_profile("ckptd")

# A shell lets its background jobs ignore Ctrl-C, and what they start as well.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)
