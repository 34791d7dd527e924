import os
import subprocess
import sys
import threading
import time
from contextlib import contextmanager
from queue import SimpleQueue

import pytest

from ckptd.watch import ALL, Bell, Interest, Watcher, watcher
from ckptd.watch.aims import Aims
from ckptd.watch.inotify import Inotify

ROOT = os.geteuid() == 0
ARRIVALS, WRITING = Interest.ARRIVALS, Interest.WRITING
LIMIT = "/proc/sys/fs/inotify/max_user_watches"
SOON = 5.0  # seconds that a loaded machine may take
SILENCE = 0.2


@pytest.fixture
def bell():
    return Bell()


@pytest.fixture
def watching(bell):
    one = Watcher(bell)
    one.start()
    yield one
    one.stop()


def aim(one, interest, *paths):
    return one.aim({str(path): interest for path in paths})


def rings(bell):
    """All that rings until it is silent."""
    heard = set()
    while rung := bell.wait(SILENCE if heard else SOON):
        heard |= {ALL} if rung is ALL else rung
    return heard


def silent(bell):
    return bell.wait(SILENCE) == frozenset()


# --- the bell ----------------------------------------------------------------------------


def test_a_bell_names_each_directory_once_and_is_then_silent(bell):
    for path in ("/a", "/b", "/a"):
        bell.ring(path)
    assert bell.wait(0) == {"/a", "/b"}
    assert bell.wait(0) == frozenset()


def test_what_happens_during_the_look_rings_again(bell):
    bell.ring("/a")
    assert bell.wait(0) == {"/a"}
    bell.ring("/a")
    assert bell.wait(0) == {"/a"}


def test_everything_outrings_single_directories(bell):
    bell.ring("/a")
    bell.ring_all()
    assert bell.wait(0) is ALL
    assert bell.wait(-1) == frozenset()


def test_a_bell_that_nobody_hears_does_not_grow(bell):
    for _ in range(100):
        bell.ring("/a")
        bell.ring_all()
    assert bell._rung.qsize() == 2


def test_a_bell_wakes_who_waits(bell):
    threading.Timer(0.05, bell.ring, ["/a"]).start()
    assert bell.wait(SOON) == {"/a"}


def test_no_ring_is_lost_between_threads(bell):
    heard, names = set(), [f"/{n}" for n in range(2000)]
    threads = [
        threading.Thread(target=lambda k=k: [bell.ring(name) for name in names[k::4]])
        for k in range(4)
    ]
    for thread in threads:
        thread.start()
    while rung := bell.wait(1):
        heard |= rung
    assert heard == set(names)


def test_what_rings_in_the_midst_of_a_wait_can_ring_again(bell):
    class Interrupted(SimpleQueue):
        def empty(self):
            bell.ring("/a")
            return super().empty()

    bell._rung = Interrupted()
    bell.ring("/a")
    assert bell.wait(0) == {"/a"}
    bell.ring("/a")
    assert bell.wait(0) == {"/a"}


