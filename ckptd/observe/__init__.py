"""Joins listings, formats, disks, processes and memory into one World. Reads; never writes."""

from ckptd.observe.eyes import Eyes, Look
from ckptd.observe.memory import Memory

__all__ = ["Eyes", "Look", "Memory"]
