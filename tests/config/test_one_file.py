"""The configuration: what it means, and what is said when it means nothing."""

import os
import re
import subprocess
import sys
from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ckptd.config import Settings, Source, Watch, configured_file, load
from ckptd.config.given import of_options
from ckptd.config.keys import TABLES
from ckptd.config.lines import lines_of
from ckptd.config.options import OPTIONS
from ckptd.config.resolve import resolve
from ckptd.errors import ConfigError
from ckptd.policy import (
    KeepBest,
    KeepEverySteps,
    KeepLast,
    KeepPeriods,
    KeepWithin,
    Levels,
    Marks,
    Policies,
    Policy,
)
from ckptd.units import Share, Span

NOTHING = ""
BY_THE_CALENDAR = """
keep_last = 0
keep_best = 0
keep_within = "1y2month"
keep_hourly = 24
keep_daily = 7
keep_weekly = 4
keep_monthly = 6
keep_yearly = "unlimited"
[policy.pressure]
keep_within = "6h"
keep_hourly = 0
keep_weekly = 1
"""
DEFAULT_FIRM = (KeepLast(2), KeepBest(1))


@pytest.fixture
def loaded(tmp_path):
    """Loads a TOML text, with options and PATHs."""

    def load_text(text=NOTHING, options=None, paths=()):
        file = tmp_path / "ckptd.toml"
        file.write_text(text)
        return load(str(file), options or {}, paths)

    return load_text


@pytest.fixture
def problems(loaded):
    """The problems of a TOML text, as texts."""

    def problems_of(text=NOTHING, options=None):
        with pytest.raises(ConfigError) as caught:
            loaded(text, options)
        return [str(problem) for problem in caught.value.problems]

    return problems_of


# --- what holds --------------------------------------------------------------------------


def test_an_empty_file_is_the_defaults(loaded):
    settings = loaded()

    assert settings.policies == Policies()
    assert settings == Settings(Policies(), source=settings.source)


@pytest.mark.parametrize(
    ("text", "rules", "firm"),
    [
        ("keep_last = 3", (KeepLast(3), KeepBest(1)), (KeepLast(3), KeepBest(1))),
        ("keep_last = 1", (KeepLast(1), KeepBest(1)), (KeepLast(1), KeepBest(1))),
        ("keep_last = 0\nkeep_best = 0", (), ()),
        ('keep_last = "unlimited"', (KeepLast(None), KeepBest(1)), (KeepLast(2), KeepBest(1))),
        (
            '[policy.pressure]\nkeep_last = "unlimited"',
            (KeepLast(None), KeepBest(1)),
            (KeepLast(None), KeepBest(1)),
        ),
        (
            "keep_last = 5\n[policy.pressure]\nkeep_last = 0",
            (KeepLast(5), KeepBest(1)),
            (KeepBest(1),),
        ),
        (
            "keep_every_steps = 500\nkeep_last = 0\n[policy.pressure]\nkeep_every_steps = 1000",
            (KeepBest(1), KeepEverySteps(500)),
            (KeepBest(1), KeepEverySteps(1000)),
        ),
        (
            BY_THE_CALENDAR,
            (
                KeepWithin(Span(months=14)),
                KeepPeriods("hourly", 24),
                KeepPeriods("daily", 7),
                KeepPeriods("weekly", 4),
                KeepPeriods("monthly", 6),
                KeepPeriods("yearly", None),
            ),
            (
                KeepWithin(Span(seconds=21_600)),
                KeepPeriods("daily", 7),
                KeepPeriods("weekly", 1),
                KeepPeriods("monthly", 6),
                KeepPeriods("yearly", None),
            ),
        ),
        ("keep_within = '0s'\nkeep_daily = 0", (KeepLast(None), KeepBest(1)), DEFAULT_FIRM),
        (
            "keep_best = { count = 3, metric = 'x' }\n[policy.pressure]\nkeep_best = 1",
            (KeepLast(None), KeepBest(3, "x")),
            (KeepLast(2), KeepBest(1, "x")),
        ),
    ],
)
def test_a_rule_is_as_firm_as_it_is_unless_pressure_says_otherwise(loaded, text, rules, firm):
    policy = loaded(f"[policy]\n{text}").policies.default

    assert policy.rules == rules
    assert policy.firm == firm