def test_a_bell_may_be_rung_by_a_signal_while_waiting(bell):
    code = (
        "import signal, os\n"
        "from ckptd.watch import ALL, Bell\n"
        "bell = Bell()\n"
        "signal.signal(signal.SIGALRM, lambda *_: bell.ring_all())\n"
        "signal.setitimer(signal.ITIMER_REAL, 0.0005, 0.0005)\n"
        "assert all(bell.wait(10) is ALL for _ in range(1000))\n"
        "signal.setitimer(signal.ITIMER_REAL, 0)\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True, timeout=30)


# --- what rings --------------------------------------------------------------------------


def mkdir(run):
    (run / "checkpoint-9").mkdir()


def rename_in(run):
    os.rename(run.parent / "elsewhere", run / "checkpoint-9")


def rename_out(run):
    os.rename(run / "checkpoint-5", run.parent / "gone")


def rename_inside(run):
    os.rename(run / "checkpoint-5", run / "checkpoint-6")


def delete(run):
    os.rmdir(run / "checkpoint-5")


def link(run):
    os.link(run / "file", run / "last.ckpt")


def close_write(run):
    with open(run / "file", "r+b") as file:
        file.write(b"y")


def read(run):
    with open(run / "file", "rb") as file:
        file.read()
    os.listdir(run)
    os.listdir(run / "checkpoint-5")


def touch(run):
    os.utime(run / "file")
    os.chmod(run / "file", 0o600)


@pytest.fixture
def run(tmp_path):
    run = tmp_path / "run"
    (run / "checkpoint-5").mkdir(parents=True)
    (tmp_path / "elsewhere").mkdir()
    (run / "file").write_bytes(b"x")
    return run


@pytest.mark.parametrize(
    ("act", "arrivals", "writing"),
    [
        *((act, True, True) for act in (mkdir, rename_in, rename_out, rename_inside, delete, link)),
        (close_write, False, True),
        *((act, False, False) for act in (read, touch)),
    ],
)
def test_what_changes_a_directory_rings_and_what_reads_it_does_not(
    bell, watching, run, act, arrivals, writing
):
    for interest, heard in ((ARRIVALS, arrivals), (WRITING, writing)):
        other = run.parent / interest.name
        subprocess.run(["cp", "-r", run, other], check=True)
        (run.parent / "elsewhere").mkdir(exist_ok=True)
        aim(watching, interest, other)
        act(other)
        assert (rings(bell) == {str(other)}) if heard else silent(bell)


def test_a_strange_name_rings_its_directory(bell, watching, tmp_path):
    strange = tmp_path / os.fsdecode(b"\xff\n")
    strange.mkdir()
    aim(watching, ARRIVALS, strange)
    (strange / os.fsdecode(b"\xfe")).mkdir()
    assert rings(bell) == {str(strange)}


def test_a_ring_names_the_watched_directory_and_no_other(bell, watching, run):
    aim(watching, ARRIVALS, run.parent, run)
    (run / "checkpoint-9").mkdir()
    assert rings(bell) == {str(run)}


# --- aiming ------------------------------------------------------------------------------


def test_aim_tells_what_is_newly_watched_and_forgets_the_rest(bell, watching, run):
    five = run / "checkpoint-5"
    assert aim(watching, ARRIVALS, run) == {str(run)}
    assert aim(watching, ARRIVALS, run) == frozenset()
    assert watching.aim({str(run): ARRIVALS, str(five): WRITING}) == {str(five)}
    assert aim(watching, ARRIVALS, five) == frozenset()
    (run / "checkpoint-9").mkdir()
    assert silent(bell)


def test_the_kernel_forgets_what_is_no_longer_aimed_at(watching, run):
    def watches():
        with open(f"/proc/self/fdinfo/{watching._aims._inotify._fd}") as info:
            return sum(line.startswith("inotify wd:") for line in info)

    aim(watching, ARRIVALS, run, run / "checkpoint-5", run / "not-yet")
    assert watches() == 2
    aim(watching, ARRIVALS, run / "checkpoint-5")
    assert watches() == 1


def test_a_wider_interest_is_new_and_a_narrower_one_is_obeyed(bell, watching, run):
    aim(watching, ARRIVALS, run)
    assert aim(watching, WRITING, run) == {str(run)}
    assert aim(watching, ARRIVALS, run) == frozenset()
    close_write(run)
    assert silent(bell)


def test_a_directory_that_does_not_exist_yet_rings_when_it_appears(bell, watching, tmp_path):
    run = tmp_path / "not" / "yet"
    assert aim(watching, ARRIVALS, run) == frozenset()
    assert watching.unwatched == {}
    (tmp_path / "other").mkdir()
    assert silent(bell)
    run.parent.mkdir()
    assert rings(bell) == {str(run)}
    aim(watching, ARRIVALS, run)
    run.mkdir()
    assert rings(bell) == {str(run)}
    assert aim(watching, ARRIVALS, run) == {str(run)}


def test_a_directory_that_appears_while_it_is_aimed_at_is_watched_or_rings(
    bell, watching, tmp_path
):
    for n in range(300):
        run = tmp_path / str(n) / "a" / "b" / "c"
        maker = threading.Thread(target=os.makedirs, args=[run])
        maker.start()
        newly = aim(watching, ARRIVALS, run)
        maker.join()
        assert newly == {str(run)} or any(
            str(run) in rung for rung in iter(lambda: bell.wait(SOON), frozenset())
        )


def test_an_awaited_directory_narrows_nothing_in_the_one_that_will_hold_it(bell, watching, run):
    watching.aim({str(run): WRITING, str(run / "not-yet"): ARRIVALS})
    close_write(run)
    assert rings(bell) == {str(run)}


def test_a_directory_may_go_and_come_back(bell, watching, tmp_path):
    run = tmp_path / "run"
    for _ in range(5):
        aim(watching, ARRIVALS, run)
        run.mkdir()
        assert rings(bell) == {str(run)}
        assert aim(watching, ARRIVALS, run) == {str(run)}
        run.rmdir()
        assert rings(bell) == {str(run)}
    assert watching.alive


def test_a_renamed_directory_rings_and_its_path_is_watched_anew(bell, watching, run):
    aim(watching, ARRIVALS, run)
    moved = run.rename(run.parent / "moved")
    assert rings(bell) == {str(run)}
    run.mkdir()
    assert aim(watching, ARRIVALS, run, moved) == {str(run), str(moved)}
    (moved / "checkpoint-9").mkdir()
    assert rings(bell) == {str(moved)}
    (run / "checkpoint-9").mkdir()
    assert rings(bell) == {str(run)}


def test_a_path_that_leads_elsewhere_since_a_parent_was_renamed_is_watched_anew(
    bell, watching, run
):
    aim(watching, ARRIVALS, run)
    run.parent.rename(run.parent.with_name("moved"))
    run.mkdir(parents=True)
    assert aim(watching, ARRIVALS, run) == {str(run)}
    (run / "checkpoint-9").mkdir()
    assert rings(bell) == {str(run)}


def test_a_link_is_not_followed_and_a_file_is_no_directory(bell, watching, run):
    (run.parent / "link").symlink_to(run)
    assert aim(watching, ARRIVALS, run.parent / "link", run / "file") == frozenset()
    mkdir(run)
    assert silent(bell)
    (run / "file").unlink()
    assert rings(bell) == {str(run / "file")}


@pytest.mark.parametrize("path", ["", "relative", "/" + "x" * 300, "/x" * 3000])
def test_no_path_makes_aim_raise(watching, path):
    assert watching.aim({path: ARRIVALS}) == frozenset()


@pytest.mark.root
@pytest.mark.skipif(not ROOT, reason="mounting needs root")
def test_an_unmounted_directory_rings_and_two_paths_to_one_both_do(bell, watching, run):
    second = run.parent / "second"
    second.mkdir()
    subprocess.run(["mount", "--bind", str(run), str(second)], check=True)
    try:
        assert aim(watching, ARRIVALS, run, second) == {str(run), str(second)}
        (run / "checkpoint-9").mkdir()
        assert rings(bell) == {str(run), str(second)}
    finally:
        subprocess.run(["umount", str(second)], check=True)
    subprocess.run(["mount", "-t", "tmpfs", "none", str(second)], check=True)
    try:
        aim(watching, ARRIVALS, second)
    finally:
        subprocess.run(["umount", str(second)], check=True)
    assert rings(bell) == {str(second)}


@pytest.mark.root
@pytest.mark.skipif(not ROOT, reason="the limit of watches is root's to set")
def test_at_the_limit_of_watches_the_rest_is_said_to_be_unwatched(bell, watching, tmp_path):
    runs = [tmp_path / str(n) for n in range(20)]
    for one in runs:
        one.mkdir()
    with open(LIMIT) as file:
        limit = file.read()
    try:
        with open(LIMIT, "w") as file:
            file.write("0")
        assert aim(watching, ARRIVALS, *runs) == frozenset()
    finally:
        with open(LIMIT, "w") as file:
            file.write(limit)
    assert watching.unwatched.keys() == {str(run) for run in runs}
    assert "max_user_watches" in watching.unwatched[str(runs[0])]
    assert len(aim(watching, ARRIVALS, *runs)) == len(runs)
    assert watching.unwatched == {}


def test_what_is_not_listened_to_is_unwatched(bell, run):
    one = Watcher(bell)
    aim(one, ARRIVALS, run)
    assert one.unwatched == {str(run): "not started"}
    one.start()
    aim(one, ARRIVALS, run)
    assert one.unwatched == {}
    one.stop()
    one.stop()
    aim(one, ARRIVALS, run)
    assert one.unwatched == {str(run): "stopped"}
    assert not one.alive


# --- staying alive -----------------------------------------------------------------------


def burst(directory):
    code = f"for n in range(20000): open({str(directory)!r} + '/%d' % n, 'w').close()"
    subprocess.run([sys.executable, "-S", "-c", code], check=True)


def test_a_burst_of_files_rings_and_leaves_the_emitter_alive(bell, watching, run):
    aim(watching, WRITING, run)
    burst(run)
    assert rings(bell) & {ALL, str(run)}
    assert watching.alive
    (run / "later").mkdir()
    assert rings(bell) == {str(run)}


def test_lost_events_ring_for_everything(run):
    aims = Aims()
    aims.aim({str(run): WRITING})
    burst(run)  # more than fs.inotify.max_queued_events while nobody reads
    heard = set()
    while found := set(aims.listen(0)):
        heard |= found
    aims.close()
    assert heard == {None, str(run)}


class BrokenBell(Bell):
    def ring(self, path):
        if path.endswith("run"):
            raise RuntimeError(path)
        super().ring(path)


def test_a_failure_while_ringing_stops_nothing(run):
    bell = BrokenBell()
    one = Watcher(bell)
    one.start()
    other = run.parent / "elsewhere"
    aim(one, ARRIVALS, run, other)
    (run / "checkpoint-9").mkdir()
    (other / "checkpoint-9").mkdir()
    assert rings(bell) == {str(other)}
    assert isinstance(one.last_error, RuntimeError)
    assert one.alive
    one.stop()


class Failing(Aims):
    """A descriptor that fails a few times, then ends."""

    def __init__(self, *errors):
        super().__init__()
        self.errors = list(errors)

    def listen(self, timeout):
        if self.errors:
            raise OSError(self.errors.pop(0), "failed")
        return super().listen(timeout)


@contextmanager
def emitter(aims, queue):
    one = watcher._Emitter(queue, watcher.ObservedWatch("/", recursive=False), aims=aims)
    one.start()
    yield one
    one.stop()
    one.join()
    aims.close()


def test_a_failing_read_asks_for_a_look_at_everything_and_goes_on(run):
    queue = watcher.EventQueue()
    aims = Failing(5, 12)
    aims.aim({str(run): ARRIVALS})
    with emitter(aims, queue) as one:
        mkdir(run)
        kinds = [queue.get(timeout=SOON)[0].event_type for _ in range(3)]
        assert kinds == ["overflowed", "overflowed", "rang"]
        assert one.is_alive()


def test_a_closed_descriptor_ends_the_emitter():
    with emitter(Failing(9), watcher.EventQueue()) as one:
        one.join(SOON)
        assert not one.is_alive()


def test_an_ended_emitter_leaves_everything_unwatched(bell, watching, run):
    aim(watching, ARRIVALS, run)
    for one in watching._observer.emitters:
        one.stop()
        one.join()
    assert not watching.alive
    assert aim(watching, ARRIVALS, run) == frozenset()
    assert "ended" in watching.unwatched[str(run)]


def test_a_stop_is_prompt(bell, watching, run):
    aim(watching, ARRIVALS, run)
    began = time.monotonic()
    watching.stop()
    assert time.monotonic() - began < SOON
    assert not watching.alive


def test_starting_and_stopping_leaks_neither_descriptors_nor_threads(bell, run):
    descriptors, threads = len(os.listdir("/proc/self/fd")), threading.active_count()
    for _ in range(200):
        one = Watcher(bell)
        one.start()
        aim(one, ARRIVALS, run)
        one.stop()
    assert len(os.listdir("/proc/self/fd")) == descriptors
    assert threading.active_count() == threads


def test_a_watcher_is_two_threads_and_two_descriptors_however_much_it_watches(
    bell, watching, tmp_path
):
    before = len(os.listdir("/proc/self/fd")), threading.active_count()
    runs = [tmp_path / str(n) for n in range(300)]
    for one in runs:
        one.mkdir()
    assert len(aim(watching, ARRIVALS, *runs)) == 300
    assert (len(os.listdir("/proc/self/fd")), threading.active_count()) == before


def test_descriptors_are_not_passed_on():
    one = Inotify()
    assert not os.get_inheritable(one._fd)
    assert not os.get_inheritable(one._wake)
    one.close()


def test_of_a_configuration_only_its_own_files_ring(tmp_path, bell, watching):
    watching.aim({str(tmp_path): Interest.CONFIGURATION})
    (tmp_path / "ledger.db").write_text("1")
    (tmp_path / "trainer_log.jsonl").write_text("1")
    assert bell.wait(0.3) == frozenset()
    (tmp_path / "10-more.toml").write_text("1")
    assert bell.wait(5) == {str(tmp_path)}


def test_beside_a_drop_in_arrivals_ring_and_writing_does_not(tmp_path, bell, watching):
    log = tmp_path / "trainer_log.jsonl"
    log.write_text("1")
    watching.aim({str(tmp_path): Interest.EXPERIMENT})
    with log.open("a") as file:
        file.write("2")
    assert bell.wait(0.3) == frozenset()
    (tmp_path / "checkpoint-10").mkdir()
    assert bell.wait(5) == {str(tmp_path)}
