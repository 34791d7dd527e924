"""One run: its saves judged, its trainer's pointers, who uses it."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace

from ckptd import beneath, formats, scan
from ckptd.errors import UnreadableError
from ckptd.model import (
    CALM,
    Checkpoint,
    Entry,
    Findings,
    Health,
    Kind,
    Role,
    Run,
    Saved,
    Series,
    Unreadable,
    Use,
)
from ckptd.observe import facts, judging
from ckptd.observe.judging import Judged
from ckptd.observe.memory import Memory
from ckptd.observe.patience import SPENT
from ckptd.observe.rights import rights
from ckptd.observe.save import Moment, Save, Surroundings, find
from ckptd.policy.facts import CLOCK_SLACK
from ckptd.policy.foresight import is_finished
from ckptd.policy.links import Holding
from ckptd.policy.rhythm import rhythm
from ckptd.units import show_text


@dataclass(frozen=True, slots=True)
class Seen:
    """A run, what in it could not be read, and what further looks need."""

    run: Run
    unreadable: tuple[Unreadable, ...]
    writing: tuple[str, ...]  # directories of saves that are not complete, for the watcher
    unsure: bool  # some judgement needs to know who uses what


def see(found: scan.FoundRun, around: Surroundings, memory: Memory) -> Seen:
    """Looks at one run. Raises UnreadableError when its directory cannot be opened."""
    saves: list[Save] = []
    unreadable: list[Unreadable] = []
    with _directory(found.path) as run_fd:
        stat = os.fstat(run_fd)
        for claimed in found.claims:
            around.beat()
            if around.is_over(stat.st_uid):
                unreadable.append(Unreadable(f"{found.path}/{claimed[1].name}", SPENT))
                continue
            try:
                with rights(stat, run_fd, claimed[1].name, mixed=around.watch.mixed_owners):
                    save = find(run_fd, found.path, claimed, around, memory)
            except UnreadableError as error:
                unreadable.append(Unreadable(f"{found.path}/{claimed[1].name}", str(error)))
            else:
                saves += [save] if save else []
    live_users = _users_of_run(found.path, around)
    live = bool(around.command_lives or live_users)
    alone = judging.alone(saves, around)
    judging.meet(found.path, live_users, alone, around, memory)
    judged = judging.with_witnesses(found.path, alone, around, memory, live=live)
    judging.remember(found.path, judged, memory, around.at)
    checkpoints = _with_divergences(
        sorted(
            (_checkpoint(found.path, save, judged, around, memory) for save in saves),
            key=lambda checkpoint: checkpoint.order,
        ),
        saves,
    )
    run = _run(found, stat, checkpoints, saves, around)
    saves_known = _saves_known(run, around, memory)
    pace = rhythm(saves_known)
    run = replace(
        run,
        live=live,
        attended=memory.trainers.is_there(found.path, around.at.monotonic),
        users=live_users,
        calm=_calm(run),
        saves=saves_known,
        next_save_bytes=pace.bytes if pace else 0,
        save_interval_seconds=pace.seconds if pace else None,
    )
    run = replace(run, finished=is_finished(run, around.at.now, around.policy.finished_after))
    return Seen(
        run,
        tuple(unreadable),
        tuple(judging.writing(found.path, judged)),
        judging.unsure(found.path, judged, around, memory),
    )


@contextmanager
def _directory(path: str) -> Iterator[int]:
    try:
        fd = beneath.open_directory(path)
    except OSError as error:
        raise UnreadableError(f"{show_text(path)} cannot be opened: {error.strerror}") from error
    try:
        yield fd
    finally:
        os.close(fd)


# --- values ------------------------------------------------------------------------------


def _checkpoint(
    run: str, save: Save, judged: Sequence[Judged], around: Surroundings, memory: Memory
) -> Checkpoint:
    own = next(j for j in judged if j.save is save)
    siblings = [
        j.save.findings for j in judged if j.health is Health.COMPLETE and j.save is not save
    ]
    path = f"{run}/{save.claim.name}"
    found = save.findings
    return Checkpoint(
        path=path,
        name=save.claim.name,
        identity=save.identity,
        format=save.format.name,
        step=found.step,
        bytes=save.tree.allocated,
        saved_at=found.saved_at,
        health=own.health,
        evidence=own.evidence,
        uid=save.tree.root.uid,
        age=_age_of(run, save, memory, around.at),
        parts=found.parts,
        metrics=found.metrics,
        pinned=save.pinned,
        slim=bool(siblings) and _slim(found) and not all(map(_slim, siblings)),
        weights_whole=found.weights_whole,
        recorded_best=found.best.name if found.best else None,
        uses=_uses(path, save, around),
        foreign=facts.foreign(save.tree, found, siblings),
        unseen=_unseen(save, around),
        shared=sum(file.bytes for file in save.tree.linked),
        linked=save.tree.linked,
        inodes=save.tree.inodes,
    )


def _with_divergences(
    checkpoints: Sequence[Checkpoint], saves: Sequence[Save]
) -> tuple[Checkpoint, ...]:
    """*checkpoints*, oldest first, and whether their training had diverged."""
    findings = {save.claim.name: save.findings for save in saves}
    complete = [c.name for c in checkpoints if c.complete]
    told = facts.divergences([findings[name] for name in complete])
    of = dict(zip(complete, told, strict=True))
    return tuple(replace(c, divergence=of.get(c.name)) for c in checkpoints)


def _slim(found: Findings) -> bool:
    return not any(part.role in (Role.OPTIMIZER, Role.RNG) for part in found.parts)


def _age_of(run: str, save: Save, memory: Memory, at: Moment) -> float:
    seen = memory.sightings[(run, save.claim.name)]
    if seen.complete_since is not None:
        return at.monotonic - seen.complete_since
    return max(0.0, (at.now - save.findings.saved_at).total_seconds())


def _uses(path: str, save: Save, around: Surroundings) -> tuple[Use, ...]:
    """Who uses a save. A lease knows that somebody does, /proc may know who."""
    wanted = (Use("named"),) if around.wants(path) else ()
    if around.snapshot is None:
        return wanted
    uses = (*around.snapshot.uses(path), *wanted)
    if save.locked and not any(use.how == "lock" for use in uses):
        uses = (*uses, Use("lock"))
    if save.open_somewhere and not any(use.how in ("open", "mapped") for use in uses):
        uses = (*uses, Use("open"))
    return uses


def _unseen(save: Save, around: Surroundings) -> bool:
    """Whether neither a lease nor /proc tells who uses a save: it is another user's."""
    hidden = around.snapshot is not None and bool(around.snapshot.blind)
    # Even root may not look into a process with more capabilities, but it may ask for leases.
    return hidden and save.open_somewhere is None and save.tree.root.uid != os.geteuid()


