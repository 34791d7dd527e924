"""What a person has changed is never overwritten and never removed."""

import os
from pathlib import Path

import pytest

from ckptd.install.files import Wanted, put, take
from ckptd.install.seal import is_untouched, sealed


@pytest.fixture
def wanted(tmp_path):
    return Wanted(str(tmp_path / "below" / "ckptd.service"), "[Unit]\n")


def text_of(wanted):
    return Path(wanted.path).read_text()


def test_what_is_written_can_be_read_by_all_and_is_taken_away_again(wanted):
    assert put(wanted, dry=False).did == "wrote"
    assert os.stat(wanted.path).st_mode & 0o777 == 0o644
    assert text_of(wanted).startswith(wanted.text)
    assert os.listdir(os.path.dirname(wanted.path)) == ["ckptd.service"]
    assert take(wanted.path, dry=False).did == "removed"
    assert take(wanted.path, dry=False) is None


def test_written_twice_it_is_kept(wanted):
    put(wanted, dry=False)
    again = put(wanted, dry=False)
    assert (again.did, again.amiss) == ("kept", False)


def test_what_an_older_version_wrote_gives_way_to_the_new(wanted):
    put(Wanted(wanted.path, "of before\n"), dry=False)
    assert put(wanted, dry=False).did == "wrote"
    assert text_of(wanted) == sealed(wanted.text)


@pytest.mark.parametrize(
    "change",
    [
        lambda text: "# mine\n" + text,
        lambda text: text + "[Service]\n",
        lambda text: text.replace("Unit", "unit"),
        lambda text: text.removesuffix("\n"),
        lambda text: "",
        lambda text: "\udcff" + text,
    ],
)
def test_what_somebody_changed_stays(wanted, change):
    put(wanted, dry=False)
    with open(wanted.path, "w", errors="surrogateescape") as file:
        file.write(changed := change(sealed(wanted.text)))
    again = put(wanted, dry=False)
    taken = take(wanted.path, dry=False)

    assert (again.did, again.amiss) == ("kept", True)
    assert taken.did == "kept"
    with open(wanted.path, errors="surrogateescape", newline="") as file:
        assert file.read() == changed


def test_what_is_a_persons_from_the_start_stays_and_nothing_is_amiss(wanted):
    theirs = Wanted(wanted.path, "newer\n", theirs=True)
    put(wanted, dry=False)
    again = put(theirs, dry=False)
    assert (again.did, again.amiss) == ("kept", False)
    assert text_of(wanted) == sealed(wanted.text)


def test_mask_or_any_other_link_stays(wanted):
    os.mkdir(os.path.dirname(wanted.path))
    os.symlink("/dev/null", wanted.path)
    again = put(wanted, dry=False)
    assert (again.did, again.amiss) == ("kept", True)
    assert take(wanted.path, dry=False).did == "kept"
    assert os.readlink(wanted.path) == "/dev/null"


def test_dry_it_touches_nothing(wanted, tmp_path):
    assert put(wanted, dry=True).did == "wrote"
    assert os.listdir(tmp_path) == []
    put(wanted, dry=False)
    assert take(wanted.path, dry=True).did == "removed"
    assert os.path.exists(wanted.path)


def test_what_fails_is_said_and_nothing_half_stays(tmp_path):
    (tmp_path / "file").touch()
    failed = put(Wanted(str(tmp_path / "file" / "ckptd.service"), "text"), dry=False)
    assert (failed.did, failed.amiss, failed.why) == ("failed", True, "Not a directory")
    (tmp_path / "ckptd.service").mkdir()
    assert put(Wanted(str(tmp_path / "ckptd.service"), "text"), dry=False).amiss


def test_seal_of_another_text_is_none():
    one, other = sealed("one\n"), sealed("other\n")
    assert is_untouched(one.encode())
    assert is_untouched(other.encode())
    assert not is_untouched((other.removesuffix(other[6:]) + one[4:]).encode())
    assert not is_untouched(b"one\n")