@pytest.mark.parametrize(
    ("text", "rules", "firm"),
    [
        pytest.param(
            "finished.keep_last = 1",
            (KeepLast(1), KeepBest(1)),
            (KeepLast(1), KeepBest(1)),
            id="as-firm-as-it-is",
        ),
        pytest.param(
            "finished.keep_last = 3\npressure.keep_last = 2",
            (KeepLast(3), KeepBest(1)),
            (KeepLast(2), KeepBest(1)),
            id="pressure-goes-on-to-hold",
        ),
        pytest.param(
            "finished.keep_last = 1\npressure.keep_last = 2",
            (KeepLast(1), KeepBest(1)),
            (KeepLast(1), KeepBest(1)),
            id="pressure-is-bounded",
        ),
        pytest.param(
            "finished.keep_last = 0\nfinished.keep_best = 0",
            (),
            (),
            id="all-switched-off",
        ),
        pytest.param(
            "keep_last = 5\nkeep_daily = 7\npressure.keep_daily = 3\nfinished.keep_last = 1",
            (KeepLast(1), KeepBest(1), KeepPeriods("daily", 7)),
            (KeepLast(1), KeepBest(1), KeepPeriods("daily", 3)),
            id="key-by-key",
        ),
        pytest.param(
            "keep_last = 5\nfinished.keep_last = 'unlimited'",
            (KeepLast(None), KeepBest(1)),
            (KeepLast(2), KeepBest(1)),
            id="unlimited-once-it-is-over",
        ),
        pytest.param(
            "keep_best = { count = 3, metric = 'x' }\npressure.keep_best = 2\n"
            "finished.keep_best = { count = 5, metric = 'y' }",
            (KeepLast(None), KeepBest(5, "y")),
            (KeepLast(2), KeepBest(2, "y")),
            id="by-its-own-metric-and-the-count-of-pressure",
        ),
        pytest.param(
            "keep_last = 1\nfinished.keep_within = '1d'\npressure.keep_within = '0s'",
            (KeepLast(1), KeepBest(1), KeepWithin(Span(days=1))),
            (KeepLast(1), KeepBest(1)),
            id="kept-while-there-is-room-alone",
        ),
    ],
)
def test_finished_takes_the_place_of_the_policy_key_by_key(loaded, text, rules, firm):
    policy = loaded("".join(f"policy.{line}\n" for line in text.splitlines())).policies.default

    assert policy.finished == Levels(rules, firm)


def test_without_a_finished_key_there_is_no_finished_policy(loaded):
    assert loaded("[policy]\nkeep_last = 3\n[policy.finished]").policies.default.finished is None


def test_every_span_and_pattern_reaches_the_policy(loaded):
    policy = loaded(
        '[policy]\nmin_age = "10min"\nsettle = "1s"\nbroken_after = "2h"\ntrash_for = "0s"\n'
        'finished_after = "1d"\npin = ["*-merged"]'
    ).policies.default

    assert policy == Policy(
        pin=("*-merged",),
        min_age=600,
        settle=1,
        broken_after=7200,
        trash_for=0,
        finished_after=86_400,
    )


def test_one_filesystem_inherits_what_it_does_not_set(loaded):
    policies = loaded('[disk]\nlow = "70%"\n[disk."/data"]\nhigh = "90%"').policies

    assert policies.marks == Marks(low=Share(70))
    assert policies.by_filesystem == {"/data": Marks(high=Share(90), low=Share(70))}


