"""The three forms of a line, and that none of them ever waits."""

import io
import json
import logging
import os
import pty
import re
import socket
import subprocess
import sys
import warnings

import pytest
from listening import Journal, forget_logging, lines_in

from ckptd import logs
from ckptd.logs.journal import JournalSink
from ckptd.logs.lines import LineSink, json_line, people_line

EVENT = {"event": "evict", "message": "evict /r/c: why", "checkpoint": "/r/c", "id": "told"}


@pytest.fixture(autouse=True)
def as_found():
    yield
    forget_logging()


def told(**fields):
    return logs.logger().info(**EVENT | fields)


def test_people_read_the_time_and_the_sentence():
    lines = lines_in("people")
    assert told()

    assert re.fullmatch(r"\d\d:\d\d:\d\d evict /r/c: why", *lines())


def test_people_read_paths_from_where_they_are(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    lines = lines_in("people")
    place = f"{tmp_path}/out/c"
    told(checkpoint=place, message=f"evict {place}: {place} is full")

    assert lines()[0].endswith(f"evict out/c: {place} is full")


def test_people_in_a_directory_that_is_gone_read_whole_paths(tmp_path, monkeypatch):
    (tmp_path / "gone").mkdir()
    monkeypatch.chdir(tmp_path / "gone")
    (tmp_path / "gone").rmdir()
    lines = lines_in("people")
    told()

    assert lines()[0].endswith("evict /r/c: why")


@pytest.mark.parametrize("form", ["people", "json"])
def test_no_line_carries_a_control_character(form):
    lines = lines_in(form)
    told(message="evict \x1b[31m\n\u202e\udcff")
    (line,) = lines()

    assert line.isprintable()
    assert r"\xff" in line.replace("\\\\", "\\")


def test_a_line_that_says_only_what_is_so_is_whole():
    lines = lines_in("json")
    logs.logger().warning("watch", message="/a\n is gone", share=float("nan"), names=("\x00",))
    line = json.loads(*lines())

    assert (line["event"], line["message"], line["priority"]) == ("watch", r"/a\n is gone", 4)
    assert (line["share"], line["names"]) == (None, [r"\x00"])


def test_details_below_the_level_are_not_written():
    lines = lines_in("json")
    logs.logger().debug("watch", message="a look")

    assert lines() == []


# --- taken, or not ---------------------------------------------------------------------------


def test_pipe_whose_reader_is_gone_takes_nothing_and_ends_nothing():
    reader, writer = os.pipe()
    os.close(reader)
    with os.fdopen(writer, "w") as stream:
        logs.configure("json", stream)
        assert not told()


def test_pipe_whose_reader_has_stopped_is_not_waited_for():
    reader, writer = os.pipe()
    with os.fdopen(reader, "rb", buffering=0) as read, os.fdopen(writer, "w") as stream:
        sink = LineSink(stream, json_line)
        taken = [sink.msg({"n": number, "text": "x" * 200}) for number in range(2000)]
        assert not taken[-1]
        whole = read.read(2**20).splitlines()

        assert [json.loads(line)["n"] for line in whole] == list(range(sum(taken)))
        assert sink.msg({"n": "again"})


def test_full_disk_takes_nothing():
    with open("/dev/full", "w") as stream:
        assert not LineSink(stream, json_line).msg({"n": 1})


def test_journal_that_is_full_takes_nothing_until_it_is_read(tmp_path):
    with Journal(tmp_path / "journal") as journal:
        sink = JournalSink(journal.path)
        taken = [sink.msg({"n": number}) for number in range(3000)]
        assert not taken[-1]
        assert [event["CKPTD_N"] for event in journal.all()] == [
            str(number) for number in range(sum(taken))
        ]
        assert sink.msg({"n": "again"})
        sink.close()


@pytest.mark.parametrize("size", [1000, 300_000, 9_000_000])
def test_event_of_any_length_reaches_the_journal(tmp_path, size):
    with Journal(tmp_path / "journal") as journal:
        sink = JournalSink(journal.path)
        assert sink.msg({"event": "refuse", "reason": "x" * size})

        assert journal.received()["CKPTD_REASON"] == "x" * size
        sink.close()


def test_what_is_kept_nowhere_goes_to_the_stream_without_a_journal(tmp_path):
    stream = io.StringIO()
    logs.configure("journal", stream, str(tmp_path / "nobody"))

    assert not told()
    assert stream.getvalue() == ""
    assert logs.say("warning", "watch", message="deaf")
    assert json.loads(stream.getvalue())["message"] == "deaf"


# --- which form ------------------------------------------------------------------------------


def test_auto_is_for_people_on_a_terminal():
    leader, follower = pty.openpty()
    with os.fdopen(follower, "w") as terminal, os.fdopen(leader, "rb", buffering=0) as screen:
        assert logs.configure("auto", terminal) == "people"
        told()
        assert screen.read(4096).decode().rstrip().endswith(EVENT["message"])


TELL = """
import sys
from ckptd import logs
logs.configure("auto", journal=sys.argv[1])
logs.logger().info("evict", message="evict /r/c", id="told")
"""


@pytest.mark.parametrize("matches", [True, False])
def test_auto_is_the_journal_where_standard_error_is_its(tmp_path, matches):
    ours, theirs = socket.socketpair()
    with ours, theirs, Journal(tmp_path / "journal") as journal:
        seen = os.fstat(theirs.fileno())
        named = f"{seen.st_dev}:{seen.st_ino}" if matches else "1:1"
        subprocess.run(
            [sys.executable, "-c", TELL, journal.path],
            stderr=theirs,
            env={**os.environ, "JOURNAL_STREAM": named},
            check=True,
        )
        theirs.close()
        line = ours.recv(65536)

        assert bool(line) != matches
        came = [event["CKPTD_ID"] for event in journal.all()]
    assert came == ["told"] * matches
    assert matches or json.loads(line)["id"] == "told"


# --- what libraries say ----------------------------------------------------------------------


def test_warning_of_a_library_is_an_event():
    lines = lines_in("json")
    logging.getLogger("watchdog.observers.inotify").warning("queue of %s\nis full", "/data")
    logging.getLogger("watchdog").info("not worth a line")
    line = json.loads(*lines())

    assert (line["event"], line["priority"]) == ("library", 4)
    assert line["message"] == r"watchdog.observers.inotify: queue of /data\nis full"
    assert line["logger"] == "watchdog.observers.inotify"


def test_failure_of_a_library_is_one_line_without_a_traceback():
    lines = lines_in("json")
    failure = ValueError("no such thing")
    logging.getLogger("watchdog").error("a thread ended", exc_info=failure)
    line = json.loads(*lines())

    assert line["message"] == "watchdog: a thread ended: ValueError: no such thing"
    assert line["priority"] == 3


MISFIT = """
import logging
from ckptd import logs
logs.configure("json")
logging.getLogger("watchdog").error("%d of %d", "one")
"""


def test_library_whose_text_does_not_fit_its_arguments_is_heard():
    ran = subprocess.run([sys.executable, "-c", MISFIT], capture_output=True, check=True)

    assert json.loads(ran.stderr)["message"] == "watchdog: %d of %d"


def test_warning_of_python_is_an_event_too():
    lines = lines_in("json")
    with warnings.catch_warnings():
        warnings.simplefilter("always")
        warnings.warn("soon gone", RuntimeWarning, stacklevel=1)

    assert "RuntimeWarning: soon gone" in json.loads(*lines())["message"]


def test_library_is_heard_once_however_often_we_are_configured():
    lines_in("json")
    lines = lines_in("json")
    logging.getLogger("watchdog").error("ended")

    assert len(lines()) == 1


def test_lines_of_both_kinds_say_the_same():
    fields = {"at": "2026-01-02T03:04:05Z", **EVENT}

    assert json.loads(json_line(fields)) == fields
    assert people_line(fields).endswith(fields["message"])
