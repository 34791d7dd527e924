import math
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ckptd.formats import judge
from ckptd.model import Findings, Health, Marker

SETTLE = 5.0
ROLES = frozenset({"weights", "optimizer", "rng", "training_args", "config", "marker"})
TEXTS = {
    Marker.CURRENT: "trainer_state.json is not older than the rest",
    Marker.LATE_FILES: "rng_state_1.pth came after trainer_state.json",
    Marker.STALE: "trainer_state.json is older than optimizer.pt",
    Marker.TORN: "trainer_state.json is empty",
    Marker.FOREIGN: "trainer_state.json speaks of step 5, not of 50",
    Marker.ABSENT: "trainer_state.json is missing",
}


def found(marker=Marker.CURRENT, **fields):
    known = {
        "recognised": True,
        "step": 50,
        "saved_at": datetime(2026, 1, 2, tzinfo=UTC),
        "marker_text": TEXTS[marker],
        "roles": ROLES if marker is not Marker.ABSENT else ROLES - {"marker"},
        "resumable": True,
        "weights_whole": True,
    }
    return Findings(marker=marker, **(known | fields))


def judged(findings, siblings=(), *, quiet=math.inf, writer=None, may_write=False):
    return judge(findings, siblings, quiet=quiet, writer=writer, may_write=may_write, settle=SETTLE)


SIBLING = found()
CUT = {"damage": ("optimizer.pt is cut off",)}
DOUBTED = {"doubts": ("optimizer.pt could not be read: Permission denied",)}
EXPORT = {"resumable": False, "roles": frozenset({"weights", "config"})}
EMPTY = {"resumable": False, "weights_whole": False, "roles": frozenset()}


