"""A drop-in is one more source between the files and the command line, for [policy] only."""

import time

import pytest

from ckptd.config import LARGEST, drop_in, load, policy_with
from ckptd.errors import ConfigError
from ckptd.policy import KeepBest, KeepEverySteps, KeepLast, Policy

HERE = "/data/exp/.ckptd.toml"


@pytest.fixture
def below(tmp_path):
    """The policy below drop-ins (texts, the farthest first), and where it came from."""

    def policy_below(*texts, main="", options=None):
        file = tmp_path / "ckptd.toml"
        file.write_text(main)
        settings = load(str(file), options or {}, [])
        drop_ins = [drop_in(f"/{n}/.ckptd.toml", text.encode()) for n, text in enumerate(texts)]
        return policy_with(settings, drop_ins)

    return policy_below


def said(raw):
    source = drop_in(HERE, raw if isinstance(raw, bytes) else raw.encode())
    return [str(problem) for problem in source.problems]


def test_the_nearest_wins_key_by_key_and_the_command_line_over_all(below, tmp_path):
    policy, names = below(
        "[policy]\nkeep_last = 4\nmin_age = '4s'\ntrash_for = '4s'",
        "[policy]\nmin_age = '5s'\ntrash_for = '5s'",
        main="[policy]\nkeep_last = 3\nkeep_best = 3\nmin_age = '3s'\ntrash_for = '3s'",
        options={"policy.trash_for": "6s"},
    )

    rules = (KeepLast(4), KeepBest(3))
    assert policy == Policy(rules, rules, min_age=5, trash_for=6)
    assert names == (
        f"{tmp_path}/ckptd.toml",
        "/0/.ckptd.toml",
        "/1/.ckptd.toml",
        "command line",
    )


def test_without_a_drop_in_the_policy_is_that_of_the_settings(below, tmp_path):
    policy, names = below(main="[policy]\nkeep_last = 3")

    assert policy.rules[0] == KeepLast(3)
    assert names == (f"{tmp_path}/ckptd.toml",)


@pytest.mark.parametrize(
    ("weaker", "stronger", "firm"),
    [
        ("keep_last = 2", "keep_last = 1", (KeepLast(1), KeepBest(1))),
        ("keep_last = 2", "keep_last = 0", (KeepBest(1),)),
        ("keep_last = 2", "keep_last = 3", (KeepLast(2), KeepBest(1))),
        ("keep_last = 2", "keep_last = 'unlimited'", (KeepLast(2), KeepBest(1))),
        ("keep_last = 'unlimited'", "keep_last = 4", (KeepLast(4), KeepBest(1))),
        ("keep_best = 0", "keep_best = 3", (KeepLast(2),)),
        ("keep_best = 1", "keep_best = 0", (KeepLast(2),)),
        ("keep_best = 1", "keep_best = {metric='x'}", (KeepLast(2), KeepBest(1, "x"))),
    ],
)
def test_the_pressure_of_a_weaker_source_is_bounded_by_a_stronger_policy(
    below, weaker, stronger, firm
):
    policy, _ = below(f"[policy]\n{stronger}", main=f"[policy.pressure]\n{weaker}")

    assert policy.firm == firm


@pytest.mark.parametrize(("steps", "firm_steps"), [(50, 100), (100, 100), (300, 300), (0, None)])
def test_steps_under_pressure_are_never_closer_than_the_stronger_policy(below, steps, firm_steps):
    policy, _ = below(
        f"[policy]\nkeep_every_steps = {steps}",
        main="[policy]\nkeep_every_steps = 20\n[policy.pressure]\nkeep_every_steps = 100",
    )

    found = [rule.steps for rule in policy.firm if isinstance(rule, KeepEverySteps)]
    assert found == ([firm_steps] if firm_steps else [])


def test_what_was_bounded_is_whole_again_where_a_stronger_policy_keeps_more(below):
    policy, _ = below(
        "[policy]\nkeep_last = 1",
        "[policy]\nkeep_last = 9",
        main="[policy.pressure]\nkeep_last = 3",
    )

    assert policy.firm[0] == KeepLast(3)


