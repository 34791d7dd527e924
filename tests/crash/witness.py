"""Knows from outside what must be: every checkpoint by its bytes, every act by the history.

Nothing of ckptd is asked where something lies: the directories are read, and each checkpoint is
recognised by its content.
"""

from __future__ import annotations

import hashlib
import os
import re
import sqlite3
from contextlib import closing
from pathlib import Path

from ckptd import trash
from ckptd.ledger import ACTS, Ledger
from ckptd.observe import recalling

HOME, TRASH, ELSEWHERE, GONE = "home", "trash", "elsewhere", "gone"
LEADS_TO = {"evict": TRASH, "set_aside": TRASH, "purge": GONE, "restore": HOME}
_ITEM = re.compile(r"[a-z]{16}")


class Witness:
    """What lay in *place* before the act: `out` is the run, `elsewhere` another directory."""

    def __init__(self, place: Path) -> None:
        self.place = place
        self.known = {}
        for where, path in self._directories():
            name = path.name if where == HOME else self._name_of(path)
            self.known[name] = content(path)

    def _name_of(self, path: Path) -> str:
        (state,) = path.glob("trainer_state.json")
        return "checkpoint-" + re.search(r'"global_step": (\d+)', state.read_text())[1]

    def _shelves(self) -> list[Path]:
        return [path for path in self.place.glob("**/.ckptd-trash/*") if path.is_dir()]

    def _directories(self) -> list[tuple[str, Path]]:
        found = [(HOME, path) for path in self.place.glob("out/checkpoint-*")]
        found += [(ELSEWHERE, path) for path in self.place.glob("elsewhere/*")]
        items = [path for shelf in self._shelves() for path in shelf.iterdir() if path.is_dir()]
        return found + [(TRASH, path) for path in items]

    # --- where everything is ---------------------------------------------------------------

    def where(self) -> dict[str, str]:
        """Where each checkpoint lies whole, once; what is cut lies under no name of its own."""
        found = {}
        for where, path in self._directories():
            here = content(path)
            whole = [name for name, known in self.known.items() if known == here]
            if where == TRASH and path.name.endswith("purging"):
                continue  # it was claimed: from then on it is gone
            assert whole, f"{path} is not whole: {sorted(here)}"
            assert where != HOME or whole[0] == path.name
            assert whole[0] not in found, f"{whole[0]} lies in two places"
            found[whole[0]] = where
        return {name: found.get(name, GONE) for name in self.known}

    # --- after a restart -------------------------------------------------------------------

    def check(
        self,
        state: Path,
        *,
        restarted: float | None = None,
        waiting: bool = False,
        failed: bool = False,
    ) -> None:
        """That the history tells of each act once, and that nothing is left lying about.

        *restarted*: no act was begun after that moment. *waiting*: the database takes nothing.
        *failed*: what the disk refused may have failed, which changed nothing.
        """
        with Ledger(str(state)) as ledger:
            assert all(waiting and "a newer ckptd writes" in alarm for alarm in ledger.alarms)
            assert ledger.unfinished() == ()
            assert waiting or ledger._slots_file.read() == ()
            records = [record for record in ledger.history() if record.event in ACTS]
            recall = recalling(ledger)
            for shelf in self._shelves():
                for item in trash.items(str(shelf.parents[1])):
                    assert (item if item.known else recall(item)).known, f"{item.id}: no record"
        assert len({record.id for record in records}) == len(records)
        self._agrees([r for r in records if not (failed and r.outcome == "failed")])
        for record in records:
            assert restarted is None or record.at < restarted, f"begun after the change: {record}"
        self._is_tidy(state, failed=failed)

    def _agrees(self, records: list) -> None:
        """The history, act by act, leads to where each checkpoint lies."""
        told = dict.fromkeys(self.known, HOME)
        for record in records:
            assert record.outcome in ("done", "dropped"), record
            if record.outcome == "done":
                name = record.checkpoint.rpartition("/")[2]
                to = LEADS_TO[record.event]
                if record.event == "evict" and not record.details.get("place"):
                    to = GONE
                assert told[name] != to, f"done twice: {record}"
                told[name] = ELSEWHERE if "asked for into" in record.reason else to
        assert told == self.where()

    def _is_tidy(self, state: Path, *, failed: bool) -> None:
        for shelf in self._shelves():
            names = {path.name for path in shelf.iterdir()}
            items = {name for name in names if _ITEM.fullmatch(name)}
            left = names - items - {f"{name}.json" for name in items}
            # What the disk let nobody unlink is cleared an hour later.
            assert not left or (failed and all(n.endswith(".json") for n in left)), left
            for other in shelf.parent.iterdir():
                assert other.is_dir() or other.suffix in (".lock", ".intents"), (
                    f"left over: {other}"
                )
        strangers = {p.name for p in self.place.glob("out/*")} - set(self.known)
        assert not strangers, f"left over: {strangers}"
        assert {p.name for p in state.iterdir()} <= {"intents", "ledger.db"}
        with closing(sqlite3.connect(state / "ledger.db")) as db:
            assert db.execute("PRAGMA integrity_check").fetchall() == [("ok",)]


def content(path: Path) -> dict[str, tuple[int, int, str]]:
    """What lies in the directory *path*: kinds, modes, times and bytes, by relative path."""
    found = {}
    for each in [path, *path.rglob("*")]:
        seen = each.lstat()
        data = b"" if each.is_dir() else each.read_bytes()
        key = os.path.relpath(each, path)
        found[key] = (seen.st_mode, seen.st_mtime_ns, hashlib.sha256(data).hexdigest())
    return found
