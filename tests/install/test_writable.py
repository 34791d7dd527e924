"""Who else may write what root would run. Needs no root: whoever runs this is the trusted one."""

import grp
import os
import pwd

import pytest

from ckptd.install.writable import Writable

ME = {0, os.geteuid()}


@pytest.fixture
def place(tmp_path):
    """A library of our own: way/lib/{module.py,package/inner.py}."""
    lib = tmp_path / "way" / "lib"
    (lib / "package").mkdir(parents=True)
    (lib / "module.py").touch()
    (lib / "package" / "inner.py").touch()
    for path in (lib.parent, lib, *lib.rglob("*")):
        path.chmod(0o755 if path.is_dir() else 0o644)
    return lib


def found(path):
    it = Writable(ME).by_others(str(path))
    return it and (os.path.basename(it.path), it.why)


def test_ours_alone_is_found_to_be_so(place):
    assert found(place) is None
    assert found(place / "missing.zip") is None


@pytest.mark.parametrize(
    "name", ["way", "lib", "lib/module.py", "lib/package", "lib/package/inner.py"]
)
def test_one_thing_that_everybody_may_write_is_found(place, name):
    path = place.parents[1] / ("way" if name == "way" else f"way/{name}")
    path.chmod(path.stat().st_mode | 0o002)
    assert found(place) == (path.name, "may be written by everybody")


def test_in_a_sticky_directory_above_names_are_safe_and_new_ones_are_not(place):
    place.parent.chmod(0o1777)
    assert found(place) is None
    assert found(place.parent / "missing") == ("way", "may be written by everybody")
    place.chmod(0o1777)
    assert found(place) == ("lib", "may be written by everybody")


def test_what_a_link_leads_to_counts(place, tmp_path):
    other = tmp_path / "other.py"
    other.touch()
    other.chmod(0o666)
    (place / "package" / "link.py").symlink_to("../../../other.py")
    assert found(place) == ("other.py", "may be written by everybody")


def test_way_by_a_link_is_the_whole_way(place, tmp_path):
    (tmp_path / "open").mkdir()
    (tmp_path / "open").chmod(0o777)
    (tmp_path / "open" / "bin").symlink_to(place)
    (tmp_path / "link").symlink_to("open/bin")
    assert found(tmp_path / "link") == ("open", "may be written by everybody")


@pytest.mark.root
@pytest.mark.skipif(os.geteuid() != 0, reason="needs root: files of others")
def test_owner_and_groups_of_others(place):
    file = place / "module.py"
    os.chown(file, 65534, 0)
    assert found(place)[1] == "belongs to nobody"
    os.chown(file, 0, empty_group())
    file.chmod(0o664)
    assert found(place) is None
    os.chown(file, 0, 54321)  # of no name, so anybody may be in it
    assert found(place)[1] == "may be written by the group 54321"
    os.chown(place, 65534, 0)
    assert found(file) == ("lib", "belongs to nobody")


def empty_group():
    primary = {user.pw_gid for user in pwd.getpwall()}
    return next(g.gr_gid for g in grp.getgrall() if not g.gr_mem and g.gr_gid not in primary)
