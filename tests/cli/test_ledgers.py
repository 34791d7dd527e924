"""Where the ledger lies: on a filesystem that other hosts write to, each machine has its own."""

import json
import os
import shutil
import subprocess
import sys
from contextlib import closing, suppress
from sqlite3 import connect

import pytest
from corpus import write_checkpoint

from ckptd import disk
from ckptd.cli import ledgers
from ckptd.ledger import Ledger, Record
from ckptd.mounts import Mount
from ckptd.places import of_this_machine

unshared = pytest.mark.skipif(
    os.geteuid() != 0 or not os.path.exists("/usr/bin/unshare"), reason="needs root and unshare"
)
OPENING = """
import sys
from ckptd.cli import ledgers
from ckptd.ledger import Record
with ledgers.opened(sys.argv[1]) as ledger:
    ledger.note(Record(event="broken", at=1.0, run="/r"))
print(dict(ledgers.view(sys.argv[1]).adopted()))
"""
HOST = """
import sys
from ckptd.ledger import Ledger, Record
from ckptd.places import of_this_machine
state = of_this_machine(sys.argv[1])
with Ledger(state, wal=False) as ledger:
    record = Record(event="evict", at=1.0, checkpoint="/r/" + sys.argv[2], run="/r")
    ledger.intend(record)
    print(state, [r.checkpoint for r in ledger.history()])
"""


@pytest.mark.parametrize(
    "fstype", ["nfs", "nfs4", "lustre", "cifs", "ceph", "fuse.sshfs", disk.UNKNOWN]
)
def test_what_other_hosts_may_write_is_shared(fstype):
    assert Mount(1, 0, (0, 1), "/", fstype).shared


@pytest.mark.parametrize("fstype", ["ext4", "xfs", "btrfs", "zfs", "tmpfs", "overlay"])
def test_what_is_of_this_host_is_not(fstype):
    assert not Mount(1, 0, (0, 1), "/", fstype).shared


def test_on_a_filesystem_of_this_host_the_ledger_lies_where_it_is_looked_for(tmp_path):
    shared = disk.measure(str(tmp_path)).shared
    place = str(tmp_path / "state")
    assert ledgers.directory(place)[0] == (of_this_machine(place) if shared else place)


@pytest.mark.parametrize(
    ("fstype", "block", "hold"),
    [
        ("ext4", 4096, True),
        ("xfs", 4096, True),
        ("tmpfs", 4096, True),
        ("ext4", 1024, False),  # as mkfs makes small ones
        ("btrfs", 4096, False),
        ("zfs", 131072, False),
        ("overlay", 4096, False),  # of what, nobody says
        ("nfs4", 1048576, False),
    ],
)
def test_sqlite_maps_memory_only_where_a_full_disk_has_room_for_it(fstype, block, hold):
    assert disk._maps_hold(fstype, block) is hold


@pytest.mark.root
@pytest.mark.skipif(os.geteuid() != 0, reason="mounting a small filesystem needs root")
@pytest.mark.parametrize("make", [["mkfs.ext4", "-q", "-b", "1024"], ["mkfs.btrfs", "-q"]])
def test_no_full_disk_ends_who_opens_the_ledger(tmp_path, make):
    """With a WAL, SQLite dies of SIGBUS here."""
    if not shutil.which(make[0]):
        pytest.skip(f"{make[0]} is not installed")
    image, point = tmp_path / "image", tmp_path / "disk"
    image.touch()
    os.truncate(image, 128 * 2**20)
    point.mkdir()
    subprocess.run([*make, image], check=True, capture_output=True)
    subprocess.run(["mount", "-o", "loop", image, point], check=True)
    try:
        with ledgers.opened(str(point / "state")) as ledger:
            ledger.adopt("/r", 5)
        with suppress(OSError), (point / "filler").open("wb", buffering=0) as file:
            while file.write(bytes(2**20)):
                pass
        for _ in range(3):
            opening = [sys.executable, "-c", OPENING, point / "state"]
            done = subprocess.run(opening, capture_output=True, text=True, check=False)
            assert done.returncode == 0, done.stderr
            assert done.stdout.strip() == "{'/r': 5}"
    finally:
        subprocess.run(["umount", "--lazy", point], check=True)


