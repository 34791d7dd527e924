"""A run in the lower layer of an overlay, as containers have: there nothing can be moved."""

import os
import subprocess
import time

import pytest
from corpus import write_checkpoint
from house import ckptd, names

pytestmark = [
    pytest.mark.root,
    pytest.mark.skipif(os.geteuid() != 0, reason="mounting an overlay needs root"),
]


def mount(*arguments):
    mounted = subprocess.run(["mount", *arguments], capture_output=True, check=False)
    if mounted.returncode:
        pytest.skip(f"no mount allowed here: {mounted.stderr.decode().strip()}")


@pytest.fixture
def run(tmp_path):
    for step in (5, 10):
        write_checkpoint(tmp_path / "low" / "out", step, mtime=time.time() - 1000 + step)
    upper, top = tmp_path / "upper", tmp_path / "top"
    upper.mkdir()
    top.mkdir()
    mount("-t", "tmpfs", "tmpfs", upper)
    (upper / "changes").mkdir()
    (upper / "work").mkdir()
    layers = f"lowerdir={tmp_path}/low,upperdir={upper}/changes,workdir={upper}/work"
    mount("-t", "overlay", "overlay", "-o", f"{layers},redirect_dir=off", top)
    yield top / "out"
    subprocess.run(["umount", top, upper], check=True)


@pytest.mark.parametrize(
    ("trash_for", "ok", "left"),
    [
        pytest.param("1h", False, {"checkpoint-5", "checkpoint-10"}, id="to-the-trash-refused"),
        pytest.param("0s", True, {"checkpoint-10"}, id="at-once-unlinked"),
    ],
)
def test_what_cannot_be_moved_goes_only_where_it_goes_at_once(run, tmp_path, trash_for, ok, left):
    options = {"policy__keep_last": 1, "policy__keep_best": 0, "policy__trash_for": trash_for}
    with ckptd(tmp_path / "state", run, **options) as daemon:
        _, outcomes = daemon.settle(time.monotonic())

    assert [outcome.ok for outcome in outcomes] == [ok]
    assert (outcomes[0].freed_bytes > 0) == ok
    assert names(run) == left
