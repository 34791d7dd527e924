"""What `ckptd config` prints: each value in force with its origin; read again it is the same."""

from contextlib import suppress
from dataclasses import replace

import pytest
from documents import sound_documents, text_of
from hypothesis import HealthCheck, assume, given, settings

from ckptd.cli.config import lines
from ckptd.config import drop_in, load, policy_with
from ckptd.config.effective import effective
from ckptd.errors import ConfigError


@pytest.fixture
def loaded(tmp_path):
    def load_text(text, options=None):
        file = tmp_path / "ckptd.toml"
        file.write_text(text)
        try:
            return load(str(file), options or {}, [])
        except ConfigError as error:
            if all("it never keeps anything" in problem.text for problem in error.problems):
                raise UselessError from error
            raise

    return load_text


class UselessError(Exception):
    """A configuration refused for nothing but rules that never keep anything."""


def shown(values):
    """Value and place of origin by dotted key."""
    return {
        ".".join(map(str, each.place)): (each.value, each.origin and (each.origin.line or "--"))
        for each in values
    }


@settings(
    max_examples=300, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(sound_documents())
def test_read_again_it_means_the_same(loaded, document):
    first = loaded(text_of(document))

    again = loaded("\n".join(lines(effective(first))))

    assert again == replace(first, source=again.source)


def test_with_options_over_files_it_means_the_same_again(loaded):
    first = loaded(
        "policy.pressure.keep_last = 2\n[disk.'/d']\nhigh = '98%'\nhard = '99%'",
        {"policy.keep_last": "1", "disk.high": "90%", "policy.pin": ["a", "b"]},
    )

    again = loaded("\n".join(lines(effective(first))))

    assert again == replace(first, source=again.source)


def test_every_line_is_printable_and_of_one_key(loaded):
    text = '[[watch]]\npath = "/\\u001b[31m\\n"\n[policy]\npin = ["\\u202e#", "\\""]'

    found = list(lines(effective(loaded(text))))

    assert all(line.removeprefix("\n").isprintable() for line in found)


def test_a_value_is_named_with_the_line_it_comes_from(loaded):
    found = shown(
        effective(loaded("mode = 'observe'\n[policy]\n\nkeep_last = 3", {"disk.low": "7%"}))
    )

    assert found["mode"] == ("observe", 1)
    assert found["policy.keep_last"] == (3, 4)
    assert found["policy.keep_best"] == (1, None)
    assert found["disk.low"] == ("7%", "--")


@pytest.mark.parametrize(
    ("text", "last"),
    [
        ("", (2, None)),
        ("policy.keep_last = 'unlimited'", (2, None)),
        ("policy.keep_last = 3", (3, 1)),
        ("policy.keep_last = 3\npolicy.pressure.keep_last = 1", (1, 2)),
        ("policy.pressure.keep_last = 'unlimited'", ("unlimited", 1)),
    ],
)
def test_pressure_is_shown_as_it_holds(loaded, text, last):
    assert shown(effective(loaded(text)))["policy.pressure.keep_last"] == last


@pytest.mark.parametrize(
    ("service", "below", "expected"),
    [
        ("keep_last = 2", "\nkeep_last = 1", {"keep_last": (1, 3)}),
        ("keep_last = 2", "\nkeep_last = 5", {"keep_last": (2, 1)}),
        (
            "keep_best.metric = 'x'\npolicy.keep_best = { metric = 'x' }",
            "keep_best = { count = 4, metric = 'y' }",
            {"keep_best": (1, 1)},
        ),
        ("keep_best = 1", "keep_best = 0", {"keep_best": (0, 2)}),
        ("keep_every_steps = 0", "keep_every_steps = 5", {"keep_every_steps": (0, 1)}),
    ],
)
def test_what_a_drop_in_bounds_is_shown_bounded(loaded, service, below, expected):
    settings = loaded(f"policy.pressure.{service}")
    source = drop_in("/x/.ckptd.toml", f"[policy]\n{below}".encode())

    found = shown(effective(settings, [source]))

    assert {key: found[f"policy.pressure.{key}"] for key in expected} == expected


@settings(
    max_examples=100, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(sound_documents(), sound_documents())
def test_below_a_drop_in_it_means_what_holds_there(loaded, service, below):
    settings = loaded(text_of(service))
    source = drop_in("/x/.ckptd.toml", text_of({"policy": below.get("policy", {})}).encode())
    policy = None
    with suppress(ConfigError):  # they may contradict each other
        policy, _ = policy_with(settings, [source])
    assume(policy)
    together = "\n".join(lines(effective(settings, [source])))

    # What two files leave each other nothing by is a mistake in one: then there is no such file.
    with suppress(UselessError):
        assert loaded(together).policies.default == policy


@pytest.mark.parametrize(
    ("text", "key", "expected"),
    [
        ("policy.keep_daily = 7", "pressure.keep_daily", (7, 1)),
        ("policy.keep_within = '1.5h'", "pressure.keep_within", ("1h30min", 1)),
        ("policy.keep_within = '1.5h'", "finished.keep_within", ("1.5h", 1)),
        ("", "finished.keep_last", ("unlimited", None)),
        ("", "finished.keep_within", ("0s", None)),
        ("policy.finished.keep_last = 1", "finished.keep_last", (1, 1)),
    ],
)
def test_what_follows_another_key_is_shown_and_written_as_a_comment(loaded, text, key, expected):
    found = effective(loaded(text))
    (one,) = (each for each in found if each.place == ("policy", *key.split(".")))
    (line,) = (line for line in lines([one]) if " = " in line)

    assert (one.value, one.origin and one.origin.line) == expected
    assert line.startswith("#") is (key not in text)
