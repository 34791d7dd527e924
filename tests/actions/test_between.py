"""What happens between plan and act: seen at whichever moment it comes, nothing is lost by it.

Three moments: after the plan; after the second look; after the intent, which waits for the disk.
"""

import os
import re
import shutil
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import pytest
from corpus import write_checkpoint
from house import ckptd, planned
from terminal import contents

from ckptd import audit, beneath

MOMENTS = ("plan", "look", "intent")
VICTIM = "checkpoint-50"


class Then:
    """Something of ckptd that lets *change* happen once *name* of it has answered."""

    def __init__(self, inner, name, change):
        self._inner, self._name, self._change = inner, name, change

    def __getattr__(self, name):
        if name != self._name:
            return getattr(self._inner, name)
        return self._and_then

    def _and_then(self, *arguments, **options):
        answer = getattr(self._inner, self._name)(*arguments, **options)
        change, self._change = self._change, lambda: None
        change()
        return answer


def act(run, moment, change, **options):
    """Carries out what lets go of VICTIM, *change* coming at *moment*: outcome and sentences."""
    told = []
    options = {"policy__keep_last": 1, "policy__keep_best": 0} | options
    with ckptd(run.parents[1] / "state", run, told=told, **options) as daemon:
        decided = planned(daemon)
        decided = replace(decided, actions=decided.actions[:1])
        assert [Path(action.path).name for action in decided.actions] == [VICTIM]
        hands = {
            "plan": daemon.hands,
            "look": replace(daemon.hands, eyes=Then(daemon.eyes, "look_at", change)),
            "intent": replace(daemon.hands, ledger=Then(daemon.ledger, "intend", change)),
        }[moment]
        if moment == "plan":
            change()
        (outcome,) = hands.execute(decided)
        assert not list(daemon.ledger.unfinished())
    return outcome, [audit.sentence(record) for record in told]


@pytest.fixture
def run(tmp_path):
    for step in (50, 100, 150):
        write_checkpoint(tmp_path / "data" / "out", step, mtime=time.time() - 1000 + step)
    return tmp_path / "data" / "out"


@pytest.fixture
def started():
    """Processes that the test starts; they end with it."""
    running = []
    yield running
    for process in running:
        process.kill()
        process.communicate()


# --- what may come in between --------------------------------------------------------------


def using(program, *words):
    def change(run, started):
        victim = str(run / VICTIM)
        text = f"{program};print('so',flush=True);import sys;sys.stdin.read()"
        pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
        command = [sys.executable, "-c", text.format(victim), *(w.format(victim) for w in words)]
        started.append(subprocess.Popen(command, **pipes))
        started[-1].stdout.readline()
        return run / VICTIM

    return change


def slowly(change):
    """*change*, while the intent waits for a disk that has much to do."""

    def happens(run, started):
        at = change(run, started)
        time.sleep(0.5)
        return at

    return happens


def pinned(run, _):
    fd = os.open(run / VICTIM, os.O_RDONLY)
    beneath.pin(fd)
    os.close(fd)
    return run / VICTIM


def pinned_by_a_drop_in(run, _):
    (run / ".ckptd.toml").write_text(f'[policy]\npin = ["{VICTIM}"]\n')
    settled = time.time() - 100
    os.utime(run / ".ckptd.toml", (settled, settled))
    return run / VICTIM


def rewritten(run, _):
    (run / VICTIM / "optimizer.pt").write_bytes(b"another")
    return run / VICTIM


def rewritten_in_disguise(run, _):
    """In place, of the same size, with the times put back: as `rsync --inplace --times`."""
    part = run / VICTIM / "adapter_model.safetensors"
    seen = part.stat()
    with part.open("r+b") as file:
        file.seek(-8, os.SEEK_END)
        file.write(b"precious")
    os.utime(part, ns=(seen.st_atime_ns, seen.st_mtime_ns))
    return run / VICTIM


def renamed(run, _):
    return (run / VICTIM).rename(run / "my-favourite")


def replaced_by_a_link(run, _):
    moved = (run / VICTIM).rename(run.parent / "moved")
    (run / VICTIM).symlink_to(moved)
    return moved


def replaced_by_a_copy(run, _):
    shutil.copytree(run / VICTIM, run / "copy")
    shutil.rmtree(run / VICTIM)
    return (run / "copy").rename(run / VICTIM)


def replaced_by_a_file(run, _):
    moved = (run / VICTIM).rename(run.parent / "moved")
    (run / VICTIM).write_text("a note")
    return moved


def completed(run, _):
    write_checkpoint(run, 200)
    return run / VICTIM


def run_renamed(run, _):
    return run.rename(run.parent / "renamed") / VICTIM


def run_replaced_by_a_link(run, _):
    moved = run.rename(run.parent / "renamed")
    run.symlink_to(moved)
    return moved / VICTIM


def run_replaced_by_a_copy(run, _):
    shutil.copytree(run, run.parent / "copy")
    shutil.rmtree(run)
    return (run.parent / "copy").rename(run) / VICTIM


