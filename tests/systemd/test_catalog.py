"""`journalctl -x` explains what ckptd tells, in the language of whoever reads."""

import sys

import pytest
from box import REPOSITORY

from ckptd.audit import MESSAGE_IDS

PLACE = "usr/local/lib/systemd/catalog"
CHECKPOINT = "/data/实验/checkpoint-10"
TELL = f"""
from ckptd import audit, logs
from ckptd.ledger import Record
logs.configure("journal")
for kind in audit.MESSAGE_IDS:
    told = Record(
        event=kind, at=0.0, run="/data/实验", checkpoint={CHECKPOINT!r}, reason="the reason"
    )
    assert audit._say(told)
"""
SUBJECTS = {"C.UTF-8": "A checkpoint was let go of", "zh_CN.UTF-8": "一个检查点已被清理"}


@pytest.fixture(scope="module")
def told(box):
    """A box in which each kind of event was told once."""
    place = box.root / PLACE
    place.mkdir(parents=True, exist_ok=True)
    catalogs = [place / path.name for path in (REPOSITORY / "systemd").glob("*.catalog")]
    for catalog in catalogs:
        catalog.write_bytes((REPOSITORY / "systemd" / catalog.name).read_bytes())
    box.run("journalctl", "--update-catalog")
    box.run(sys.executable, "-c", TELL)
    box.run("journalctl", "--sync")
    yield box
    for catalog in catalogs:  # the installer takes what it did not bring for somebody's
        catalog.unlink()


def explained(box, language):
    options = ("--catalog", "--no-pager", "--quiet", "SYSLOG_IDENTIFIER=ckptd")
    of_kinds = [f"MESSAGE_ID={identity}" for identity in MESSAGE_IDS.values()]
    command = ("journalctl", *options, "CKPTD_AT=1970-01-01T00:00:00Z", *of_kinds)
    return box.run("env", f"LC_ALL={language}", *command).stdout


def test_every_kind_is_explained_with_what_it_is_about(told):
    shown = explained(told, "C.UTF-8")

    assert shown.count("Defined-By: ckptd") == len(MESSAGE_IDS)
    assert SUBJECTS["C.UTF-8"] in shown
    assert f"No rule keeps {CHECKPOINT} any more" in shown
    assert "@" not in shown


def test_in_chinese_as_well(told):
    made = told.run("localedef", "-i", "zh_CN", "-f", "UTF-8", "zh_CN.UTF-8", check=False)
    if made.returncode != 0:
        # Without the language journalctl falls back; that the database has it can be seen.
        database = (told.root / "var/lib/systemd/catalog/database").read_bytes()
        assert SUBJECTS["zh_CN.UTF-8"].encode() in database
        return
    shown = explained(told, "zh_CN.UTF-8")

    assert shown.count("Defined-By: ckptd") == len(MESSAGE_IDS)
    assert SUBJECTS["zh_CN.UTF-8"] in shown
    assert f"已没有规则要保留 {CHECKPOINT}" in shown
    assert "@" not in shown


def test_warnings_are_what_needs_a_person(told):
    entries = told.journal("SYSLOG_IDENTIFIER=ckptd", "PRIORITY=4", "PRIORITY=3")
    mine = {each["CKPTD_EVENT"] for each in entries if each["CKPTD_AT"].startswith("1970")}

    assert mine == {"shortfall", "diverged", "broken", "unreadable", "frozen"}
