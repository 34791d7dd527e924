"""Values of the model in one line each, for tests that decide. All ages count back from NOW."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

from ckptd.model import (
    ActionKind,
    Checkpoint,
    Divergence,
    Filesystem,
    Health,
    Identity,
    Run,
    Saved,
    TrashItem,
    World,
)
from ckptd.policy import Policies, Policy, plan
from ckptd.units import parse_duration

NOW = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
GIB = 2**30
RUN = "/data/a"
DISK = "/data"
EVIDENCE = {
    Health.WRITING: "model.safetensors grew 2 s ago",
    Health.COMPLETE: "trainer_state.json is the newest file",
    Health.BROKEN: "optimizer.pt is cut off",
    Health.UNPROVEN: "there is no trainer_state.json",
}


def ago(age):
    """The moment *age* (seconds, or a text such as `3h` or `-1h`) before NOW."""
    if isinstance(age, str):
        seconds = parse_duration(age.lstrip("-")) * (-1 if age.startswith("-") else 1)
    else:
        seconds = age
    return NOW - timedelta(seconds=seconds)


def ck(step, loss=None, age="3h", health="complete", **fields):
    """A checkpoint of RUN, 1 GiB, saved *age* ago; `run` moves it to where that run lies."""
    saved_at = fields.pop("saved_at", None) or ago(age)
    name = fields.pop("name", f"checkpoint-{step}")
    health = Health(health)
    defaults = {
        "bytes": GIB,
        "evidence": EVIDENCE[health],
        "age": max(0.0, (NOW - saved_at).total_seconds()),
        "metrics": {} if loss is None else {"eval_loss": loss},
    }
    return Checkpoint(
        path=f"{RUN}/{name}",
        name=name,
        identity=Identity(1, 1, name),
        format="huggingface",
        step=step,
        saved_at=saved_at,
        health=health,
        **(defaults | fields),
    )


def series(*steps, every="1min"):
    """Complete checkpoints of these steps, in this order of time, the last one *every* ago."""
    gap = parse_duration(every)
    return tuple(ck(step, age=gap * back) for step, back in zip(steps, _down(steps), strict=True))


def lost(since, *, finite_at=None, proven=True, what="grad_norm"):
    """A divergence at *since*; the last finite number was logged a step before if not said."""
    return Divergence(what, "nan", since, since - 1 if finite_at is None else finite_at, proven)


def _down(steps):
    return range(len(steps), 0, -1)


def run(*checkpoints, path=RUN, **fields):
    """An adopted run with these checkpoints, in their order."""
    here = [replace(c, path=f"{path}/{c.name}") for c in checkpoints]
    defaults = {
        "watch": DISK,
        "filesystem": DISK,
        "format": "huggingface",
        "device": 1,
        "inode": 1,
        "uid": 1000,
        "adopted": True,
    }
    ordered = tuple(sorted(here, key=lambda c: c.order))
    defaults["saves"] = saves_of(ordered)
    return Run(path=path, checkpoints=ordered, **(defaults | fields))


def saves_of(checkpoints):
    """What is known of the saves that lie there."""
    past = (c for c in checkpoints if c.complete and c.saved_at <= NOW)
    return tuple(Saved(c.name, c.step, c.bytes, c.saved_at.timestamp()) for c in past)


def disk(percent=50.0, total=100 * GIB, path=DISK, **fields):
    """A filesystem of *total* bytes with *percent* of them used."""
    used = int(total * percent / 100)
    defaults = {"mount": path, "fstype": "ext4", "inodes_total": 10**6, "inodes_free": 10**6}
    return Filesystem(path=path, total=total, used=used, free=total - used, **(defaults | fields))


def trashed(step, age="3h", since="10min", action="evict", **fields):
    """A checkpoint of RUN saved *age* ago that has been in the trash *since* then."""
    defaults = {
        "id": f"id-{step}",
        "place": DISK,
        "uid": 1000,
        "run": RUN,
        "name": f"checkpoint-{step}",
        "bytes": GIB,
        "filesystem": DISK,
    }
    return TrashItem(
        step=step,
        saved_at=ago(age),
        trashed_at=ago(since),
        action=ActionKind(action),
        **(defaults | fields),
    )


def world(*runs, used=50.0, trash=(), filesystems=None, **fields):
    """These runs on one disk of 100 GiB, *used* percent of it in use."""
    filesystems = (disk(used),) if filesystems is None else tuple(filesystems)
    return World(runs=runs, filesystems=filesystems, trash=tuple(trash), **fields)


def plan_of(world, policy=None, before=frozenset(), now=NOW, **policies):
    """The plan that *policy* (the default one if None) makes of *world*."""
    default = Policy() if policy is None else policy
    return plan(world, Policies(default=default, **policies), frozenset(before), now)


def kept(plan):
    """Names of the checkpoints that *plan* leaves where they are."""
    return {v.checkpoint.name for v in plan.verdicts if v.action is ActionKind.KEEP}


def verdict_on(plan, name):
    """The verdict of *plan* on the checkpoint called *name*."""
    return next(v for v in plan.verdicts if v.checkpoint.name == name)