@pytest.mark.parametrize(
    ("texts", "options", "where"),
    [
        (["[policy]\nkeep_last = 1\npressure.keep_last = 2"], {}, "/0/.ckptd.toml: policy.pres"),
        (["[policy]\nkeep_last = 1", "[policy.pressure]\nkeep_last = 2"], {}, "/1/.ckptd.toml"),
        (["[policy.pressure]\nkeep_best = 2"], {}, "policy.keep_best by default is 1"),
        (["[policy]\nkeep_last = 1"], {"policy.pressure.keep_last": "2"}, "--pressure-keep-last"),
    ],
)
def test_a_contradiction_stays_one(below, texts, options, where):
    with pytest.raises(ConfigError) as caught:
        below(*texts, options=options)

    (problem,) = caught.value.problems
    assert where in str(problem)


def test_an_option_that_keeps_less_bounds_the_pressure_of_the_file(below):
    policy, _ = below(main="[policy.pressure]\nkeep_last = 2", options={"policy.keep_last": "1"})

    assert policy.firm[0] == KeepLast(1)


@pytest.mark.parametrize(
    "text",
    ['mode = "observe"', "trust = []", "[[watch]]\npath='/'", "[disk]\nhigh='1%'", "[archive]"],
)
def test_what_is_the_services_business_is_told_to_be(text):
    (problem,) = said(text)

    assert problem.startswith(f"{HERE}: ")
    assert "(line 1): a drop-in sets [policy] only; this belongs into the configuration" in problem


def test_all_problems_of_a_drop_in_are_found_at_once():
    found = said('mode = "x"\npolcy = 1\n[policy]\nkeep_last = -1\nfrobnicate = 2\n[what]\n')

    assert [text.removeprefix(f"{HERE}: ").split(":")[0] for text in found] == [
        "mode (line 1)",
        "polcy (line 2)",
        "policy.keep_last (line 4)",
        "policy.frobnicate (line 5)",
        "what (line 6)",
    ]
    assert "did you mean policy?" in found[1]
    assert "a drop-in sets [policy] only" in found[4]


@pytest.mark.parametrize(
    ("raw", "text"),
    [
        (b"\xff", "no UTF-8"),
        (b"[policy", "no TOML"),
        (b"#" * (LARGEST + 1), "larger than 1 MiB"),
        (b"a=" + b"[" * 100_000, "nested too deeply"),
        ("keep_last = 1", "unknown key; it belongs under [policy]"),
        ("policy = 3", "it is not a table"),
    ],
)
def test_bytes_that_mean_nothing_are_one_problem(raw, text):
    (problem,) = said(raw)

    assert problem.startswith(HERE)
    assert text in problem


@pytest.mark.parametrize(
    "raw",
    [
        ".".join(["a"] * 300_000) + " = 1",
        f"[{'a.' * 500}b]\n" + "x = 1\n" * 150_000,
        "[policy]\n" + "".join(f"keep_lats{n} = 1\n" for n in range(50_000)),
        "".join(f"a{n}.b = 1\n" for n in range(70_000)),
        f'"{"x" * 900_000}" = 1',
        "[[policy]]\n" * 90_000,
    ],
    ids=["steps", "steps-above", "keys", "tables", "long", "lists"],
)
def test_a_hostile_file_costs_neither_time_nor_words(raw):
    began = time.process_time()
    found = said(raw)

    assert 1 <= len(found) <= 101
    assert sum(map(len, found)) < 20_000
    assert time.process_time() - began < 20  # a second on an idle machine


def test_of_a_great_many_problems_the_first_are_told_and_the_rest_counted():
    found = said("".join(f"a{n} = 1\n" for n in range(103)))

    assert found[99].startswith(f"{HERE}: a99 (line 100)")
    assert found[100:] == [f"{HERE}: 3 more of its keys are wrong"]


def test_a_drop_in_with_problems_is_never_half_obeyed(below):
    with pytest.raises(ConfigError, match="keep_lats"):
        below("[policy]\nkeep_last = 1\nkeep_lats = 2", "[policy]\nkeep_last = 3")


def test_an_empty_drop_in_changes_nothing_and_is_named(below, tmp_path):
    policy, names = below("")

    assert policy == Policy()
    assert names[-1] == "/0/.ckptd.toml"
