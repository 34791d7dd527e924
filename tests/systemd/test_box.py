"""The box itself: what it shows of this machine, and that nothing of it stays."""

import os
import signal
import subprocess
import sys
from pathlib import Path

from box import DATA, booted, cgroup_removed, until

import ckptd

HERE = Path(__file__).parents[1]
KILLED = """
import sys, time
from pathlib import Path
from box import booted
with booted(Path(sys.argv[1])) as box:
    print(box.root, flush=True)
    time.sleep(60)
"""


def test_ckptd_in_the_box_is_the_one_under_test(box):
    code = "import ckptd; print(ckptd.__file__)"
    assert box.run(sys.executable, "-c", code).stdout.strip() == ckptd.__file__


def test_nothing_in_the_box_has_failed(box):
    assert box.run("systemctl", "is-system-running").stdout == "running\n"


def test_what_is_written_in_the_box_stays_in_it(box):
    box.run("touch", "/etc/of-the-box", f"{DATA}/of-the-box")

    assert (box.root / "etc/of-the-box").exists()
    assert (box.data / "of-the-box").exists()
    assert not os.path.exists("/etc/of-the-box")
    box.run("rm", "/etc/of-the-box", f"{DATA}/of-the-box")


def test_box_that_is_left_leaves_nothing(tmp_path):
    before = cgroups(os.getpid())
    with booted(tmp_path) as box:
        root = box.root
        assert disks(tmp_path)
        assert len(cgroups(os.getpid())) > len(before)
    assert not root.exists()
    assert until(lambda: not disks(tmp_path), 10)
    assert cgroups(os.getpid()) == before


def test_box_of_a_run_that_is_killed_is_killed(tmp_path):
    environment = os.environ | {"PYTHONPATH": f"{HERE}:{Path(ckptd.__file__).parents[1]}"}
    command = [sys.executable, "-c", KILLED, tmp_path]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment) as run:
        root = Path(run.stdout.readline().strip())
        assert (root / "etc").is_dir()
        run.send_signal(signal.SIGKILL)
    assert until(lambda: not root.exists(), 10)
    assert until(lambda: not disks(tmp_path), 10)
    assert until(lambda: all(cgroup_removed(top) for top in cgroups(run.pid)), 10)


def disks(place):
    """The loop devices that the box at *place* has its disk on."""
    lines = subprocess.check_output(["losetup", "--all"], text=True).splitlines()
    return [line for line in lines if str(place) in line]


def cgroups(pid):
    """The cgroups of the boxes that process *pid* has booted."""
    return {str(path) for path in Path("/sys/fs/cgroup").glob(f"**/ckptd-box-{pid}-*")}