ANY = [
    ("opened", using("f=open('{}/optimizer.pt','rb')"), MOMENTS, "open"),
    (
        "mapped",
        using(
            "import mmap;f=open('{}/optimizer.pt','rb');m=mmap.mmap(f.fileno(),0,access=1);"
            "f.close()"
        ),
        MOMENTS,
        "mapped|open",
    ),
    ("entered", using("import os;os.chdir('{}')"), ("plan",), "works inside it"),
    ("resumed-from", using("pass", "--resume={}"), ("plan",), "on its command line"),
    ("entered-slowly", slowly(using("import os;os.chdir('{}')")), ("intent",), "works inside it"),
    ("resumed-slowly", slowly(using("pass", "--r={}")), ("intent",), "on its command line"),
    ("pinned", pinned, MOMENTS, "pinned"),
    ("pinned-by-drop-in", pinned_by_a_drop_in, ("plan",), "pinned by pin"),
    ("drop-in-slowly", slowly(pinned_by_a_drop_in), ("intent",), "pinned by pin"),
    ("rewritten", rewritten, MOMENTS, "changed since the plan"),
    ("rewritten-in-disguise", rewritten_in_disguise, MOMENTS, "changed since the plan"),
    ("renamed", renamed, MOMENTS, "gone"),
    ("link", replaced_by_a_link, MOMENTS, "gone|something else lies in its place"),
    ("copy", replaced_by_a_copy, MOMENTS, "changed since the plan|a moment ago"),
    ("file", replaced_by_a_file, MOMENTS, "gone|something else lies in its place"),
    ("another-save", completed, MOMENTS, "a moment ago"),
    ("run-renamed", run_renamed, MOMENTS, "gone|no such file"),
    ("run-link", run_replaced_by_a_link, MOMENTS, "gone|not a directory"),
    ("run-copy", run_replaced_by_a_copy, MOMENTS, "no longer the run|a moment ago"),
]
TABLE = [
    pytest.param(moment, change, words, id=f"{name}-after-{moment}")
    for name, change, moments, words in ANY
    for moment in moments
]


@pytest.mark.parametrize("trash_for", ["1h", "0s"])
@pytest.mark.parametrize(("moment", "change", "words"), TABLE)
def test_what_comes_in_between_is_refused_in_one_sentence(
    run, started, moment, change, words, trash_for
):
    seen = {}

    def happens():
        seen["at"] = change(run, started)
        seen["before"] = contents(seen["at"])

    outcome, told = act(run, moment, happens, policy__trash_for=trash_for)
    assert outcome.refused
    assert contents(seen["at"]) == seen["before"]
    check_sentence(told, words)
    assert not told[0].startswith("evict failed"), "it calls nobody"


def check_sentence(told, words):
    """One sentence, which names the checkpoint, the fact and what follows from it."""
    (sentence,) = told
    assert VICTIM in sentence
    assert re.search(words, sentence), sentence
    assert "\n" not in sentence
    assert "Errno" not in sentence


# --- filesystems that come and go ----------------------------------------------------------


def mount(*arguments):
    subprocess.run(["mount", *map(str, arguments)], check=True)


def unmounted(run):
    subprocess.run(["umount", "--lazy", run.parent], check=True)


def read_only(run):
    mount("-o", "remount,ro", run.parent)


def mounted_over_the_watch(run):
    mount("-t", "tmpfs", "none", run.parent)


def mounted_over_the_run(run):
    mount("-t", "tmpfs", "none", run)


def mounted_over_it(run):
    mount("-t", "tmpfs", "none", run / VICTIM)


@pytest.fixture
def on_a_disk(run, tmp_path):
    """The run on a filesystem of its own, which can be seen at `spare` whatever happens."""
    disk, spare = run.parent, tmp_path / "spare"
    away = disk.rename(tmp_path / "away")
    for place in (disk, spare):
        place.mkdir()
    mount("-t", "tmpfs", "-o", "size=16m", "none", disk)
    mount("--bind", disk, spare)
    shutil.copytree(away / "out", run)
    yield run
    while os.path.ismount(disk):
        subprocess.run(["umount", "--recursive", "--lazy", disk], check=True)
    subprocess.run(["umount", spare], check=True)


@pytest.mark.root
@pytest.mark.skipif(os.geteuid() != 0, reason="needs root: it mounts")
@pytest.mark.parametrize("trash_for", ["1h", "0s"])
@pytest.mark.parametrize("moment", MOMENTS)
@pytest.mark.parametrize(
    ("change", "words"),
    [
        (unmounted, "gone|no such file"),
        (read_only, "read-only"),
        (mounted_over_the_watch, "gone|no such file"),
        (mounted_over_the_run, "no longer"),
        (mounted_over_it, "mounted|something else lies in its place"),
    ],
    ids=["unmounted", "read-only", "over-the-watch", "over-the-run", "over-it"],
)
def test_a_filesystem_that_goes_in_between_loses_nothing(
    on_a_disk, tmp_path, change, words, moment, trash_for
):
    there = tmp_path / "spare" / "out" / VICTIM
    before = contents(there)
    outcome, told = act(on_a_disk, moment, lambda: change(on_a_disk), policy__trash_for=trash_for)
    assert not outcome.ok
    assert contents(there) == before
    check_sentence(told, words)
