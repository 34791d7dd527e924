"""What is asked of a filesystem that does not answer: a thread waits, and nobody else."""

import os
import threading
import time

import pytest
from hanging import hanging, lacking
from watching import until

from ckptd import mounts
from ckptd.errors import StoppedError, UnansweredError

pytestmark = [pytest.mark.root, pytest.mark.skipif(bool(lacking()), reason=lacking())]


@pytest.fixture
def hung(tmp_path):
    with hanging(tmp_path) as filesystem:
        yield filesystem


def asking():
    """Threads that wait for a filesystem."""
    return [thread for thread in threading.enumerate() if thread.name == "asks"]


def stat_of(hung, **options):
    return mounts.asked(str(hung.path), lambda: os.stat(hung.path), **options)


def test_what_answers_is_asked_as_if_it_were_here(hung):
    assert stat_of(hung).st_mode == os.stat(hung.backing).st_mode
    with pytest.raises(FileNotFoundError):
        mounts.asked(str(hung.path), lambda: os.stat(hung.path / "gone"))
    assert mounts.silent() == ()


def test_what_lies_elsewhere_is_asked_in_no_other_thread(tmp_path):
    here = threading.current_thread()
    assert mounts.asked(str(tmp_path), threading.current_thread) is here
    with hanging(tmp_path):
        assert mounts.asked(str(tmp_path), threading.current_thread) is here


def test_silence_is_noticed_once_and_waited_for_by_one_thread(hung):
    hung.stop()
    beats = []
    begun = time.monotonic()
    with pytest.raises(UnansweredError, match="has not answered since") as told:
        stat_of(hung, beat=lambda: beats.append(time.monotonic()))
    assert 4 < time.monotonic() - begun < 15
    assert len(beats) > 20, "who waits is alive"
    assert told.value.under_way
    begun = time.monotonic()
    for _ in range(50):
        with pytest.raises(UnansweredError) as again:
            stat_of(hung)
        assert not again.value.under_way
    assert time.monotonic() - begun < 1
    assert len(asking()) == 1
    assert mounts.silent() == (str(hung.path),)


def test_when_it_answers_again_somebody_hears_of_it(hung):
    heard = threading.Event()
    mounts.on_answer(heard.set)
    try:
        hung.stop()
        with pytest.raises(UnansweredError):
            stat_of(hung)
        assert not heard.is_set()
        hung.go_on()
        assert heard.wait(10)
    finally:
        mounts.on_answer(lambda: None)
    assert stat_of(hung).st_nlink
    assert until(lambda: not asking())


def test_one_that_is_unmounted_and_mounted_anew_is_another(hung, tmp_path):
    hung.stop()
    with pytest.raises(UnansweredError):
        stat_of(hung)
    hung.end()
    with hanging(tmp_path / "again") as other:
        assert stat_of(other).st_nlink
    assert until(lambda: not mounts.silent())
    hung.end = lambda: None


def test_steps_that_come_slowly_are_waited_for(hung):
    def slow():
        for _ in range(8):
            time.sleep(1)
            mounts.step()
        return "through"

    assert mounts.asked(str(hung.path), slow) == "through"


@pytest.mark.slow
def test_an_act_is_waited_for_longer_while_its_filesystem_answers(hung):
    (hung.path / "large").touch()
    act = {"ask": lambda: os.unlink(hung.path / "large"), "late": lambda come: None}
    hung.hold("UNLINK")
    threading.Timer(8, hung.hold).start()
    begun = time.monotonic()
    mounts.asked(str(hung.path), **act)
    assert 7 < time.monotonic() - begun < 20
    (hung.path / "large").touch()
    hung.stop()
    begun = time.monotonic()
    with pytest.raises(UnansweredError):
        mounts.asked(str(hung.path), **act)
    assert time.monotonic() - begun < 10


def test_who_is_to_end_does_not_wait(hung):
    def ending():
        raise StoppedError

    hung.stop()
    begun = time.monotonic()
    with pytest.raises(StoppedError):
        stat_of(hung, beat=ending)
    assert time.monotonic() - begun < 2
    hung.go_on()


def test_nothing_is_done_late_that_nobody_waits_for(hung):
    done = []

    def act():
        os.stat(hung.path)
        mounts.step()
        done.append("act")

    came = []
    hung.stop()
    with pytest.raises(UnansweredError):
        mounts.asked(str(hung.path), act, late=came.append)
    mounts.collect()
    assert came == []
    hung.go_on()
    assert until(lambda: mounts.collect() or came)
    with pytest.raises(StoppedError):
        came[0]()
    assert done == []


def test_one_that_roams_names_the_filesystem_that_keeps_it(hung, tmp_path):
    def roaming():
        os.stat(tmp_path)
        with mounts.reaching(str(hung.path)):
            os.stat(hung.path)

    mounts.asked(str(tmp_path), roaming, roams=True)
    hung.stop()
    with pytest.raises(UnansweredError, match="hanging"):
        mounts.asked(str(tmp_path), roaming, roams=True)
    begun = time.monotonic()
    with pytest.raises(UnansweredError):
        mounts.asked(str(tmp_path), roaming, roams=True)
    assert time.monotonic() - begun < 1
    assert mounts.asked(str(tmp_path), lambda: os.stat(tmp_path), roams=True).st_nlink