def test_a_mark_may_be_a_size_in_use(loaded):
    assert loaded('[disk]\nhigh = "2TiB"\nlow = "1TiB"\nhard = "99%"').policies.marks == Marks(
        high=2 * 2**40, low=2**40, hard=Share(99)
    )


def test_watches_are_absolute_and_globs_stay_patterns(loaded):
    text = '[[watch]]\npath = "~/runs"\nadopt = "all"\n[[watch]]\npath = "/data/*/out"'

    assert loaded(text).watches == (
        Watch(os.path.expanduser("~/runs"), adopt="all"),
        Watch("/data/*/out"),
    )


def test_a_path_replaces_the_configured_watches_and_adopts(loaded):
    settings = loaded('[[watch]]\npath = "/data"', paths=["out", "out", "/x/../y"])

    assert settings.watches == (
        Watch(os.path.abspath("out"), adopt="all", named=True),
        Watch("/y", adopt="all", named=True),
    )


# --- the command line --------------------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "rules"),
    [
        ({"policy.keep_last": "2"}, (KeepLast(2), KeepBest(1))),
        ({"policy.keep_last": "unlimited"}, (KeepLast(None), KeepBest(1))),
        ({"policy.keep_best": "0"}, (KeepLast(None),)),
        ({"policy.keep_best": "2:eval_loss"}, (KeepLast(None), KeepBest(2, "eval_loss"))),
        ({"policy.keep_best": "2:acc:max"}, (KeepLast(None), KeepBest(2, "acc", "max"))),
        (
            {"policy.keep_daily": "7", "policy.keep_within": "1month14d"},
            (KeepLast(None), KeepBest(1), KeepWithin(Span(1, 14)), KeepPeriods("daily", 7)),
        ),
    ],
)
def test_options_are_texts_of_the_same_keys(options, rules):
    assert resolve(Source(), of_options(options), ()).policies.default.rules == rules


def test_the_command_line_wins_over_the_file_key_by_key(loaded):
    settings = loaded(
        'mode = "observe"\n[policy]\nkeep_last = 5\ntrash_for = "2h"\npin = ["a"]',
        {"policy.keep_last": "1", "policy.pin": ["b", "c"]},
    )

    assert settings.policies.default == Policy(
        (KeepLast(1), KeepBest(1)), (KeepLast(1), KeepBest(1)), pin=("b", "c"), trash_for=7200
    )
    assert settings.mode == "observe"
    assert settings.source[1:] == ("command line",)


def test_a_mark_on_the_command_line_wins_over_every_filesystem(loaded):
    policies = loaded('[disk."/data"]\nhigh = "98%"\nhard = "99%"', {"disk.high": "90%"}).policies

    assert policies.by_filesystem["/data"] == Marks(high=Share(90), hard=Share(99))


def test_every_policy_key_of_the_file_is_an_option_and_reaches_it():
    of_service = {"watch", "notify", "prometheus"}
    tables = [table for table in TABLES if table.name not in of_service]
    keys = {table.dotted(key) for table in tables for key in table.keys}

    assert {option.key for option in OPTIONS} == keys - {"trust"}


def test_a_name_of_an_option_is_its_key_with_dashes():
    for option in OPTIONS:
        tail = option.key.removeprefix("policy.").removeprefix("disk.")
        assert option.name == tail.replace(".", "-").replace("_", "-")


