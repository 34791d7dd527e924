"""Asking a filesystem that may not answer: in a thread, and waiting for it only so long.

A `stat` on a dead server's filesystem does not return, and nothing ends it from outside. So what
touches such a filesystem is done in a thread of its own. One that stays away too long is left to
itself, and nothing more is asked of that mount until it has come back: so threads do not pile up.
"""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, Final, Generic, TypeVar

from ckptd.errors import StoppedError, UnansweredError
from ckptd.mounts.table import Mount, Mounts, now
from ckptd.units import show_text

# Seconds in which one step may be answered. A busy server takes that long, a dead one longer.
PATIENCE: Final = 5.0
# So long one step of an act may take where other questions are answered meanwhile: unlinking a
# large file takes a server a while.
_PATIENCE_WITH_ACTS: Final = 30.0
# Between two looks at a thread that is waited for.
_TURN: Final = 0.1
# So many filesystems may turn out silent one after the other.
_MOST_SILENT: Final = 20
# So long the end waits for what is under way to end between two of its steps.
_TO_END: Final = 0.3

T = TypeVar("T")
Late = Callable[[Callable[[], Any]], None]


@dataclass(slots=True)
class _Question(Generic[T]):
    """One question under way. `mount` is the one that it waits for now, if that may hang."""

    ask: Callable[[], T]
    mount: Mount | None
    late: Late | None = None
    stirs: int = 1
    done: threading.Event = field(default_factory=threading.Event)
    given_up: bool = False
    came: Callable[[], T] | None = None

    def run(self) -> None:
        _mine.question = self
        try:
            value = self.ask()
        except BaseException as error:  # noqa: BLE001  raised again where it was asked
            self.came = _raising(error)
        else:
            self.came = lambda: value
        finally:
            _has_come(self)

    def step(self) -> None:
        """Something has come: the patience begins anew. Raises StoppedError if nobody waits."""
        if self.given_up:
            raise StoppedError
        self.stirs += 1


@dataclass(frozen=True, slots=True)
class _Silence:
    """A mount that does not answer: since when, and the question that still waits for it."""

    since: datetime
    mount: Mount
    question: _Question[Any]

    def error(self, *, under_way: bool = False) -> UnansweredError:
        since = self.since.astimezone().isoformat(" ", "seconds")
        return UnansweredError(
            f"the filesystem at {show_text(self.mount.point)} ({show_text(self.mount.fstype)}) has"
            f" not answered since {since}, so nothing on it is looked at or let go until it does",
            hint="see to its server, or unmount it: umount --force, umount --lazy",
            under_way=under_way,
        )


@dataclass(slots=True)
class _Known:
    """What is known of this machine's mounts, for all threads."""

    lock: threading.Lock = field(default_factory=threading.Lock)
    silent: dict[int, _Silence] = field(default_factory=dict)  # by the number of the mount
    returned: list[_Question[Any]] = field(default_factory=list)
    ring: Callable[[], None] = lambda: None


class _Mine(threading.local):
    question: _Question[Any] | None = None


_known: Final = _Known()
_mine: Final = _Mine()


def asked(
    path: str,
    ask: Callable[[], T],
    beat: Callable[[], None] = lambda: None,
    *,
    roams: bool = False,
    late: Late | None = None,
) -> T:
    """What *ask* returns, which touches the filesystem of the absolute *path*.

    UnansweredError where that does not answer; *ask* then ends at its next `step`, once it gets
    there. *roams*: it may touch other filesystems as well, each within `reaching`. *beat* is
    called while it is waited for, and what it raises is raised. *late* is called by `collect` once
    an *ask* that was `under_way` has ended, with what then returns its result or raises its error.
    Where nothing may hang, and within another *ask*, this is a plain call.
    """
    mount = now().hanging_at(path)
    if _mine.question is not None:
        with reaching(path):
            return ask()
    _unless_silent(mount)
    if mount is None and not (roams and now().points):
        return ask()
    question = _Question(ask, mount, late)
    _start(question)
    try:
        _wait(question, beat)
    except UnansweredError:
        raise
    except BaseException as error:
        question.given_up = True
        # What was asked to end may have done all it had to.
        if not question.done.wait(_TO_END) or not isinstance(error, StoppedError):
            raise
    if question.came is None:
        raise AssertionError("done, and nothing came")  # pragma: no cover
    return question.came()


