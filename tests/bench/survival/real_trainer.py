"""The real Trainer of `tests/e2e/train.py`, which notes its saves and how it died.

Run as a process of its own: `real_trainer.py --log FILE`, then the options of train.py.
"""

from __future__ import annotations

import sys
import time
from pathlib import Path

sys.path.append(str(Path(__file__).parents[2]))
from bench.survival.diary import Diary
from bench.survival.trainer import taken
from e2e import train
from transformers import TrainerCallback

# What torch says of a full disk when it writes a zip: no errno, no word of the disk.
FULL = ("No space left on device", "unexpected pos", "os error 28")


class Noting(TrainerCallback):
    """Notes each save when it was whole: callbacks come after the Trainer has rotated."""

    def __init__(self, diary: Diary) -> None:
        self.diary = diary

    def on_save(self, arguments, state, control, **_: object) -> None:
        place = Path(arguments.output_dir, f"checkpoint-{state.global_step}")
        whole = (place / "trainer_state.json").stat().st_mtime
        at = time.monotonic() - (time.time() - whole)
        step = state.global_step
        self.diary.note("begun", at=at, step=step)
        self.diary.note("saved", at=at, step=step, loss=None, **taken(place))


def main() -> int:
    _, option, log, *rest = sys.argv
    assert option == "--log"
    sys.argv = [train.__file__, *rest]
    diary = Diary(Path(log))
    options = train.parsed()
    trainer = train.built(options)
    trainer.add_callback(Noting(diary))
    try:
        trainer.train()
    except Exception as error:
        if any(words in str(error) for words in FULL):
            diary.note("begun", step=None)
            diary.note("enospc", step=None, error=str(error))
        raise
    return 0


if __name__ == "__main__":
    sys.exit(main())