@pytest.mark.parametrize(
    ("findings", "siblings", "how", "health", "evidence"),
    [
        # whole: at once, whoever else may be about
        (
            found(),
            [],
            {"quiet": 0.0, "may_write": True},
            Health.COMPLETE,
            "every container is whole",
        ),
        (found(), [SIBLING], {}, Health.COMPLETE, "not older than the rest"),
        # somebody writes
        (found(), [], {"writer": "python has it open"}, Health.WRITING, "python has it open"),
        (found(**CUT), [], {"quiet": 0.4}, Health.WRITING, "changed 0.4 s ago"),
        (found(Marker.ABSENT), [], {"quiet": 4.9}, Health.WRITING, "changed 4.9 s ago"),
        (
            found(Marker.ABSENT),
            [SIBLING],
            {"may_write": True},
            Health.WRITING,
            "trainer_state.json is missing; a live process may still write it",
        ),
        (found(**CUT), [], {"may_write": True}, Health.WRITING, "optimizer.pt is cut off; a live"),
        # several ranks, which do not wait for each other
        (found(ranks=2), [], {"quiet": 1.0}, Health.WRITING, "no intact sibling tells how many"),
        (found(ranks=2), [], {"quiet": 5.0}, Health.COMPLETE, "whole"),
        (found(ranks=1), [found(ranks=2)], {"quiet": 1.0}, Health.WRITING, "files of 1 of 2 ranks"),
        (found(ranks=1), [found(ranks=2)], {"quiet": 5.0}, Health.COMPLETE, "whole"),
        (found(ranks=2), [found(ranks=2)], {"quiet": 0.0}, Health.COMPLETE, "whole"),
        (found(ranks=4), [found(ranks=2)], {"quiet": 0.0}, Health.COMPLETE, "whole"),
        (
            found(Marker.LATE_FILES),
            [],
            {"quiet": 4.9},
            Health.WRITING,
            "rng_state_1.pth came after",
        ),
        (found(Marker.LATE_FILES), [], {"quiet": 5.0}, Health.COMPLETE, "whole"),
        (found(Marker.LATE_FILES), [], {"may_write": True}, Health.COMPLETE, "whole"),
        # damage
        (found(**CUT), [], {}, Health.BROKEN, "optimizer.pt is cut off"),
        (found(Marker.LATE_FILES, **CUT), [], {}, Health.BROKEN, "optimizer.pt is cut off"),
        (found(damage=("a", "b", "c")), [], {}, Health.BROKEN, "a (and 2 more)"),
        (found(**CUT, **DOUBTED), [], {}, Health.BROKEN, "optimizer.pt is cut off"),
        # doubts
        (found(**DOUBTED), [SIBLING], {}, Health.UNPROVEN, "could not be read"),
        (found(Marker.TORN, **DOUBTED), [SIBLING], {}, Health.UNPROVEN, "could not be read"),
        (found(Marker.ABSENT, **DOUBTED), [SIBLING], {}, Health.UNPROVEN, "could not be read"),
        # markers that prove nothing
        (found(Marker.STALE), [SIBLING], {}, Health.UNPROVEN, "older than optimizer.pt"),
        (found(Marker.FOREIGN), [SIBLING], {}, Health.UNPROVEN, "speaks of step 5"),
        (found(Marker.TORN), [], {}, Health.BROKEN, "trainer_state.json is empty"),
        (found(Marker.TORN, **EXPORT), [SIBLING], {}, Health.BROKEN, "trainer_state.json is empty"),
        (found(Marker.TORN, **EXPORT), [], {}, Health.UNPROVEN, "trainer_state.json is empty"),
        # no marker
        (found(Marker.ABSENT), [], {}, Health.UNPROVEN, "no intact sibling to compare it with"),
        (found(Marker.ABSENT), [SIBLING], {}, Health.BROKEN, "which the intact sibling has"),
        (
            found(Marker.ABSENT),
            [SIBLING] * 3,
            {},
            Health.BROKEN,
            "trainer_state.json is missing, which all 3 intact siblings have",
        ),
        (
            found(Marker.ABSENT, roles=frozenset({"weights", "config", "training_args"})),
            [SIBLING, found(roles=ROLES | {"scaler"})],
            {},
            Health.BROKEN,
            "which all 2 intact siblings have; it lacks optimizer, rng as well",
        ),
        (
            found(Marker.ABSENT, **EXPORT),
            [SIBLING] * 3,
            {},
            Health.UNPROVEN,
            "export or a download",
        ),
        (found(Marker.ABSENT, **EMPTY), [SIBLING], {}, Health.BROKEN, "is missing, which the"),
        (found(Marker.ABSENT, **EMPTY), [], {}, Health.UNPROVEN, "no intact sibling"),
        # no save at all
        (found(recognised=False), [], {"writer": "x"}, Health.UNPROVEN, "none of the files"),
        (found(recognised=False, **CUT), [SIBLING], {}, Health.UNPROVEN, "none of the files"),
    ],
)
def test_health_follows_the_evidence(findings, siblings, how, health, evidence):
    judgement = judged(findings, siblings, **how)
    assert judgement[0] is health
    assert evidence in judgement[1]


ANY = st.builds(
    found,
    marker=st.sampled_from(Marker),
    recognised=st.booleans(),
    damage=st.sampled_from([(), ("cut",)]),
    doubts=st.sampled_from([(), ("odd",)]),
    roles=st.frozensets(st.sampled_from(sorted(ROLES))),
    ranks=st.integers(0, 3),
    resumable=st.booleans(),
    weights_whole=st.booleans(),
)
HOW = st.fixed_dictionaries(
    {
        "quiet": st.sampled_from([0.0, 4.999, 5.0, math.inf]),
        "writer": st.sampled_from([None, "python has it open"]),
        "may_write": st.booleans(),
    }
)


@given(ANY, st.lists(ANY, max_size=3), HOW)
def test_complete_and_broken_need_evidence(findings, siblings, how):
    health, evidence = judged(findings, siblings, **how)
    assert evidence
    if health is Health.COMPLETE:
        assert not findings.damage
        assert not findings.doubts
        assert findings.marker in {Marker.CURRENT, Marker.LATE_FILES}
        assert how["writer"] is None
    if health is Health.BROKEN:
        assert findings.recognised
        assert how["quiet"] >= SETTLE
        assert not how["may_write"]
        assert how["writer"] is None
        assert findings.damage or not findings.doubts
        assert findings.damage or findings.marker in {Marker.TORN, Marker.ABSENT}


@given(ANY, st.lists(ANY, max_size=3))
def test_nothing_stays_in_writing_when_nobody_writes(findings, siblings):
    assert judged(findings, siblings)[0] is not Health.WRITING