def asked_around(ask: Callable[[], T], beat: Callable[[], None] = lambda: None) -> T:
    """What *ask* returns, which may touch any filesystem, each within `reaching`.

    Where one of them turns out not to answer, it is asked anew: by then `reaching` knows that.
    """
    for _ in range(_MOST_SILENT):
        try:
            return asked("/", ask, beat, roams=True)
        except UnansweredError as error:
            if not error.under_way:
                raise
    return asked("/", ask, beat, roams=True)


def step(beat: Callable[[], None] = lambda: None) -> None:
    """Between two steps of what is under way: *beat*, or within `asked` a sign of life.

    Raises StoppedError where nobody waits for it any more.
    """
    if _mine.question is None:
        beat()
    else:
        _mine.question.step()


@contextmanager
def reaching(path: str, mounts: Mounts | None = None) -> Iterator[None]:
    """Meanwhile the filesystem of the absolute real *path* is touched, in these or our *mounts*.

    UnansweredError where it is known not to answer.
    """
    mount = (mounts or now()).hanging_at(path)
    _unless_silent(mount)
    question = _mine.question
    if question is None:
        yield
        return
    question.step()
    before, question.mount = question.mount, mount
    try:
        yield
    finally:
        question.mount = before
        question.stirs += 1


def on_answer(ring: Callable[[], None]) -> None:
    """*ring* is called, from any thread, when a mount that was silent answers again."""
    _known.ring = ring


def collect() -> None:
    """Tells *late* of each question that has returned since it was given up."""
    with _known.lock:
        returned, _known.returned = _known.returned, []
    for question in returned:
        if question.late and question.came:
            question.late(question.came)


def silent() -> tuple[str, ...]:
    """Where the mounts are that do not answer now."""
    return tuple(silence.mount.point for silence in _silences())


def _unless_silent(mount: Mount | None) -> None:
    silence = _known.silent.get(mount.id) if mount else None
    if silence is not None:
        raise silence.error()


def _silences() -> tuple[_Silence, ...]:
    with _known.lock:
        return tuple(_known.silent.values())


def _start(question: _Question[Any]) -> None:
    """In a thread that no signal finds, and that nobody waits for at the end of the process."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, signal.valid_signals())
    try:
        threading.Thread(target=question.run, name="asks", daemon=True).start()
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _wait(question: _Question[Any], beat: Callable[[], None]) -> None:
    """Until it has come. Where nothing can hang, we live as long as it stirs."""
    stirs = quiet = 0
    while not question.done.wait(_TURN):
        quiet = quiet + 1 if question.stirs == stirs else 0
        if question.mount is not None or not quiet:
            beat()
        stirs = question.stirs
        # By turns, not by the clock: a machine that was stopped meanwhile has waited for nothing.
        if _has_waited_enough(question, quiet) and (silence := _given_up(question)):
            raise silence.error(under_way=True)


def _has_waited_enough(question: _Question[Any], quiet: int) -> bool:
    """After so many *quiet* turns; an act is waited for longer while its filesystem answers."""
    each = round(PATIENCE / _TURN)
    if quiet < each or question.mount is None:
        return False
    if question.late is None or quiet * _TURN >= _PATIENCE_WITH_ACTS:
        return True
    return quiet % each == 0 and not _answers(question.mount)


def _answers(mount: Mount) -> bool:
    """Whether it does within a second; who does not remains with it, as every question does."""
    question = _Question(lambda: os.statvfs(mount.point), mount)
    _start(question)
    return question.done.wait(1.0)


def _given_up(question: _Question[Any]) -> _Silence | None:
    """None where nothing can hang, or it has come at this very moment."""
    with _known.lock:
        if question.done.is_set() or question.mount is None:
            return None
        silence = _Silence(datetime.now(UTC), question.mount, question)
        question.given_up = True
        return _known.silent.setdefault(question.mount.id, silence)


def _has_come(question: _Question[Any]) -> None:
    with _known.lock:
        question.done.set()
        mine = [n for n, silence in _known.silent.items() if silence.question is question]
        for number in mine:
            del _known.silent[number]
        if mine:
            _known.returned.append(question)
    if mine:
        _known.ring()


def _raising(error: BaseException) -> Callable[[], Any]:
    def raises() -> Any:
        raise error

    return raises
