"""What the journal has: asked of `journalctl`, which answers beside the work."""

from __future__ import annotations

import json
import os
import subprocess
import time
from collections.abc import Collection, Sequence
from contextlib import suppress
from typing import IO, Final

# How long one answer may take, in seconds: the journal may lie on a slow disk in many files.
ANSWER: Final = 15.0
# How long the journal may take to show what it was told last, and how often it is asked.
PATIENCE: Final = 60.0
PAUSE: Final = 1.0


class UnknownError(Exception):
    """What the journal has cannot be learned; the text says why."""


class Doubts:
    """Events that were taken, until it is known which of them the journal lacks.

    Their witness is the first event told after them. When the journal shows that one, it is read
    by us, and shows whatever it will ever have of those before.
    """

    def __init__(self) -> None:
        self._idents: list[str] = []
        self._witness = ""
        self._question: _Question | None = None
        self._next = self._until = 0.0

    def __len__(self) -> int:
        return len(self._idents)

    @property
    def has_witness(self) -> bool:
        """Whether something was told since, so that the journal can be asked."""
        return bool(self._witness)

    def add(self, idents: Sequence[str]) -> None:
        """These are in doubt as well; whoever was told so far bears no witness of them."""
        if idents:
            self._idents += idents
            self._witness = ""
            self._drop_question()

    def told(self, ident: str) -> None:
        """The event *ident* was taken by the journal that is there now."""
        if self._idents and not self._witness:
            self._witness = ident
            self._next, self._until = 0.0, time.monotonic() + PATIENCE

    def lacking(self) -> list[str] | None:
        """The ids of those that the journal lacks, in their order; None when not known yet.

        Never waits. Raises UnknownError when it will not be known.
        """
        if not self._witness:
            return None
        found = self._answer()
        if found is None or self._witness not in found:
            if self._question is None and time.monotonic() > self._until:
                raise UnknownError("journalctl does not show what is told")
            return None
        return [ident for ident in self._idents if ident not in found]

    def clear(self) -> None:
        """Nothing is in doubt any more."""
        self._idents.clear()
        self._witness = ""
        self._drop_question()

    def _answer(self) -> Collection[str] | None:
        now = time.monotonic()
        if self._question is None:
            if now >= self._next:
                self._question, self._next = _Question([*self._idents, self._witness]), now + PAUSE
            return None
        if self._question.is_open:
            return None
        found = self._question.found()
        self._drop_question()
        return found

    def _drop_question(self) -> None:
        if self._question is not None:
            self._question.close()
            self._question = None


class _Question:
    """Which events with these ids the journal has. Raises UnknownError when nobody can be asked.

    It is asked for the ids and not for a time, so no clock that is set misleads it, and the answer
    is never longer than the question.
    """

    def __init__(self, idents: Sequence[str]) -> None:
        asked = [f"CKPTD_ID={ident}" for ident in idents]
        options = ["--quiet", "--no-pager", "--output=json", "--output-fields=CKPTD_ID"]
        self._until = time.monotonic() + ANSWER
        try:
            # In memory: the disk may be full, and nobody empties a pipe between two looks.
            fd = os.memfd_create("answer", os.MFD_CLOEXEC)
            self._answer = open(fd, "w+b", buffering=0)  # noqa: SIM115  until `close`
            self._process = _begun(["journalctl", *options, *asked], self._answer)
        except OSError as error:
            raise UnknownError(f"journalctl cannot be run: {error.strerror}") from error

    @property
    def is_open(self) -> bool:
        """Whether an answer may come still."""
        return self._process.poll() is None and time.monotonic() < self._until

    def found(self) -> Collection[str]:
        """The ids that it answered with; none when it failed."""
        if self._process.poll() != 0:
            return ()
        self._answer.seek(0)
        try:
            return {str(json.loads(line)["CKPTD_ID"]) for line in self._answer}
        except (ValueError, KeyError, TypeError):  # not what journalctl writes
            return ()

    def close(self) -> None:
        """Ends it, answered or not."""
        self._answer.close()
        if self._process.poll() is None:
            self._process.kill()
            with suppress(subprocess.TimeoutExpired):  # a disk that hangs keeps it for a while
                self._process.wait(timeout=0.1)


def _begun(command: Sequence[str], answer: IO[bytes]) -> subprocess.Popen[bytes]:
    try:
        return subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=answer, stderr=subprocess.DEVNULL
        )
    except OSError:
        answer.close()
        raise