def _users_of_run(run: str, around: Surroundings) -> tuple[Use, ...]:
    return around.snapshot.uses(run) if around.snapshot else ()


def _run(
    found: scan.FoundRun,
    stat: os.stat_result,
    checkpoints: tuple[Checkpoint, ...],
    saves: Sequence[Save],
    around: Surroundings,
) -> Run:
    names = [c.name for c in checkpoints]
    series = [c for c in checkpoints if c.complete]
    newest = [s.findings for s in saves if series and s.claim.name == series[-1].name]
    format_ = saves[0].format if saves else formats.REGISTRY[0]
    return Run(
        path=found.path,
        watch=around.watch.path,
        filesystem=around.filesystem.path,
        format=format_.name,
        device=stat.st_dev,
        inode=stat.st_ino,
        uid=stat.st_uid,
        gid=stat.st_gid,
        checkpoints=checkpoints,
        best_metric=facts.best_metric([s.findings for s in saves]),
        pointers=facts.pointers(_links(found, saves), found.path, names),
        trainer_limit=newest[0].trainer_limit if newest else None,
        exports=format_.exports(found.children),
        policy_from=around.policy_from,
        mixed_owners=around.watch.mixed_owners,
        trusted=format_.proven or format_.name in around.trust,
        leases=not around.filesystem.shared,
    )


def _saves_known(run: Run, around: Surroundings, memory: Memory) -> tuple[Saved, ...]:
    """The whole saves that lie there and those that are remembered.

    One from the future is left out: it would be the newest for ever.
    """
    if run.path not in memory.saves:
        memory.add_saves(run.path, around.past(run.path))
    latest = (around.at.now + CLOCK_SLACK).timestamp()
    known = memory.add_saves(run.path, _written(run.complete, memory.saves[run.path]))
    return tuple(save for save in known if save.saved_at <= latest)


def _written(complete: Series, before: Sequence[Saved]) -> Iterator[Saved]:
    """What each save has written: not what it links of an older one, also where that is gone."""
    known = {(save.name, save.saved_at): save.bytes for save in before}
    holding = Holding()
    for c in complete:
        saved_at, size = c.saved_at.timestamp(), holding.add(c)
        if c.linked:
            size = min(size, known.get((c.name, saved_at), size))
        yield Saved(c.name, c.step, size, saved_at)


def _links(found: scan.FoundRun, saves: Sequence[Save]) -> Iterator[Entry]:
    """Beside the saves and in them: some link what did not change to where it lay before."""
    yield from found.children
    for save in saves:
        for entry in save.tree.entries:
            if entry.kind is Kind.SYMLINK:
                yield replace(entry, path=f"{save.claim.name}/{entry.path}")


def _calm(run: Run) -> float:
    """Seconds for which nothing is let go yet, counted from the newest completion."""
    ages = [c.age for c in run.complete]
    return max(0.0, CALM - min(ages)) if ages else 0.0
