"""Measures for Prometheus: what the last look saw, and what was done since the start."""

from ckptd.prometheus.exporter import Exporter, faults

__all__ = ["Exporter", "faults"]
