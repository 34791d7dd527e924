"""Saves that share files by hard links, on real files: what they take, and what goes together."""

import os
import time
from dataclasses import replace

import pytest
from checked import mounted
from corpus import write_checkpoint
from house import ckptd, names, planned

from ckptd import scan

MIB = 2**20
HEAVY = ("adapter_model.safetensors", "optimizer.pt")


def write_pairs(run, count):
    """Each second save links the weights and the optimizer of the one before it."""
    for nth in range(1, count + 1):
        write_checkpoint(run, nth, size=MIB, mtime=time.time() - 600 * (count - nth) - 60)
        if nth % 2 == 0:
            for name in HEAVY:
                (run / f"checkpoint-{nth}" / name).unlink()
                os.link(run / f"checkpoint-{nth - 1}" / name, run / f"checkpoint-{nth}" / name)
    return run


def pressed(tmp_path, told):
    """A ckptd over what lies there, which must let go of half of it."""
    held = scan.weigh(str(tmp_path / "data"))
    config = tmp_path / "ckptd.toml"
    config.write_text(
        f'[[watch]]\npath = "{tmp_path / "data"}"\nadopt = "all"\ncapacity = "{held}B"\n'
    )
    options = {"disk__high": "60%", "disk__low": "52%", "disk__hard": "95%"}
    return ckptd(tmp_path / "state", config_file=config, told=told, **options)


def rewrite(part):
    """In place, with its size and its time put back: only the kernel knows."""
    seen = part.stat()
    with part.open("r+b") as file:
        file.seek(-8, os.SEEK_END)
        file.write(b"precious")
    os.utime(part, ns=(seen.st_atime_ns, seen.st_mtime_ns))


@pytest.mark.parametrize("part", ["rng_state.pth", "optimizer.pt"], ids=["its own", "the shared"])
@pytest.mark.parametrize("after", [0, 1], ids=["before its partner goes", "after that"])
def test_a_partner_that_somebody_rewrites_meanwhile_stays(tmp_path, part, after):
    run = write_pairs(tmp_path / "data" / "out", 8)
    told = []
    with pressed(tmp_path, told) as daemon:
        plan = planned(daemon)
        first, second = plan.actions[:2]
        acts = daemon.hands.execute(replace(plan, actions=(first, second)))
        if after:
            next(acts)
        rewrite(run / second.checkpoint.name / part)
        outcomes = list(acts)

    assert {first.checkpoint.step, second.checkpoint.step} in ({1, 2}, {3, 4})
    assert not outcomes[-1].ok
    assert second.checkpoint.name in names(run)


def test_pairs_go_together_and_one_plan_is_enough(tmp_path):
    run = write_pairs(tmp_path / "data" / "out", 8)
    held = scan.weigh(str(tmp_path / "data"))
    told = []
    with pressed(tmp_path, told) as daemon:
        outcomes = list(daemon.hands.execute(planned(daemon)))

    assert {o.action.checkpoint.step for o in outcomes} == {1, 2, 3, 4}
    assert [r for r in told if r.event == "refuse"] == []
    assert names(run) == {f"checkpoint-{step}" for step in (5, 6, 7, 8)}
    assert sum(o.freed_bytes for o in outcomes) == pytest.approx(held / 2, rel=0.05)


def test_a_save_has_written_what_it_does_not_link(tmp_path):
    run = write_pairs(tmp_path / "out", 4)
    with ckptd(tmp_path / "state", run) as daemon:
        (seen,) = daemon.eyes.look(users=False).world.runs
        daemon._look()
        remembered = [save.bytes for save in daemon.ledger.saves(str(run))]
    written = [save.bytes for save in seen.saves]

    assert [size > MIB for size in written] == [True, False, True, False]
    assert remembered == written
    with ckptd(tmp_path / "state", run) as daemon:  # also where what it links has lost its first
        (run / "checkpoint-1").rename(tmp_path / "checkpoint-1")
        (seen,) = daemon.eyes.look(users=False).world.runs
    assert [save.bytes for save in seen.saves] == written


@pytest.mark.root
def test_what_a_save_links_is_written_by_nobody(tmp_path):
    with mounted(tmp_path / "disk", "size=256m") as place:
        run = write_pairs(place / "out", 1)
        with ckptd(tmp_path / "state", place) as daemon:
            for count in range(2, 8):
                run_ = write_checkpoint(run, count, size=8 * MIB)
                if count % 2:
                    for name in HEAVY:
                        (run_ / name).unlink()
                        os.link(run / f"checkpoint-{count - 1}" / name, run_ / name)
                (seen,) = daemon.eyes.look(users=False).world.filesystems
                time.sleep(0.25)
            assert seen.writes < MIB, "the saves are 12 MiB a second"
