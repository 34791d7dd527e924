"""A configuration that changes while it is in force: noticed, tried once, and never half taken."""

import os

import pytest
from reachable import reachable

from ckptd.config import Configuration
from ckptd.errors import ConfigError

USER = 1500


@pytest.fixture
def place(tmp_path):
    (tmp_path / "ckptd.toml").write_text("mode = 'observe'")
    return tmp_path


@pytest.fixture
def configuration(place):
    return Configuration(str(place / "ckptd.toml"), {}, [])


def test_nothing_changes_by_being_looked_at(configuration):
    assert configuration.settings.mode == "observe"
    assert not configuration.changed()
    assert configuration.reload() == configuration.settings
    assert not configuration.changed()


def test_a_change_is_noticed_and_taken(configuration, place):
    (place / "ckptd.toml").write_text("mode = 'enforce'")

    assert configuration.changed()
    assert configuration.settings.mode == "observe"
    assert configuration.reload().mode == "enforce"
    assert configuration.settings.mode == "enforce"
    assert not configuration.changed()


def test_a_broken_one_leaves_the_old_in_force_and_is_tried_once(configuration, place):
    before = configuration.settings
    (place / "ckptd.toml").write_text("mode = 'enforced'\nx = 1")

    with pytest.raises(ConfigError) as caught:
        configuration.reload()
    assert len(caught.value.problems) == 2
    assert configuration.settings is before
    assert not configuration.changed()

    (place / "ckptd.toml").write_text("mode = 'enforce'")
    assert configuration.changed()
    assert configuration.reload().mode == "enforce"


def test_conf_d_appears_grows_changes_and_goes(configuration, place):
    further = place / "conf.d" / "a.toml"
    further.parent.mkdir()
    assert not configuration.changed()

    for text, keeps in (("policy.keep_last = 3", 3), ("policy.keep_last = 4", 4)):
        further.write_text(text)
        assert configuration.changed()
        assert configuration.reload().policies.default.rules[0].count == keeps

    (further.parent / "notes.txt").write_text("")
    assert not configuration.changed()
    further.unlink()
    assert configuration.changed()
    assert configuration.reload().policies.default.rules[0].count is None


def test_a_file_of_the_same_size_and_time_is_another_when_it_was_exchanged(configuration, place):
    file = place / "ckptd.toml"
    times = (file.stat().st_atime_ns, file.stat().st_mtime_ns)
    (place / "new").write_text("mode = 'enforce'")
    os.utime(place / "new", ns=times)
    os.replace(place / "new", file)

    assert configuration.changed()


def test_a_link_that_leads_elsewhere_is_a_change(place):
    for name, mode in (("one", "observe"), ("two", "enforce")):
        (place / name).write_text(f"mode = '{mode}'")
    link = place / "link.toml"
    link.symlink_to("one")
    configuration = Configuration(str(link), {}, [])

    link.unlink()
    link.symlink_to("two")

    assert configuration.changed()
    assert configuration.reload().mode == "enforce"


@pytest.fixture
def home(tmp_path, monkeypatch):
    """Where the configuration of a user lies, while the test is one who is not root."""
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    own = tmp_path / "ckptd"
    own.mkdir()
    if root := os.geteuid() == 0:
        reachable(own)
        os.chown(own, USER, -1)
        os.seteuid(USER)
    yield own
    if root:
        os.seteuid(0)


def test_conf_d_alone_is_a_configuration(home):
    (home / "conf.d").mkdir()
    (home / "conf.d" / "a.toml").write_text("mode = 'observe'")

    settings = Configuration(None, {}, []).settings

    assert settings.mode == "observe"
    assert settings.source == (str(home / "conf.d" / "a.toml"),)


def test_a_configuration_that_appears_where_none_was_is_a_change(home):
    configuration = Configuration(None, {}, [])
    assert configuration.settings.source == ()

    (home / "ckptd.toml").write_text("mode = 'observe'")

    assert configuration.changed()
    assert configuration.reload().mode == "observe"


def test_a_file_that_was_there_and_is_gone_is_no_wish_to_forget_it(home):
    (home / "ckptd.toml").write_text("mode = 'observe'")
    configuration = Configuration(None, {}, [])

    (home / "ckptd.toml").unlink()

    assert configuration.changed()
    with pytest.raises(ConfigError, match="cannot be read: No such file"):
        configuration.reload()
    assert configuration.settings.mode == "observe"


def test_what_may_not_be_seen_is_a_problem_and_not_taken_for_absent(home):
    (home / "ckptd.toml").write_text("mode = 'observe'")
    home.chmod(0)
    try:
        with pytest.raises(ConfigError) as caught:
            Configuration(None, {}, [])
    finally:
        home.chmod(0o755)
    told = [str(problem) for problem in caught.value.problems]
    assert [text.rpartition(": ")[2] for text in told] == ["Permission denied"] * 2


def test_options_and_paths_hold_through_a_reload(place):
    configuration = Configuration(
        str(place / "ckptd.toml"), {"policy.keep_last": "7"}, [str(place / "runs")]
    )
    (place / "ckptd.toml").write_text("policy.keep_last = 3\n[[watch]]\npath = '/x'")

    settings = configuration.reload()

    assert settings.policies.default.rules[0].count == 7
    assert [watch.path for watch in settings.watches] == [str(place / "runs")]


def test_the_directories_to_watch_are_real_paths_even_before_they_exist(place):
    (place / "real").mkdir()
    (place / "real" / "ckptd.toml").write_text("")
    (place / "link").symlink_to("real")

    configuration = Configuration(str(place / "link" / "ckptd.toml"), {}, [])

    real = os.path.realpath(place / "real")
    assert configuration.directories() == (real, f"{real}/conf.d")


def test_a_first_one_that_is_broken_is_not_taken(place):
    (place / "ckptd.toml").write_text("mood = 1")

    with pytest.raises(ConfigError):
        Configuration(str(place / "ckptd.toml"), {}, [])