# --- what is wrong -----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ('mode = "enfroce"', "mode (line 1): 'enfroce' is not one of enforce, observe; did you"),
        ("keep_last = 3", "keep_last (line 1): unknown key; it belongs under [policy]"),
        ("[policy]\nkeep_lst = 3", "policy.keep_lst (line 2): unknown key; did you mean keep_last"),
        ("[polcy]\n", "polcy (line 1): unknown key; did you mean policy?"),
        ("[policy]\nkeep_last = -1", 'counts are not; write "unlimited"'),
        ("[policy]\nkeep_best = -1", "counts are not; write 0"),
        ("[policy]\nkeep_last = true", "policy.keep_last (line 2): True is not a number"),
        ('[policy]\nkeep_last = "3"', "policy.keep_last (line 2): '3' is not a number"),
        ("[policy]\nkeep_last = 2.0", "2.0 is not a number"),
        (f"[policy]\nkeep_last = 0x{'f' * 9000}", "is no count"),
        (f"[policy]\nkeep_last = {'9' * 9000}", "it is no TOML"),
        ("[policy]\nkeep_best = { metrc = 'x' }", "'metrc' is no key of it"),
        ("[policy]\nkeep_best = { mode = 'min' }", "mode without a metric"),
        ("[policy]\nkeep_best = { metric = 'x', mode = 'mim' }", "did you mean min?"),
        ('[policy]\nmin_age = "5m"', "minutes or months"),
        ('[policy]\nkeep_within = "1y5m"', "'1y5m' could be minutes or months; write min or month"),
        ('[policy]\nkeep_within = "1.5d"', "write whole ones"),
        ("[policy]\nkeep_within = 6", '6 has no unit; write "6h" if you mean that'),
        ("[policy]\nkeep_within = 'unlimited'", "is not a span such as 6h, 7d or 1y2month"),
        ("[policy]\nkeep_daily = -1", 'counts are not; write "unlimited"'),
        ("[policy]\nkeep_daly = 1", "unknown key; did you mean keep_daily?"),
        ("[policy.finished]\nkeep_lst = 1", "unknown key; did you mean keep_last?"),
        ("[policy.pressure]\nkeep_daily = 7", "7 keeps more under pressure than while there is"),
        (
            "[policy]\nkeep_within = '1h'\n[policy.pressure]\nkeep_within = '1d'",
            '(line 2) is 1h; write "1h" here, or let policy.keep_within keep more',
        ),
        ("[policy]\ntrash_for = 3600", '3600 has no unit; write "3600s"'),
        ('[policy]\npin = "x"', "'x' is not a list; write [\"x\"]"),
        ('[policy]\npin = ["a/b"]', "can match nothing"),
        (f"[policy]\npin = {['a'] * 1001}", "1001 patterns are more than the 1000 that each"),
        ("[policy]\npin = [3]", "3 is not a text"),
        ("policy = 3", "policy (line 1): it is not a table; write [policy] above"),
        ("[watch]\npath = '/x'", "it is not a list of tables; write [[watch]]"),
        ("[[watch]]\nadopt = 'new'", "watch.path (line 1): it is missing"),
        ("[[watch]]\npath = 'x'", "'x' is not absolute; begin it with / or ~/"),
        ('[[watch]]\npath = "/x\\u0000"', "a zero byte"),
        ("[[watch]]\npath = '/x'\n[[watch]]\npath = '/x/'", "(line 4): /x is watched twice"),
        ("[[watch]]\npath = '/x'\nmixed_owners = 'yes'", "neither true nor false"),
        ("[disk]\nhigh = 85", 'disk.high (line 2): 85 has no unit; write "85%"'),
        ('[disk]\nhigh = "85"', '85 has no unit; write "85%"'),
        ('[disk]\nhigh = "101%"', "at most 100%"),
        ('[disk]\nlow = "-1%"', "is not a percentage"),
        ('[disk]\nlow = "90%"', "disk.low (line 2): low (90%) is not below high (85%)"),
        ('[disk]\nhigh = "80%"', "low (80%) is not below high (80%)"),
        ('[disk]\nhigh = "96%"', "high (96%) is above hard (95%)"),
        ('[disk]\nhigh = "1GiB"\nlow = "2GiB"', "low (2.0 GiB) is not below high (1.0 GiB)"),
        ('[disk."/d"]\nhigh = "99%"', 'disk."/d".high (line 2): high (99%) is above hard (95%)'),
        ('[disk."/d"]\nhihg = "9%"', 'disk."/d".hihg (line 2): unknown key; did you mean high?'),
        ("[disk]\n'/d' = 3", 'it is not a table; write [disk."/d"]'),
        ("[policy]\nkeep_last = 1\n[policy.pressure]\nkeep_last = 2", "(line 2) is 1; write 1"),
        (
            "[policy]\nkeep_last = 9\n[policy.pressure]\nkeep_last = 'unlimited'",
            "unlimited keeps m",
        ),
        ("[policy.pressure]\nkeep_best = 2", "2 keeps more under pressure"),
        ("[policy.pressure]\nkeep_every_steps = 2", "keep_every_steps by default is 0"),
        (
            "[policy]\nkeep_every_steps = 100\n[policy.pressure]\nkeep_every_steps = 50",
            "50 keeps more under pressure",
        ),
        ("[policy.pressure]\nkeep_best = { count = 1, metric = 'x' }", "it ranks otherwise"),
    ],
)
def test_a_mistake_gets_one_sentence_with_its_place(problems, text, said):
    (found,) = problems(text)

    assert said in found
    assert "ckptd.toml" in found


