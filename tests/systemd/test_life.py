"""What befalls a service in the long run: broken starts, crashes, a journal that ends, reboots."""

import os
import time

from box import DATA, until
from corpus import set_times, write_checkpoint
from installation import seen
from laboratory import CONFIGURATION, RUN, SERVICE, STEPS

RANKS = 4_000
# Whose command line named the checkpoint would hold it where it lies.
STOPPED = f"""\
until pid=$(systemctl show ckptd --property=MainPID --value) && [ "$pid" != 0 ]; do :; done
while [ -e /data/*/*/checkpoint-10 ]; do :; done
kill -STOP "$pid"
while [ $(find /data -name 'rng_state_*' | wc -l) = {RANKS * len(STEPS)} ]; do
    kill -CONT "$pid"; sleep 0.005; kill -STOP "$pid"
done
"""
POLICY = "keep_last = 2\ntrash_for = '0s'\n"


def test_a_start_with_a_broken_configuration_ends_clearly(box, lab):
    seen(box, CONFIGURATION).write_text("[policy]\nkeep_lst = 1\n")
    lab.systemctl("start", check=False)

    assert until(lambda: lab.property("ActiveState") == "failed", 20)
    assert (lab.property("ExecMainStatus"), lab.property("NRestarts")) == ("2", "0")
    assert "policy.keep_lst (line 2): unknown key" in lab.systemctl("status", check=False)
    lab.configure("keep_last = 3\n")
    lab.systemctl("start")
    assert lab.left(30, 40, 50)


def test_a_crash_loop_goes_on_at_its_pace(box, lab):
    lab.configure("keep_last = 3\n")
    box.override(SERVICE, ExecStart="/bin/sh -c 'exit 1'", RestartSec="50ms")
    lab.systemctl("start", check=False)
    # More often than systemd's own limit, five starts in ten seconds, would let it.
    assert until(lambda: int(lab.property("NRestarts")) > 20, 30)
    assert lab.property("ActiveState") == "activating"
    box.override(SERVICE)
    assert until(lambda: lab.property("ActiveState") == "active", 60)
    assert lab.left(30, 40, 50)


def test_killed_it_comes_back_and_goes_on(box, lab):
    box.override(SERVICE, RestartSec="100ms")
    lab.configure("keep_last = 3\n")
    lab.systemctl("start")
    assert lab.left(30, 40, 50)
    lab.systemctl("kill", "--signal=KILL")
    assert until(lambda: lab.property("NRestarts") == "1", 20)
    write_checkpoint(lab.run, 60)
    assert lab.left(40, 50, 60)


def test_a_journal_that_restarts_has_each_eviction_once(box, lab):
    lab.configure("keep_last = 3\n")
    lab.systemctl("start")
    assert lab.left(30, 40, 50)
    box.run("systemctl", "restart", "systemd-journald.service")
    write_checkpoint(lab.run, 60)
    assert lab.left(40, 50, 60)
    steps = ["10", "20", "30"]
    assert until(lambda: [event["CKPTD_STEP"] for event in lab.told("evict")] == steps, 60)


def test_a_reboot_with_a_purge_half_done_finishes_it(box, lab):
    for step in STEPS:  # what its siblings lack would be a person's
        saved = lab.run / f"checkpoint-{step}"
        state = (saved / "rng_state.pth").read_bytes()
        (saved / "rng_state.pth").unlink()
        for rank in range(RANKS):
            (saved / f"rng_state_{rank}.pth").write_bytes(state)
        set_times(saved, time.time() - 1000 + step)
    lab.configure(POLICY)
    lab.systemctl("enable", "--now", "--no-block")
    box.run("sh", "-c", STOPPED)
    left = left_of_the_purge(box)
    box.reboot("--force", "--force")
    print(f"{left} of {RANKS * 3} files that were to go were left at the reboot")
    assert RANKS * 2 < left < RANKS * 3

    assert until(lambda: box.show(SERVICE, "ActiveState") == "active", 60)
    assert until(lambda: left_of_the_purge(box) == 0, 60)
    assert lab.left(40, 50, run=seen(box, RUN))
    events = box.journal("CKPTD_EVENT=purge", f"CKPTD_CHECKPOINT={RUN}/checkpoint-10")
    assert [event["CKPTD_OUTCOME"] for event in events].count("done") == 1
    lab.run = seen(box, RUN)
    write_checkpoint(lab.run, 60)
    assert lab.left(50, 60)


def test_what_the_journal_loses_with_the_power_is_told_again(box, lab):
    lab.configure("keep_last = 3\n")
    lab.systemctl("enable", "--now")
    assert lab.left(30, 40, 50)
    assert until(lambda: len(lab.told("evict")) == 2)
    # journald writes to the disk every five minutes: what is younger goes with the power.
    box.run("sh", "-c", "rm -rf /var/log/journal/*/*")
    box.reboot("--force", "--force")

    assert until(lambda: box.show(SERVICE, "ActiveState") == "active", 60)
    evicted = ("CKPTD_EVENT=evict", f"CKPTD_RUN={RUN}", "CKPTD_OUTCOME=done")
    lab.run = seen(box, RUN)
    write_checkpoint(lab.run, 60)
    assert lab.left(40, 50, 60)
    assert until(lambda: len(box.journal(*evicted)) >= 3, 60), box.journal(*evicted)
    assert sorted(event["CKPTD_STEP"] for event in box.journal(*evicted)) == ["10", "20", "30"]
    (why,) = until(lambda: box.journal("CKPTD_EVENT=ledger", "CKPTD_RULE=ledger"), 60)
    assert "records it had taken, told again now" in why["MESSAGE"]
    lab.systemctl("restart")
    write_checkpoint(lab.run, 70)
    assert lab.left(50, 60, 70)
    time.sleep(3)  # it asks the journal again, and finds everything there
    steps = sorted(event["CKPTD_STEP"] for event in box.journal(*evicted))
    assert steps == ["10", "20", "30", "40"]


def left_of_the_purge(box):
    """Files of the three that are to go, wherever they lie until they are taken away."""
    walk = os.walk(seen(box, DATA))  # which goes on where a directory has just gone
    all_of_them = sum(name.startswith("rng_state_") for _, _, files in walk for name in files)
    return all_of_them - 2 * RANKS
