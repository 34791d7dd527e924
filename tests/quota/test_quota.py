"""Quotas: nothing where there are none, and all of on_disks.py under a kernel that has them."""

import os
import subprocess
import sys
from pathlib import Path

import another_kernel
import pytest

from ckptd.quota import Quota, quotas

ON_DISKS = str(Path(__file__).with_name("on_disks.py"))


@pytest.mark.parametrize(
    ("limit", "used", "free"), [(None, 5, None), (10, 4, 6), (10, 10, 0), (10, 14, 0), (1, 0, 1)]
)
def test_free_is_what_is_left_below_the_limit(limit, used, free):
    assert Quota("user", 1, limit, used, None, 0).bytes_free == free
    assert Quota("user", 1, None, 0, limit, used).inodes_free == free


@pytest.mark.parametrize("path", ["/proc", "/dev/shm", "/sys/not/yet"])
def test_a_filesystem_that_knows_no_quotas_limits_nobody(path):
    assert quotas(path, 1000, 1000) == ()


def test_what_cannot_be_asked_is_empty(tmp_path):
    (tmp_path / "loop").symlink_to("loop")
    assert quotas(str(tmp_path / "loop"), 1000, 1000) == ()


def test_asking_leaves_no_descriptor_open(tmp_path):
    before = len(os.listdir("/proc/self/fd"))
    for _ in range(50):
        quotas(str(tmp_path), 1000, 1000)
    assert len(os.listdir("/proc/self/fd")) == before


@pytest.mark.root
@pytest.mark.slow
@pytest.mark.timeout(300)
def test_quotas_of_real_filesystems(tmp_path):
    # This pytest's options are not for that one: it may have workers, and a report of its own.
    pytest_there = [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", "--tb=short"]
    command = ["/usr/bin/env", "--unset=PYTEST_ADDOPTS", *pytest_there, ON_DISKS]
    if has_quotas(tmp_path):
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        status, told = done.returncode, done.stdout + done.stderr
    elif another_kernel.LINUX:
        (tmp_path / "kernel").mkdir()
        status, told = another_kernel.run(command, tmp_path / "kernel", timeout=280)
    else:
        pytest.skip("needs root and a kernel with quotas, or User-mode Linux, which brings one")
    print(told)
    assert status == 0, told[-4000:]


def has_quotas(tmp_path):
    """Whether a filesystem with quotas can be mounted here."""
    image, point = tmp_path / "image", tmp_path / "point"
    image.touch()
    os.truncate(image, 2**24)
    point.mkdir()
    subprocess.run(["mkfs.ext4", "-q", "-O", "quota", image], capture_output=True, check=False)
    mount = ["mount", "-o", "loop,usrquota", image, point]
    if subprocess.run(mount, capture_output=True, check=False).returncode:
        return False
    subprocess.run(["umount", point], check=True)
    return True