@pytest.mark.parametrize(
    "text",
    [
        "[policy]\nkeep_optimizer_last = 1",
        "[policy.finished]\nkeep_optimizer_last = 1",
        '[policy]\narchive = "best"',
        "[archive]\nurl = 's3://b'",
    ],
)
def test_a_rule_of_a_later_version_is_never_silently_ignored(problems, text):
    assert "this version of ckptd does not know it yet" in problems(text)[0]


def test_a_key_of_a_later_version_may_stand_there_switched_off(loaded):
    settings = loaded(
        '[policy]\nkeep_optimizer_last = "unlimited"\narchive = "never"\n'
        '[policy.pressure]\nkeep_optimizer_last = "unlimited"\n'
        '[policy.finished]\nkeep_optimizer_last = "unlimited"\n'
    )

    assert settings == Settings(Policies(), source=settings.source)


def test_what_bounds_the_saves_is_a_size_or_a_word(loaded):
    settings = loaded(
        '[[watch]]\npath = "/x"\ncapacity = "2TiB"\n[[watch]]\npath = "/y"\n'
        'capacity = "unlimited"\n[policy]\nmax_size = "200GiB"\n'
        '[disk]\nreserve = "20GiB"\n[disk."/d"]\nreserve = "auto"'
    )

    assert [watch.capacity for watch in settings.watches] == [2 * 2**40, None]
    assert settings.policies.default.max_size == 200 * 2**30
    assert settings.policies.marks.reserve == 20 * 2**30
    assert settings.policies.by_filesystem["/d"].reserve is None


def test_all_problems_are_told_at_once_in_the_order_of_the_file(problems):
    found = problems(
        'mode = "x"\n[policy]\nkeep_last = -1\nkeeplast = 2\n[disk]\nhigh = 1',
        {"policy.keep_best": "2:x:mn", "disk.low": "80"},
    )

    assert [re.sub(r".*toml: ", "", text).split(":")[0] for text in found] == [
        "mode (line 1)",
        "policy.keep_last (line 3)",
        "policy.keeplast (line 4)",
        "disk.high (line 6)",
        "--keep-best",
        "--low",
    ]


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"policy.keep_last": "-1"}, '--keep-last: -1 is negative, and counts are not; write "unl'),
        ({"policy.keep_last": "two"}, "--keep-last: 'two' is not a number"),
        ({"policy.keep_last": "²"}, "'²' is not a number"),
        ({"policy.keep_best": "1:a:min:x"}, "too many colons"),
        ({"policy.keep_best": "1:"}, "--keep-best: '' is not a text"),
        ({"policy.trash_for": "0"}, '--trash-for: 0 has no unit; write "0s"'),
        ({"policy.pin": [""]}, "--pin: '' is not a text"),
        ({"mode": "observ"}, "did you mean observe?"),
        ({"disk.max_headroom": "5%"}, "is not a size"),
        (
            {"policy.keep_last": "1", "policy.pressure.keep_last": "2"},
            "give --pressure-keep-last 1",
        ),
        (
            {"policy.keep_within": "1h", "policy.pressure.keep_within": "1d"},
            "give --pressure-keep-within 1h, or let --keep-within keep more",
        ),
        ({"policy.finished.keep_last": "-1"}, "--finished-keep-last: -1 is negative"),
    ],
)
def test_a_mistake_on_the_command_line_names_the_option(problems, options, said):
    (found,) = problems(options=options)

    assert found.startswith("--")
    assert said in found


