"""Messages to real receivers: a webhook, a mail server, one that hangs, one that is not there."""

import threading
import time
from email import message_from_bytes, policy

import pytest
from receiving import SECRET, hanging, mail_server, nobody, webhook
from watching import until

from ckptd.config import Notify
from ckptd.ledger import Record
from ckptd.notify import Notifier, notifier
from ckptd.notify.notifier import LAST_TRY, PAUSES


@pytest.fixture
def telling():
    notifiers = []

    def tell(*urls, events=("shortfall",), every=3600.0):
        notifiers.append(Notifier(Notify(urls=urls, events=events, at_most_every=every)))
        return notifiers[-1]

    yield tell
    for each in notifiers:
        each.close()


def shortfall(text="lacks 3 GiB", run="/data"):
    return Record(event="shortfall", at=0.0, run=run, reason=text)


def test_a_webhook_is_told_the_sentence_of_the_journal(telling):
    with webhook() as hook:
        told = telling(hook.url)
        told.hear(shortfall())
        title, text = hook.received()

    assert title.startswith("ckptd on ")
    assert title.endswith(": shortfall")
    assert text == "shortfall /data: lacks 3 GiB"


def test_a_mail_is_one_mail_whatever_the_names_in_it_are(telling):
    evil = Record(
        event="broken",
        at=0.0,
        run="/data/a\r\nBcc: victim@example.com\r\n\r\n<script>alert(1)</script>",
        checkpoint="/data/实验/checkpoint-\udcff<b>",
        reason="cut off",
    )
    with mail_server() as (url, mails):
        telling(url, events=("broken",)).hear(evil)
        mail = message_from_bytes(mails.get(timeout=30), policy=policy.default)
    bodies = [part.get_content() for part in mail.walk() if part.get_content_maintype() == "text"]

    assert mail["Subject"].endswith(": broken")
    assert mail["Bcc"] is None
    assert mail["To"].addresses[0].addr_spec == "me@example.com"
    assert any("实验/checkpoint-" in body for body in bodies)
    for part in mail.walk():
        if part.get_content_subtype() == "html":
            assert "<b>" not in part.get_content()
            assert "<script>" not in part.get_content()


def test_only_what_is_asked_for_is_told(telling):
    with webhook() as hook:
        told = telling(hook.url, events=("broken",))
        told.hear(shortfall())

        assert hook.nothing_for(3)


def test_the_same_again_is_held_back(telling):
    with webhook() as hook:
        told = telling(hook.url)
        told.hear(shortfall())
        hook.received()
        for _ in range(5):
            told.hear(shortfall())

        assert hook.nothing_for(3)
        told.close()
        _, text = hook.received()

    assert text == "shortfall /data: lacks 3 GiB (and 4 more)"


def test_one_that_hangs_delays_neither_the_others_nor_the_end(telling):
    with hanging() as (url, taken), webhook() as hook:
        told = telling(url, hook.url)
        begun = time.monotonic()
        for number in range(1000):
            told.hear(shortfall(run=f"/data/{number}"))
        heard = time.monotonic() - begun
        hook.received()
        assert until(lambda: taken)
        begun = time.monotonic()
        told.close()
        closed = time.monotonic() - begun
        pools = [t.name for t in threading.enumerate() if "PoolExecutor" in t.name]

    assert heard < 1
    assert closed < LAST_TRY + 0.4
    assert pools == []  # the interpreter would wait for those


def test_one_that_takes_nothing_is_told_of_once_and_again_when_it_does(telling, monkeypatch):
    monkeypatch.setattr(notifier, "PAUSES", (0.1, 0.1))
    with webhook() as hook:
        hook.status = 500
        told = telling(hook.url, every=0.0)
        told.hear(shortfall())
        assert until(lambda: told._troubles)
        (first,) = told.records()
        assert hook.tries == len(PAUSES) + 1
        hook.status = 200
        (receiver,) = told._receivers
        receiver._digest.between = 0.0
        told.hear(shortfall("lacks 4 GiB"))
        assert hook.received()[1] == "shortfall /data: lacks 4 GiB"
        assert until(lambda: told._troubles)
        (second,) = told.records()

    assert (first.event, first.outcome) == ("notify", "failed")
    assert (
        "notify.urls, number 1 (json://***): a message was dropped after 3 tries: " in first.reason
    )
    assert "the journal has what it would have been told" in first.reason
    assert SECRET not in first.reason
    assert (second.event, second.outcome) == ("notify", "done")
    assert "it takes messages again" in second.reason


def test_nobody_there_is_told_of_without_a_secret(telling, monkeypatch):
    monkeypatch.setattr(notifier, "PAUSES", (0.1, 0.1))
    told = telling(nobody())
    told.hear(shortfall())
    assert until(lambda: told._troubles)
    (record,) = told.records()

    assert "Connection error" in record.reason
    assert SECRET not in record.reason


def test_what_cannot_be_told_to_is_a_record(telling):
    told = telling(f"nosuch://{SECRET}")
    assert until(lambda: told._troubles)
    (record,) = told.records()

    assert (record.event, record.outcome) == ("notify", "failed")
    assert "apprise knows no such service" in record.reason
    assert SECRET not in record.reason
