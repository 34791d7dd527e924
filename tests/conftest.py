"""How hypothesis runs here: the same examples each time, and no clock in the verdict."""

from hypothesis import HealthCheck, settings

settings.register_profile(
    "ckptd", derandomize=True, deadline=None, suppress_health_check=[HealthCheck.too_slow]
)
settings.load_profile("ckptd")
