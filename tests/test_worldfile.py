"""A world that was written is read as the same world, and planned to the same plan."""

import json
from dataclasses import replace

import pytest
from builders import NOW, ck, disk, lost, run, trashed, world
from hypothesis import given, settings
from worlds import policies, worlds

from ckptd import worldfile
from ckptd.model import BestMetric, Part, Role, Unreadable, Use
from ckptd.policy import Policies, plan

LAWS = settings(derandomize=True, max_examples=200, deadline=None, database=None)
FULL = world(
    run(
        ck(1, float("nan"), divergence=lost(3), age="3h"),
        ck(2, 0.5, parts=(Part(Role.WEIGHTS, ("a.bin",), 7),), uses=(Use("open", 3, "py"),)),
        ck(None, name="caf\udce9\x1b[2J", foreign=("notes",)),
        users=(Use("named", 9, "python"),),
        best_metric=BestMetric("eval_f1", "max"),
        pointers={"latest": "checkpoint-1"},
        trainer_limit=3,
        save_interval_seconds=1.5,
    ),
    filesystems=[disk(limit="capacity", runs=frozenset({"/data/b", "/data/a"})), disk(0)],
    trash=[trashed(4)],
    unreadable=(Unreadable("/x", "no", passed_over=True),),
    frozen=(Unreadable("/y", "typo"),),
)


@LAWS
@given(worlds, policies)
def test_a_world_comes_back_as_it_was(there, policy):
    back, made_at = worldfile.read(worldfile.write(there, NOW))
    assert repr(back) == repr(there)  # nan is not equal to itself
    assert made_at == NOW
    by = Policies(default=policy)
    assert repr(plan(back, by, frozenset(), made_at)) == repr(plan(there, by, frozenset(), NOW))


def test_every_field_comes_back():
    back, _ = worldfile.read(worldfile.write(FULL, NOW))
    # By itself: the order in which a set shows itself differs from process to process.
    assert back.filesystems == FULL.filesystems
    assert repr(replace(back, filesystems=())) == repr(replace(FULL, filesystems=()))


def test_the_text_is_ascii_and_json_that_anything_reads():
    text = worldfile.write(FULL, NOW)
    assert text.isascii()
    assert "\x1b" not in text
    json.loads(text, parse_constant=pytest.fail)


def test_what_a_newer_field_would_say_has_its_default():
    document = json.loads(worldfile.write(world(run(ck(1))), NOW))
    for field in ("live", "pointers", "trainer_limit"):
        del document["world"]["runs"][0][field]
    back, _ = worldfile.read(json.dumps(document))
    assert (back.runs[0].live, back.runs[0].pointers) == (False, {})


def changed(path, value):
    document = json.loads(worldfile.write(FULL, NOW))
    *way, last = path
    place = document
    for step in way:
        place = place[step]
    place[last] = value
    return json.dumps(document)


RUN = ("world", "runs", 0)
SAVE = (*RUN, "checkpoints", 0)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        pytest.param("", "it is no JSON", id="empty"),
        pytest.param("[" * 100_000, "it is no JSON", id="deep"),
        pytest.param(b"\xff\xfe\x00", "it is no JSON", id="binary"),
        pytest.param("[]", "no recorded world", id="another-document"),
        pytest.param(changed(["version"], 2), "another version", id="version"),
        pytest.param(changed(["made_at"], "noon"), "made_at is no moment", id="no-moment"),
        pytest.param(changed(["made_at"], None), "made_at is no moment", id="null"),
        pytest.param(changed(["made_at"], "9999-12-31"), "the year 9999", id="end-of-time"),
        pytest.param(changed(["world"], 3), "world is no object", id="world"),
        pytest.param(changed(RUN, 3), "world.runs[0] is no object", id="run"),
        pytest.param(changed((*RUN, "colour"), 1), "world.runs[0].colour is unknown", id="unknown"),
        pytest.param(changed((*SAVE, "bytes"), "7"), ".bytes is no whole number", id="text"),
        pytest.param(changed((*SAVE, "bytes"), True), ".bytes is no whole number", id="truth"),
        pytest.param(changed((*SAVE, "bytes"), 1.5), ".bytes is no whole number", id="part"),
        pytest.param(changed((*SAVE, "bytes"), 2**63), ".bytes is no whole number", id="huge"),
        pytest.param(changed((*RUN, "calm"), 10**400), ".calm is no number", id="too-large"),
        pytest.param(changed((*RUN, "calm"), "nan"), ".calm is no number", id="nan"),
        pytest.param(changed((*SAVE, "age"), []), ".age is no number", id="list-for-a-number"),
        pytest.param(changed((*SAVE, "health"), "ill"), ".health is not one of", id="enum"),
        pytest.param(changed((*SAVE, "health"), []), ".health is not one of", id="list-for-enum"),
        pytest.param(changed((*RUN, "checkpoints"), {}), ".checkpoints is no list", id="no-list"),
        pytest.param(
            changed((*RUN, "best_metric"), {"metric": "f1", "mode": "up"}),
            ".mode is not one of min, max",
            id="literal",
        ),
        pytest.param(
            json.dumps({"version": 1, "made_at": "2026-01-02", "world": {"runs": [{}]}}),
            "world.runs[0].path is missing",
            id="missing",
        ),
    ],
)
def test_what_is_no_world_is_said_with_its_place(text, words):
    with pytest.raises(ValueError, match=r".+") as raised:
        worldfile.read(text)
    assert words in str(raised.value)


def test_the_round_trip_can_fail():
    there = replace(FULL, runs=())
    assert repr(worldfile.read(worldfile.write(there, NOW))[0]) != repr(FULL)