@pytest.mark.parametrize(
    ("raw", "said"),
    [
        (b"a = [", "it is no TOML: Invalid value (at end of document)"),
        (b"a = 1\na = 2\nb = 3", "it is no TOML: Cannot overwrite a value (at line 2"),
        (b"a = " + b"[" * 200_000, "nested too deeply"),
        (b"mode = '\xff'", "byte 8 of it is no UTF-8"),
        (b"#" * (2**20 + 1), "larger than 1 MiB"),
    ],
)
def test_a_file_that_is_no_toml_is_one_problem(tmp_path, raw, said):
    file = tmp_path / "ckptd.toml"
    file.write_bytes(raw)

    with pytest.raises(ConfigError, match=re.escape(said)) as caught:
        load(str(file), {}, [])
    assert len(caught.value.problems) == 1


def test_what_is_no_file_is_a_problem_and_never_a_hang(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    os.symlink("loop", tmp_path / "loop")
    for name in ("pipe", ".", "loop", "absent", "absent/deeper", "x" * 300):
        with pytest.raises(ConfigError, match=r"cannot be read|not a regular file"):
            load(str(tmp_path / name), {}, [])


def test_names_in_a_message_never_steer_a_terminal(problems):
    (found,) = problems('"a\\u001b[31m\\n" = 1')

    assert found.isprintable()


@given(st.text(st.sampled_from("[]{}=\"'.,#\n abk_-/0159~"), max_size=80))
def test_any_text_is_settings_or_problems(tmp_path_factory, text):
    file = tmp_path_factory.mktemp("any") / "ckptd.toml"
    file.write_text(text)

    with suppress(ConfigError):
        assert isinstance(load(str(file), {}, []), Settings)


# --- where it lies, what it costs --------------------------------------------------------


def test_root_and_users_have_their_own_file():
    assert configured_file(0, {"XDG_CONFIG_HOME": "/x"}) == "/etc/ckptd/ckptd.toml"
    assert configured_file(7, {"XDG_CONFIG_HOME": "/x"}) == "/x/ckptd/ckptd.toml"
    assert configured_file(7, {}) == os.path.expanduser("~/.config/ckptd/ckptd.toml")


def test_without_a_file_nothing_heavy_is_imported():
    code = (
        "import sys; from ckptd.config import Source, load;"
        "from ckptd.config.options import OPTIONS;"
        "assert 'ckptd.policy' not in sys.modules;"
        "from ckptd.config.given import of_options; from ckptd.config.resolve import resolve;"
        "resolve(Source(), of_options({'policy.keep_last': '2'}), ['x']);"
        "assert not {'pydantic', 'tomllib'} & set(sys.modules), 'heavy'"
    )

    subprocess.run([sys.executable, "-c", code], check=True)


def test_lines_are_found_below_tables_and_their_arrays():
    text = "a = 1\n[b . 'c.d']\ne = 2\n[[w]]\np = 1\n[[w]] # second\n  'p' = 2\nx.y = 3\n"

    assert lines_of(text) == {
        ("a",): 1,
        ("b",): 2,
        ("b", "c.d"): 2,
        ("b", "c.d", "e"): 3,
        ("w",): 4,
        ("w", 0): 4,
        ("w", 0, "p"): 5,
        ("w", 1): 6,
        ("w", 1, "p"): 7,
        ("w", 1, "x"): 8,
        ("w", 1, "x", "y"): 8,
    }
