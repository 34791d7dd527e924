"""What the installed unit takes away from ckptd, and that nothing it needs is among it."""

import json
import sys
from contextlib import contextmanager
from pathlib import Path

import pytest
from box import DATA, until
from installation import PLACE, seen
from laboratory import SERVICE

PROBE = Path(__file__).with_name("probe.py")
TOP = f"{DATA}/of-alice"
FILE = f"{TOP}/run/checkpoint-10/optimizer.pt"
DENIED = "Operation not permitted"
PIN = "import os, sys; os.setxattr(sys.argv[1], 'user.ckptd.pin', b'1')"
MAY = {
    "openat2": True,
    "lease": True,  # somebody has it open
    "of_process": True,
    "as_owner": 2001,
    "pinned": True,
    "group_stays": "0o2770",
    "quota": 0,
    "journalctl": 1,
    "mount": DATA,
}
MAY_NOT = {
    "writes_usr": "Read-only file system",
    "writes_etc": "Read-only file system",
    "writes_proc": "Read-only file system",
    "namespace": DENIED,
    "socket": "Address family not supported by protocol",
}


@pytest.fixture
def private(box, alice):
    """A closed directory of alice's with a run."""
    alice.save(f"{TOP}/run", 10)
    box.run("chown", "alice:alice", TOP)
    box.run("chmod", "0700", TOP)
    yield TOP
    box.run("rm", "-rf", TOP)


@contextmanager
def opened_by(person, path):
    """A process of *person* that has the file open; its number in the box."""
    unit = "holds-it-open.service"
    rights = f"--property=User={person.name}"
    box = person.box
    box.run("systemd-run", f"--unit={unit}", rights, "sh", "-c", f"exec 7<{path}; sleep infinity")
    try:
        pid = box.show(unit, "MainPID")
        assert until(lambda: len(list(seen(box, f"/proc/{pid}/fd").iterdir())) > 3, 10)
        yield pid
    finally:
        box.run("systemctl", "stop", unit)


def test_what_ckptd_needs_works_and_the_rest_is_denied(box, lab, alice, private):
    box.run(sys.executable, "-c", PIN, FILE)
    with opened_by(alice, FILE) as pid:
        command = f"{sys.executable} {PROBE} {FILE} {alice.uid} {pid}"
        settings = {"Type": "oneshot", "Restart": "no", "WatchdogSec": "0", "ExecStart": command}
        box.override(SERVICE, **settings, StandardOutput="truncate:/run/answers")
        lab.systemctl("start")
    answers = json.loads(seen(box, "/run/answers").read_text())
    assert answers == MAY | MAY_NOT


@pytest.mark.parametrize(("parts", "most"), [([], 3.0), (["network"], 3.5), (["quotas"], 3.5)])
def test_exposure_is_what_deleting_for_others_needs(box, lab, program, parts, most):
    program("install", *(f"--with={part}" for part in parts))
    try:
        said = box.run("systemd-analyze", "security", "--no-pager", SERVICE).stdout.splitlines()[-1]
        may_administer = "cap_sys_admin" in lab.property("CapabilityBoundingSet")
        may_ask = "quotactl_fd" in lab.property("SystemCallFilter")
    finally:
        program("install", "--uninstall")
    assert (may_administer, may_ask) == (("quotas" in parts),) * 2
    print(said)
    assert said.startswith("→ Overall exposure level for ckptd.service: ")
    assert float(said.split(": ")[1].split()[0]) <= most


def test_watches_that_come_by_a_reload_are_looked_after_wherever_they_lie(box, lab, alice):
    box.run("systemd-run", "--collect", "mkdir", "-p", "/mnt/late")
    lab.configure("keep_last = 3\n")
    lab.systemctl("enable", "--now")
    assert lab.left(30, 40, 50)
    places = [f"{alice.home}/runs", "/tmp/runs", "/srv/lab", "/mnt/late/runs", "/var/tmp/runs"]
    lab.configure("keep_last = 2\ntrash_for = '1h'\n", DATA, *places)
    lab.systemctl("reload")
    assert lab.left(40, 50)
    box.run("mount", "-t", "tmpfs", "late", "/mnt/late")  # the disk of this watch comes later
    try:
        for place in places:
            run = alice.save(f"{place}/run")
            assert lab.left(40, 50, run=run), place
            (shelf,) = [*run.parents[1].rglob(".ckptd-trash/2001"), *run.parents[0].rglob("2001")][
                :1
            ]
            assert shelf.stat().st_uid == alice.uid
        alice.ckptd("restore", f"{places[0]}/run/checkpoint-30")
        assert lab.left(30, 40, 50, run=seen(box, f"{places[0]}/run"))
    finally:
        lab.systemctl("stop")
        box.run("umount", "/mnt/late")
        box.run("rm", "-rf", *places[:3], places[4])


def test_acts_for_two_people_come_out_as_without_the_hardening(box, lab, alice, bob):
    top = f"{DATA}/home"
    runs = {}
    for person in (alice, bob):
        runs[person] = person.save(f"{top}/{person.name}/run")
        box.run("chown", "-R", f"{person.name}:", f"{top}/{person.name}")
        box.run("chmod", "2700", f"{top}/{person.name}", f"{top}/{person.name}/run")
    (runs[alice] / "checkpoint-10" / "trainer_state.json").unlink()
    box.run(sys.executable, "-c", PIN, f"{top}/bob/run/checkpoint-20")
    with opened_by(bob, f"{top}/bob/run/checkpoint-10/optimizer.pt"):
        lab.configure("keep_last = 2\n", f"{top}/*")
        lab.systemctl("start")
        assert lab.left(40, 50, run=runs[alice])
        assert lab.left(10, 20, 40, 50, run=runs[bob])
    try:
        assert lab.left(20, 40, 50, run=runs[bob])  # it is let go of once it is closed
        events = {(e["CKPTD_RUN"].split("/")[3], e["CKPTD_STEP"]) for e in lab.told("evict")}
        assert events >= {("alice", "20"), ("alice", "30"), ("bob", "10"), ("bob", "30")}
        bob.ckptd("restore", f"{top}/bob/run/checkpoint-30")
        assert lab.left(20, 30, 40, 50, run=runs[bob])
        assert alice.ckptd("restore", f"{top}/bob/run/checkpoint-10", check=False).returncode != 0
        assert runs[bob].stat().st_mode & 0o7777 == 0o2700
        lab.configure("keep_last = 2\ntrash_for = '0s'\n", f"{top}/*")
        assert until(lambda: not [*seen(box, top).glob("*/.ckptd-trash/*/*/*")], 20)
    finally:
        lab.systemctl("stop")
        box.run("rm", "-rf", top)


def test_it_writes_nothing_beside_its_program(box, lab):
    lab.configure("keep_last = 3\n")
    box.run("find", PLACE, "-name", "__pycache__", "-exec", "rm", "-rf", "{}", "+")
    lab.systemctl("start")
    assert lab.left(30, 40, 50)
    assert box.run("find", PLACE, "-name", "__pycache__").stdout == ""