@unshared
def test_two_hosts_with_one_home_share_no_slots_and_no_database(tmp_path):
    told = {}
    for host in ("node-1", "node-2", "node-1"):
        enter = ["unshare", "--uts", "sh", "-c", f'hostname {host}; exec "$@"', "sh"]
        command = [*enter, sys.executable, "-c", HOST, tmp_path / "state", host]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if "not permitted" in done.stderr:
            pytest.skip("no namespace of its own allowed here")
        assert done.returncode == 0, done.stderr
        told[host] = done.stdout.split(" ", 1)
    assert {host: place.rpartition("/")[2] for host, (place, _) in told.items()} == {
        "node-1": "host-node-1",
        "node-2": "host-node-2",
    }
    assert told["node-2"][1].strip() == "['/r/node-2']"
    assert told["node-1"][1].strip() == "['/r/node-1', '/r/node-1']", "it found its own again"


@unshared
@pytest.mark.parametrize("name", ["..", "a/b", "x y", ".", "-", "", "\n"])
def test_whatever_a_host_is_called_it_is_one_directory_of_the_state(tmp_path, name):
    program = """if True:
        import socket, sys
        from ckptd.places import of_this_machine
        socket.sethostname(sys.argv[2])
        print(of_this_machine(sys.argv[1]), end="")
    """
    command = ["unshare", "--uts", sys.executable, "-c", program, tmp_path, name]
    place = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    assert os.path.dirname(os.path.realpath(place)) == os.path.realpath(tmp_path)
    assert place.isprintable()


def test_there_the_database_has_no_wal_and_readers_find_it(tmp_path):
    state = of_this_machine(str(tmp_path / "state"))
    with Ledger(state, wal=False) as ledger:
        ledger.note(Record(event="refuse", at=1.0))
        with closing(connect(f"{state}/ledger.db")) as db:
            assert db.execute("PRAGMA journal_mode").fetchone() == ("delete",)
        assert not os.path.exists(f"{state}/ledger.db-wal")
        assert len(list(Ledger.read_only(state).history())) == 1


def test_a_ledger_that_had_a_wal_has_none_once_it_lies_there(tmp_path):
    state = str(tmp_path / "state")
    with Ledger(state) as ledger:
        ledger.note(Record(event="refuse", at=1.0))
    with Ledger(state, wal=False) as ledger:
        ledger.note(Record(event="refuse", at=2.0))
        assert not os.path.exists(f"{state}/ledger.db-wal")
        assert len(list(ledger.history())) == 2


@pytest.fixture
def over_the_network(tmp_path):
    """A FUSE filesystem, which nobody knows to be local."""
    if os.geteuid() != 0 or not os.path.exists("/usr/bin/bindfs"):
        pytest.skip("needs root and bindfs")
    (tmp_path / "real").mkdir()
    (tmp_path / "home").mkdir()
    subprocess.run(["bindfs", tmp_path / "real", tmp_path / "home"], check=True)
    yield tmp_path / "home"
    subprocess.run(["umount", "--lazy", tmp_path / "home"], check=True)


def test_every_command_finds_the_ledger_of_its_machine(over_the_network, tmp_path):
    state, run = over_the_network / "state", tmp_path / "out"
    for step in (5, 10):
        write_checkpoint(run, step, mtime=1_700_000_000 + step)
    rules = ("--keep-last", "1", "--keep-best", "0")
    first = subprocess.run(command("apply", state, *rules, str(run)), check=False)
    assert first.returncode == 0
    assert os.listdir(state) == [os.path.basename(of_this_machine(str(state)))]
    told = subprocess.run(command("history", state, "--json"), capture_output=True, check=True)
    assert "evict" in {event["event"] for event in json.loads(told.stdout)["events"]}
    subprocess.run(command("restore", state, str(run / "checkpoint-5")), check=True)


def command(word, state, *words):
    return [sys.executable, "-m", "ckptd", word, "--state", str(state), *words]
