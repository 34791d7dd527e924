"""What to watch, from what was seen. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from ckptd.observe import Look
from ckptd.watch import Interest


def targets(look: Look, configured: Sequence[str]) -> Mapping[str, Interest]:
    """Directories to watch: for arrivals all of them; for the end of writing unfinished saves and
    where a configuration lies, the *configured* ones and those of drop-ins.
    """
    seen = {
        **dict.fromkeys(look.directories, Interest.ARRIVALS),
        **dict.fromkeys(look.experiments, Interest.EXPERIMENT),
        **dict.fromkeys(look.writing, Interest.WRITING),
    }
    both = [place for place in configured if place in seen]
    return {
        **dict.fromkeys(configured, Interest.CONFIGURATION),
        **seen,
        **dict.fromkeys(both, Interest.EXPERIMENT),
    }
