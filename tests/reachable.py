"""The way to pytest's directories, which it makes for its own user alone, for other users too."""

import stat
import tempfile
from pathlib import Path


def reachable(place: Path, *, listed: bool = True) -> None:
    """Lets everybody into *place* from above; *listed*: and see what lies on the way.

    How many directories pytest has put there differs: one more when tests run side by side.
    """
    common = Path(tempfile.gettempdir())
    for directory in (place, *place.parents):
        if common not in directory.parents:
            return
        mode = stat.S_IMODE(directory.stat().st_mode)
        directory.chmod(mode | (0o055 if listed else 0o011))
