"""The journal's catalog explains each kind of event, in each language, with what is sent."""

import re
from pathlib import Path

import pytest

from ckptd import audit
from ckptd.cli.commands import COMMANDS
from ckptd.ledger import Record
from ckptd.ledger.record import ACTS
from ckptd.notice import fact

SYSTEMD = Path(__file__).parents[1] / "systemd"
CATALOGS = {file.name: file for file in sorted(SYSTEMD.glob("*.catalog"))}
KINDS = {identity: kind for kind, identity in audit.MESSAGE_IDS.items()}
OF_CHECKPOINTS = ACTS | {"recognised", "broken", "diverged", "pin", "unpin"}
OF_RUNS = {"adopt", "finish"}
FACTS = {"pressure", "relieved", "shortfall", "frozen"}  # what they are about is never left out


def entries(catalog):
    """The entries of a catalog: message id, headers and text of each."""
    _, *parts = re.split(r"(?m)^-- ([0-9a-f]{32})$\n", catalog.read_text(encoding="utf-8"))
    for identity, whole in zip(parts[::2], parts[1::2], strict=True):
        head, _, text = whole.partition("\n\n")
        yield identity, dict(line.split(": ", 1) for line in head.splitlines()), text.strip()


def sent(kind):
    """The fields that every record of *kind* has in the journal, by their names there."""
    record = Record(event=kind, at=0.0)
    if kind in OF_CHECKPOINTS:
        record = Record(event=kind, at=0.0, run="/r", checkpoint="/r/c")
    elif kind in OF_RUNS:
        record = Record(event=kind, at=0.0, run="/r")
    elif kind in FACTS:
        record = fact(kind, "/r", "why")
    return {f"CKPTD_{name.upper()}" for name, value in audit.event(record).items() if value}


def test_there_is_one_in_english_and_one_in_chinese():
    assert list(CATALOGS) == ["ckptd.catalog", "ckptd.zh_CN.catalog"]


@pytest.mark.parametrize("name", CATALOGS)
def test_each_kind_has_one_entry_and_no_entry_is_of_none(name):
    assert sorted(each for each, *_ in entries(CATALOGS[name])) == sorted(KINDS)


@pytest.mark.parametrize("name", CATALOGS)
def test_each_entry_says_what_it_is_and_what_to_do(name):
    for identity, headers, text in entries(CATALOGS[name]):
        assert set(headers) == {"Subject", "Defined-By"}, KINDS[identity]
        assert headers["Defined-By"] == "ckptd"
        # What happened and what it means; what to do.
        assert text.count("\n\n") >= 1, KINDS[identity]


@pytest.mark.parametrize("name", CATALOGS)
def test_each_field_is_one_that_every_record_of_the_kind_has(name):
    """journalctl shows the name of a field where an entry lacks it."""
    for identity, headers, text in entries(CATALOGS[name]):
        named = set(re.findall(r"@([^@\s]+)@", headers["Subject"] + text))
        assert named <= sent(KINDS[identity]), KINDS[identity]


@pytest.mark.parametrize("name", CATALOGS)
def test_each_command_exists_and_holds_no_name_that_others_chose(name):
    known = {declare.__name__.strip("_") for declare in COMMANDS}
    for identity, _, text in entries(CATALOGS[name]):
        shown = re.findall(r"(?m)^ {4}(ckptd.*)$|`(ckptd[^`]*)`", text)
        for command in (one or other for one, other in shown):
            assert command.split()[1] in known, (KINDS[identity], command)
            assert "@" not in command, f"{command!r} is copied into a shell"


def test_both_languages_show_the_same_commands():
    shown = [
        {
            identity: re.findall(r"(?m)^ {4}(ckptd \w+(?: --\w+)?)", text)
            for identity, _, text in entries(catalog)
        }
        for catalog in CATALOGS.values()
    ]

    assert shown[0] == shown[1]
