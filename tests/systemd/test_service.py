"""The installed unit on a real systemd: enabled, reloaded, watched over, stopped, restarted."""

import sys
import time
from datetime import datetime
from pathlib import Path

from box import until
from corpus import write_checkpoint
from laboratory import RUN, SERVICE

HERE = Path(__file__).parents[1]
TRAINING = f"""
import time; from pathlib import Path; from corpus import write_checkpoint
for step in range(60, 160, 10):
    write_checkpoint(Path({RUN!r}), step)
    time.sleep(0.3)
"""


def test_the_unit_is_in_order(box, lab):
    assert box.run("systemd-analyze", "verify", SERVICE).stderr == ""


def test_enabled_it_runs_and_says_what_it_does(lab):
    lab.configure("keep_last = 3\n")
    lab.systemctl("enable", "--now")

    assert lab.property("ActiveState") == "active"
    assert lab.property("UnitFileState") == "enabled"
    assert lab.left(30, 40, 50)
    last = f"last: evict {RUN}/checkpoint-20"
    assert until(lambda: lab.property("StatusText").endswith(last)), lab.property("StatusText")
    assert 'Status: "1 run, 3 checkpoints, ' in lab.systemctl("status")
    first, second = lab.told("evict")
    assert (first["CKPTD_STEP"], second["CKPTD_STEP"]) == ("10", "20")
    assert first["CKPTD_CHECKPOINT"] == f"{RUN}/checkpoint-10"
    assert first["CKPTD_RUN"] == RUN
    assert (first["CKPTD_RULE"], first["CKPTD_OUTCOME"]) == ("keep_last", "done")
    assert first["MESSAGE"].startswith(f"evict {RUN}/checkpoint-10 (step 10, ")


def let_go(lab):
    """The steps that are gone, as told; a save that ends in the midst of an act has it dropped."""
    done = (event for event in lab.told("evict") if event["CKPTD_OUTCOME"] == "done")
    return sorted(int(event["CKPTD_STEP"]) for event in done)


def test_beside_a_training_it_keeps_up(box, lab):
    lab.configure("keep_last = 2\ntrash_for = '0s'\n")
    lab.systemctl("enable", "--now")
    code = f"import sys; sys.path.append({str(HERE)!r})\n{TRAINING}"
    box.run("systemd-run", "--wait", "--collect", sys.executable, "-c", code)

    assert lab.left(140, 150)
    # What is gone is told a moment later, once that is durable.
    assert until(lambda: len(let_go(lab)) >= 13), lab.told("evict")
    assert let_go(lab) == list(range(10, 140, 10))
    shown = box.run("journalctl", "-u", "ckptd", "CKPTD_EVENT=evict", "-o", "cat").stdout
    assert f"evict {RUN}/checkpoint-130 (step 130, " in shown


def test_reload_waits_until_the_configuration_is_in_force(lab):
    lab.configure("keep_last = 5\n")
    lab.systemctl("start")
    returned = []
    for _ in range(5):
        lab.systemctl("reload")
        returned.append(time.time())
    in_force = [datetime.fromisoformat(e["CKPTD_AT"]).timestamp() for e in lab.told("config")]
    lab.configure("keep_last = 2\n")
    lab.systemctl("reload")

    assert [said < back for said, back in zip(in_force, returned, strict=True)] == [True] * 5
    assert lab.left(40, 50)
    assert {event["CKPTD_REASON"] for event in lab.told("evict")} >= {"3rd newest; keep_last is 2"}
    assert lab.property("ActiveState") == "active"


def test_reload_of_a_broken_configuration_fails_and_leaves_the_old_in_force(lab):
    lab.configure("keep_last = 4\n")
    lab.systemctl("start")
    assert lab.left(20, 30, 40, 50)
    process = lab.property("MainPID")
    lab.configure("keep_lst = 1\n")
    reload = lab.box.run("systemctl", "reload", SERVICE, check=False)
    (problem,) = until(lambda: lab.told("config"))

    assert reload.returncode != 0
    assert "/etc/ckptd/ckptd.toml: policy.keep_lst (line 10)" in problem["MESSAGE"]
    assert "the configuration before it stays in force" in problem["MESSAGE"]
    assert (problem["CKPTD_OUTCOME"], problem["PRIORITY"]) == ("failed", "4")
    write_checkpoint(lab.run, 60)
    assert lab.left(30, 40, 50, 60)
    assert (lab.property("ActiveState"), lab.property("MainPID")) == ("active", process)


def test_watchdog_lets_the_living_be_and_restarts_the_stuck(box, lab):
    box.override(SERVICE, WatchdogSec="1s", RestartSec="100ms")
    lab.configure("keep_last = 5\n")
    lab.systemctl("start")
    process = lab.property("MainPID")
    time.sleep(4)
    assert (lab.property("MainPID"), lab.property("NRestarts")) == (process, "0")
    box.run("kill", "-STOP", process)

    assert until(lambda: lab.property("NRestarts") == "1")
    assert until(lambda: lab.property("ActiveState") == "active")
    assert lab.property("MainPID") != process
    ended = box.run("journalctl", f"--unit={SERVICE}", "--no-pager").stdout
    assert "Watchdog timeout" in ended
    assert "Failed with result 'watchdog'" in ended
    write_checkpoint(lab.run, 60)
    assert lab.left(20, 30, 40, 50, 60)


def test_restarted_it_goes_on_where_it_was(lab):
    def told():
        return [event["CKPTD_STEP"] for event in lab.told("evict")]

    lab.configure("keep_last = 3\n")
    lab.systemctl("start")
    assert lab.left(30, 40, 50)
    assert until(lambda: told() == ["10", "20"]), told()
    before = lab.property("MainPID")
    lab.systemctl("restart")

    assert lab.property("ActiveState") == "active"
    assert lab.property("MainPID") != before
    write_checkpoint(lab.run, 60)
    assert lab.left(40, 50, 60)
    assert until(lambda: told() == ["30"]), told()
    assert "not adopted" not in lab.systemctl("status")


def test_stopped_it_ends_at_once(lab):
    lab.configure("keep_last = 3\n")
    lab.systemctl("start")
    assert lab.left(30, 40, 50)
    begun = time.monotonic()
    lab.systemctl("stop")
    took = time.monotonic() - begun

    print(f"stopped in {took:.2f} s")
    assert took < 5
    assert (lab.property("Result"), lab.property("ExecMainStatus")) == ("success", "0")
