"""What one receiver is told, and when."""

from math import inf

import pytest

from ckptd.notify.digest import BETWEEN, GATHER, MOST_LINES, MOST_SUBJECTS, Digest, inert

HOUR = 3600.0
DISK = ("shortfall", "/data")


@pytest.fixture
def digest():
    return Digest(every=HOUR)


def test_nothing_heard_is_nothing_due(digest):
    assert digest.due() == inf
    assert digest.take(1e9) == ()


def test_what_is_heard_is_due_a_moment_later(digest):
    digest.hear(DISK, "full", 100.0)

    assert digest.due() == 100.0 + GATHER
    assert digest.take(100.0) == ()
    assert digest.take(100.0 + GATHER) == ("shortfall", "full")
    assert digest.due() == inf


def test_a_burst_is_one_message(digest):
    digest.hear(DISK, "full", 0.0)
    digest.hear(("broken", "/data/a"), "cut off", 0.5)
    digest.hear(("broken", "/data/b"), "torn", 0.5)

    assert digest.take(GATHER) == ("shortfall, broken", "full", "cut off", "torn")


def test_of_the_same_thing_the_last_is_told_and_the_others_are_counted(digest):
    for number in range(13):
        digest.hear(DISK, f"lacks {number} GiB", 0.0)

    assert digest.take(GATHER) == ("shortfall", "lacks 12 GiB (and 12 more)")


def test_about_the_same_thing_there_is_one_message_in_so_long(digest):
    digest.hear(DISK, "first", 0.0)
    digest.take(GATHER)
    for at in (100.0, 200.0, 300.0):
        digest.hear(DISK, f"at {at:.0f}", at)

    assert digest.due() == GATHER + HOUR
    assert digest.take(GATHER + HOUR - 1) == ()
    assert digest.take(GATHER + HOUR) == ("shortfall", "at 300 (and 2 more)")


def test_what_is_about_something_else_need_not_wait_so_long(digest):
    digest.hear(DISK, "first", 0.0)
    digest.take(GATHER)
    digest.hear(("shortfall", "/scratch"), "another", 5.0)

    assert digest.due() == GATHER + BETWEEN
    assert digest.take(GATHER + BETWEEN) == ("shortfall", "another")


def test_a_kind_about_which_too_much_is_heard_is_told_as_one():
    digest = Digest(every=HOUR)
    for number in range(MOST_SUBJECTS + 10):
        digest.hear(("broken", f"/r/{number}"), f"the {number}th", 0.0)
    title, *lines = digest.take(GATHER)

    assert title == "broken"
    assert len(lines) == MOST_LINES + 1
    assert lines[-1] == f"and {MOST_SUBJECTS + 1 - MOST_LINES} more, which ckptd history has"


def test_what_was_told_long_ago_is_forgotten():
    digest = Digest(every=10.0, between=0.0)
    for number in range(1000):
        digest.hear(("broken", f"/r/{number}"), "cut off", number * 100.0)
        assert digest.take(number * 100.0 + GATHER)

    assert len(digest._told) == 1


def test_at_the_end_all_that_is_left_can_be_taken(digest):
    digest.hear(DISK, "first", 0.0)
    digest.take(GATHER)
    digest.hear(DISK, "last", 2.0)

    assert digest.take(inf) == ("shortfall", "last")
    assert digest.take(inf) == ()


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("evict /data/实验/checkpoint-50 (step 50)", "evict /data/实验/checkpoint-50 (step 50)"),
        ("/data/me@host/a_b*", "/data/me@host/a_b*"),
        ('/d/<at user_id="all">x</at>', r'/d/\x3cat user_id="all"\x3ex\x3c/at\x3e'),
        ("/d/<!channel>", r"/d/\x3c!channel\x3e"),
        ("/d/@Everyone now", r"/d/\x40Everyone now"),
        ("/d/[look](http://x)", r"/d/[look]\x28http://x)"),
    ],
)
def test_a_name_calls_nobody_and_links_nowhere(text, shown):
    assert inert(text) == shown
