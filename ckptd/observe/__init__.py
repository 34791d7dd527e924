"""Joins listings, formats, disks, processes and memory into one World. Reads; never writes."""

from ckptd.observe.eyes import Eyes
from ckptd.observe.gaze import Look
from ckptd.observe.memory import Memory
from ckptd.observe.recall import as_its_owner_may_say, recalling

__all__ = ["Eyes", "Look", "Memory", "as_its_owner_may_say", "recalling"]
