"""ckptd.toml and conf.d: who wins over whom, and all problems of all of them at once."""

import os

import pytest

from ckptd.config import Watch, load
from ckptd.errors import ConfigError
from ckptd.policy import KeepBest, KeepLast, Marks
from ckptd.units import Share


@pytest.fixture
def place(tmp_path):
    (tmp_path / "conf.d").mkdir()
    return tmp_path


@pytest.fixture
def loaded(place):
    """Loads ckptd.toml and files of conf.d, with options."""

    def load_texts(main, options=None, /, **further):
        (place / "ckptd.toml").write_text(main)
        for name, text in further.items():
            (place / "conf.d" / f"{name}.toml").write_text(text)
        return load(str(place / "ckptd.toml"), options or {}, [])

    return load_texts


def problems(action):
    with pytest.raises(ConfigError) as caught:
        action()
    return [str(problem) for problem in caught.value.problems]


def test_a_later_file_wins_key_by_key_and_a_value_is_replaced_whole(loaded, place):
    settings = loaded(
        'mode = "observe"\n[policy]\nkeep_last = 5\nkeep_best = { count = 2, metric = "x" }\n',
        b="[policy]\nkeep_last = 4\npin = ['b']",
        a="[policy]\nkeep_last = 3\nkeep_best = 1\npin = ['a', 'c']\ntrash_for = '2h'",
    )

    policy = settings.policies.default
    assert policy.rules == (KeepLast(4), KeepBest(1))
    assert (policy.pin, policy.trash_for, settings.mode) == (("b",), 7200, "observe")
    assert settings.source == tuple(
        str(place / name) for name in ("ckptd.toml", "conf.d/a.toml", "conf.d/b.toml")
    )


def test_the_command_line_wins_over_conf_d(loaded):
    settings = loaded(
        "[policy]\nkeep_last = 5", {"policy.keep_last": "1"}, z="policy.keep_last = 4"
    )

    assert settings.policies.default.rules[0] == KeepLast(1)


def test_marks_of_one_filesystem_win_key_by_key_too(loaded):
    policies = loaded(
        "[disk]\nlow = '70%'\n[disk.'/data']\nhigh = '90%'\nlow = '60%'",
        a="[disk]\nlow = '75%'\n[disk.'/data/']\nhigh = '91%'",
    ).policies

    assert policies.marks == Marks(low=Share(75))
    assert policies.by_filesystem == {"/data": Marks(high=Share(91), low=Share(60))}


def test_watches_of_all_files_add_up(loaded):
    settings = loaded(
        "[[watch]]\npath = '/b'", a="[[watch]]\npath = '/a'\nadopt = 'all'\ndrop_ins = false"
    )

    assert settings.watches == (Watch("/b"), Watch("/a", adopt="all", drop_ins=False))


def test_the_same_watch_in_two_files_is_one_problem_with_both_places(loaded, place):
    (found,) = problems(
        lambda: loaded("[[watch]]\npath = '/a'", x="\n[[watch]]\nadopt = 'all'\npath = '/a/'")
    )

    assert found == (
        f"{place}/conf.d/x.toml: watch.path (line 4): /a is watched twice, "
        f"here and in {place}/ckptd.toml: watch.path (line 2); keep one"
    )


def test_one_filesystem_in_two_spellings_is_a_problem(loaded, place):
    (found,) = problems(
        lambda: loaded("[disk.'/a']\nhard = '99%'\n[disk.'/a/']\nhard = '98%'\nhigh = '80.5%'")
    )

    assert found == (
        f'{place}/ckptd.toml: disk."/a/".hard (line 4): /a has a hard twice, '
        f'here and in {place}/ckptd.toml: disk."/a".hard (line 2); keep one'
    )


def test_all_problems_of_all_files_and_options_are_told_at_once(loaded, place):
    found = problems(
        lambda: loaded(
            "mood = 1", {"disk.high": "x"}, a="[policy", b="[policy]\nkeep_lats = 1\npin = 3"
        )
    )

    assert [text.split(" (line")[0].split(": it is no TOML")[0] for text in found[:4]] == [
        f"{place}/ckptd.toml: mood",
        f"{place}/conf.d/a.toml",
        f"{place}/conf.d/b.toml: policy.keep_lats",
        f"{place}/conf.d/b.toml: policy.pin",
    ]
    assert found[4].startswith("--high: ")
    assert "did you mean keep_last?" in found[2]


def test_contradictions_between_files_name_both(loaded, place):
    (found,) = problems(
        lambda: loaded("[policy]\nkeep_last = 1", a="[policy.pressure]\nkeep_last = 2")
    )

    assert found == (
        f"{place}/conf.d/a.toml: policy.pressure.keep_last (line 2): 2 keeps more under pressure "
        f"than while there is room, where {place}/ckptd.toml: policy.keep_last (line 2) is 1; "
        "write 1 here, or let policy.keep_last keep more"
    )


def test_marks_out_of_order_are_told_where_the_stronger_one_stands(loaded, place):
    (found,) = problems(
        lambda: loaded("[disk.'/d']\nlow = '70%'", {"disk.low": "50%"}, a="disk.high = '45%'")
    )[:1]

    assert found.startswith("--low: low (50%) is not below high (45%)")


def test_hidden_files_and_other_names_are_passed_over(loaded, place):
    for name in (".a.toml", "a.toml~", "a.toml.rpmsave", "README", "a.TOML", "#a.toml#"):
        (place / "conf.d" / name).write_text("[broken")

    assert loaded("").source == (str(place / "ckptd.toml"),)


def test_links_are_followed_and_what_is_no_file_is_a_problem(loaded, place):
    (place / "shared").write_text("mode = 'observe'")
    (place / "conf.d" / "a.toml").symlink_to("../shared")
    assert loaded("").mode == "observe"

    (place / "conf.d" / "b.toml").symlink_to("nowhere")
    (place / "conf.d" / "c.toml").mkdir()
    os.mkfifo(place / "conf.d" / "d.toml")
    assert [text.removeprefix(f"{place}/conf.d/") for text in problems(lambda: loaded(""))] == [
        "b.toml: it cannot be read: No such file or directory",
        "c.toml: it cannot be read: Is a directory",
        "d.toml: it is not a regular file",
    ]


@pytest.mark.parametrize("kind", ["file", "dangling"])
def test_a_conf_d_that_cannot_be_listed_is_a_problem(loaded, place, kind):
    (place / "conf.d").rmdir()
    if kind == "file":
        (place / "conf.d").write_text("")
    else:
        (place / "conf.d").symlink_to("nowhere")

    found = problems(lambda: loaded("mood = 1"))

    assert found[0].startswith(f"{place}/ckptd.toml: mood")
    assert found[1].startswith(f"{place}/conf.d: it cannot be listed")


def test_a_named_file_must_be_there_whatever_conf_d_holds(place):
    (place / "conf.d" / "a.toml").write_text("")

    (found,) = problems(lambda: load(str(place / "ckptd.toml"), {}, []))

    assert "ckptd.toml: it cannot be read: No such file" in found
