"""What must exist, known from outside: by what the trainings said they saved, never by ckptd.

All that it demands of a run only ever grows: a save as new as the newest that was whole, one as
good as the best, whatever a person pinned, opened, renamed or wrote into. So a look that meets the
files in motion is repeated, and what is still missing then is lost.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

SEEN_BY = 4.0  # seconds in which ckptd comes to know of a person's act
PATIENCE = 3.0


@dataclass(frozen=True)
class Save:
    step: int
    loss: float
    files: dict[str, int]

    def is_whole(self, place: Path) -> bool:
        try:
            return all((place / name).stat().st_size == n for name, n in self.files.items())
        except OSError:
            return False


@dataclass
class Run:
    """One run as its training and the people around it know it."""

    path: Path
    firm: int = 1  # so many of the newest stay, whatever the drop-ins say
    begun: dict[int, Save] = field(default_factory=dict)
    whole: set[int] = field(default_factory=set)  # said to be so, by the training itself
    kept: dict[Path, Save] = field(default_factory=dict)  # wanted by a person
    wishes: dict[Path, tuple[Save, float]] = field(default_factory=dict)  # and since when
    paths: list[Path] = field(default_factory=list)  # that it had before

    def place(self, step: int) -> Path:
        return self.path / f"checkpoint-{step}"

    def there(self) -> dict[int, Save]:
        """The whole saves that lie in it now."""
        names = [place.name.partition("-")[2] for place in self.path.glob("checkpoint-*")]
        found = {int(name): self.begun.get(int(name)) for name in names if name.isdigit()}
        return {s: save for s, save in found.items() if save and save.is_whole(self.place(s))}

    def keep(self, place: Path, save: Save) -> None:
        """A person wants *place*, which holds *save*, and which nobody else knows."""
        self.kept[place] = save

    def wish(self, place: Path, save: Save) -> None:
        """A person wants *place*. It must stay if it is still there once ckptd knows of it."""
        self.kept[place] = save
        self.wishes[place] = save, time.monotonic()

    def move(self, new: Path) -> None:
        """A person renames its directory."""
        old, self.path = self.path, new
        old.rename(new)
        self.paths.append(old)
        for held in (self.kept, self.wishes):
            moved = {new / place.name: wanted for place, wanted in held.items()}
            held.clear()
            held.update(moved)

    # --- demands ------------------------------------------------------------------------------

    def lacks(self, whole: set[int]) -> Iterator[str]:
        """What is missing, in words. *whole* are the steps that were whole before the look."""
        there = self.there()
        newest = sorted(whole)[-self.firm :]
        for nth, step in enumerate(newest):
            if sum(other >= step for other in there) < len(newest) - nth:
                yield f"{self.path}: no {len(newest) - nth} saves from step {step} on"
        best = min((self.begun[step].loss for step in whole), default=None)
        if best is not None and all(save.loss > best for save in there.values()):
            yield f"{self.path}: no save with a loss of {best} or less"
        for place, save in list(self.kept.items()):
            if not self._is_wish(place) and not save.is_whole(place):
                yield f"{place}: a person wants it, and it is gone or not whole"

    def _is_wish(self, place: Path) -> bool:
        """Whether it is no more than that yet; what went before ckptd knew is wanted no longer."""
        save, since = self.wishes.get(place, (None, 0.0))
        if save is None:
            return False
        if time.monotonic() - since > SEEN_BY:
            del self.wishes[place]
            if not save.is_whole(place):
                del self.kept[place]
        return True

    def cut(self, whole: set[int]) -> Iterator[str]:
        """Saves that were whole, and of which a part is missing under their own name."""
        for step in whole:
            place = self.place(step)
            if place.is_dir() and not self.begun[step].is_whole(place) and place.is_dir():
                yield f"{place}: a part of it is gone"

    def violations(self) -> list[str]:
        before = set(self.whole)
        return lasting(lambda: [*self.lacks(before), *self.cut(before)])


def lasting(look: Callable[[], list[str]]) -> list[str]:
    """What *look* finds again and again until it is no matter of the moment."""
    found, until = look(), time.monotonic() + PATIENCE
    while found and time.monotonic() < until:
        time.sleep(0.1)
        found = [one for one in look() if one in found]
    return found
