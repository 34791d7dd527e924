"""Rules that can never keep anything are refused, where one source alone is to blame."""

import pytest

from ckptd.config import drop_in, load, policy_with
from ckptd.errors import ConfigError


@pytest.fixture
def loaded(tmp_path):
    """Loads lines of `[policy]`, as dotted keys, with options."""

    def load_lines(*lines, options=None):
        file = tmp_path / "ckptd.toml"
        file.write_text("".join(f"policy.{line}\n" for line in lines))
        return load(str(file), options or {}, [])

    return load_lines


def below(settings, *lines):
    raw = "".join(f"policy.{line}\n" for line in lines).encode()
    return policy_with(settings, [drop_in("/data/.ckptd.toml", raw)])


UNLIMITED = "keep_last = 'unlimited'"
DAYS = "keep_daily = 'unlimited'"
OFF = "pressure.keep_daily = 0"
ALWAYS = "pressure.keep_last = 'unlimited'"


@pytest.mark.parametrize(
    ("lines", "where", "said"),
    [
        pytest.param(
            ["keep_daily = 7", OFF],
            "policy.keep_daily (line 1)",
            "keep_last is unlimited, and under pressure this rule is switched off; "
            "give keep_last a number, or leave this out",
            id="only-firm-and-switched-off-there",
        ),
        pytest.param(
            [UNLIMITED, "keep_within = '6h'", "pressure.keep_within = '0s'"],
            "policy.keep_within (line 2)",
            "keep_last is unlimited, and under pressure this rule is switched off",
            id="unlimited-by-word",
        ),
        pytest.param(
            [ALWAYS, "keep_every_steps = 500"],
            "policy.keep_every_steps (line 2)",
            "keep_last is unlimited under pressure too",
            id="all-is-kept-come-what-may",
        ),
        pytest.param(
            [ALWAYS, "keep_best = 3"],
            "policy.keep_best (line 2)",
            "keep_last is unlimited under pressure too",
            id="more-best-of-all",
        ),
        pytest.param(
            ["keep_last = 3", "keep_hourly = 'unlimited'", "keep_daily = 7"],
            "policy.keep_daily (line 3)",
            "keep_hourly is unlimited under pressure too",
            id="the-newest-of-a-day-is-that-of-its-hour",
        ),
        pytest.param(
            ["keep_last = 3", "keep_monthly = 'unlimited'", "keep_yearly = 7"],
            "policy.keep_yearly (line 3)",
            "keep_monthly is unlimited under pressure too",
            id="months-make-years",
        ),
        pytest.param(
            [DAYS, "keep_weekly = 4"],
            "policy.keep_weekly (line 2)",
            "keep_last is unlimited, and keep_daily is under pressure",
            id="one-while-there-is-room-another-without",
        ),
        pytest.param(
            ["keep_last = 1", f"finished.{UNLIMITED}", "finished.keep_daily = 7", OFF],
            "policy.finished.keep_daily (line 3)",
            "keep_last is unlimited, and under pressure this rule is switched off",
            id="once-it-is-over",
        ),
    ],
)
def test_a_rule_that_never_keeps_anything_is_refused(loaded, lines, where, said):
    with pytest.raises(ConfigError) as caught:
        loaded(*lines)

    (problem,) = map(str, caught.value.problems)
    assert f"{where}: it never keeps anything: " in problem
    assert said in problem


@pytest.mark.parametrize(
    "lines",
    [
        pytest.param(["keep_daily = 7"], id="firm-under-pressure"),
        pytest.param(["keep_daily = 7", "pressure.keep_daily = 1"], id="a-part-of-it-firm"),
        pytest.param(["keep_last = 3", "keep_daily = 7", OFF], id="soft"),
        pytest.param(["keep_last = 0", "keep_daily = 7", OFF], id="alone"),
        pytest.param(["keep_within = '0s'", "keep_daily = 0"], id="switched-off"),
        pytest.param([ALWAYS], id="the-default-of-another-rule"),
        pytest.param([ALWAYS, "keep_best = 1", "pressure.keep_best = 1"], id="the-default-by-word"),
        pytest.param([UNLIMITED, "pressure.keep_best = 0"], id="a-default-switched-off"),
        pytest.param(
            [ALWAYS, "keep_daily = 7", "finished.keep_last = 1"], id="counts-once-it-is-over"
        ),
        pytest.param(
            ["keep_daily = 7", OFF, "finished.keep_last = 1"],
            id="kept-once-it-is-over-while-there-is-room",
        ),
        pytest.param(["finished.keep_daily = 7"], id="firm-once-it-is-over"),
        pytest.param(
            ["keep_last = 3", "keep_monthly = 'unlimited'", "keep_weekly = 4"],
            id="a-week-is-no-part-of-a-month",
        ),
        pytest.param(["keep_last = 3", DAYS, "keep_hourly = 4"], id="hours-are-finer"),
        pytest.param(
            ["keep_last = 3", DAYS, "pressure.keep_daily = 2", "keep_weekly = 4"],
            id="counts-under-pressure",
        ),
        pytest.param(
            ["keep_last = 9", "finished.keep_last = 2", "pressure.keep_last = 5"],
            id="bounded-once-it-is-over",
        ),
    ],
)
def test_what_may_ever_have_an_effect_is_not_refused(loaded, lines):
    assert loaded(*lines)


def test_two_sources_may_leave_each_other_nothing(loaded):
    options = {"policy.pressure.keep_daily": "0"}

    assert loaded("keep_daily = 7", options=options)
    with pytest.raises(ConfigError, match="--keep-daily: it never keeps anything"):
        loaded(options=options | {"policy.keep_daily": "7"})


def test_a_drop_in_is_not_frozen_by_a_rule_of_the_service_that_it_makes_useless(loaded):
    service = loaded("keep_last = 3", "keep_daily = 7", OFF)

    assert below(service, UNLIMITED)
    assert below(loaded("pressure.keep_last = 'unlimited'"), "keep_daily = 7")


def test_a_drop_in_is_not_frozen_by_a_default_of_the_service(loaded):
    useless = ["keep_daily = 7", OFF]

    assert below(loaded(), *useless)
    with pytest.raises(ConfigError, match=r"/data/.ckptd.toml: policy.keep_daily \(line 2\)"):
        below(loaded(), UNLIMITED, *useless)
