"""Who is told beside the journal, from the start on and under a changed configuration."""

from dataclasses import replace

import pytest
from receiving import webhook

from ckptd.config import Notify, Prometheus, load
from ckptd.daemon.alarms import Alarms
from ckptd.ledger import Record

BROKEN = Record(event="broken", at=0.0, run="/r", checkpoint="/r/c", reason="cut off")


@pytest.fixture
def settings(tmp_path):
    file = tmp_path / "ckptd.toml"
    file.touch()
    return load(str(file), {}, [])


@pytest.fixture
def alarming(settings):
    made = []

    def alarm(**keys):
        made.append(Alarms(replace(settings, **keys), measures=True))
        return made[-1]

    yield alarm
    for each in made:
        each.close()


def test_nobody_configured_is_nobody_told(alarming):
    alarms = alarming()
    alarms.serve()
    alarms.hear(BROKEN)

    assert list(alarms.records()) == []
    assert (alarms._notifier, alarms._exporter) == (None, None)


def test_what_was_heard_before_it_serves_is_told_as_well(alarming):
    with webhook() as hook:
        alarms = alarming(notify=Notify((hook.url,)))
        alarms.hear(BROKEN)
        assert hook.nothing_for(2)
        alarms.serve()
        _, text = hook.received()

    assert text == "broken /r/c: cut off"


def test_who_was_told_is_remembered_while_nothing_changes_for_them(alarming, settings, tmp_path):
    urls = tmp_path / "urls"
    with webhook() as hook, webhook() as other:
        urls.write_text(hook.url)
        notify = Notify(urls_file=str(urls))
        alarms = alarming(notify=notify)
        alarms.serve()
        alarms.hear(BROKEN)
        hook.received()
        alarms.under(replace(settings, notify=notify, mode="observe"))
        alarms.hear(BROKEN)
        assert hook.nothing_for(3), "the same again is held back"
        urls.write_text(f"{other.url}\n")
        alarms.under(replace(settings, notify=notify))
        alarms.hear(BROKEN)

        other.received()


def test_nobody_is_told_any_more_once_that_is_configured(alarming, settings, tmp_path):
    with webhook() as hook:
        prometheus = Prometheus(textfile=str(tmp_path / "ckptd.prom"))
        alarms = alarming(notify=Notify((hook.url,)), prometheus=prometheus)
        alarms.serve()
        assert alarms._exporter is not None
        alarms.under(settings)
        alarms.hear(BROKEN)

        assert hook.nothing_for(3)
