"""Joins listings, formats, disks, processes and memory into one World. Reads; never writes."""

from ckptd.observe.eyes import Eyes, Look
from ckptd.observe.memory import Memory
from ckptd.observe.recall import recalling

__all__ = ["Eyes", "Look", "Memory", "recalling"]
