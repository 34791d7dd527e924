"""What people and scripts are shown of a plan."""

import json
import math
from dataclasses import replace
from datetime import UTC, datetime
from textwrap import dedent

import pytest
from builders import GIB, NOW, ck, disk, lost, plan_of, run, series, trashed, verdict_on, world

from ckptd.model import (
    FIRST_MOMENT,
    LAST_MOMENT,
    Action,
    ActionKind,
    Outcome,
    Outlook,
    Plan,
    Reason,
    Relief,
    RunPlan,
    Standing,
    Unreadable,
    Verdict,
)
from ckptd.policy import KeepBest, KeepLast, Policy
from ckptd.render import (
    dumps,
    lay_out,
    not_adopted_text,
    outcome_text,
    outlook_json,
    overview,
    plan_json,
    plan_text,
    report_json,
    report_of,
    told_outlook,
    trash_json,
    trash_text,
    verdict_json,
    verdict_text,
)
from ckptd.render.line import plan_line

KEEP_TWO = Policy(rules=(KeepLast(2), KeepBest(1)), firm=(KeepLast(2), KeepBest(1)))
NASTY = b"a\n\x1b[31m\xff".decode("utf-8", "surrogateescape")
A_RUN = run(
    ck(50, 0.5, "4h", bytes=4 * GIB),
    ck(100, 0.2, "3h"),
    ck(150, 0.6, "2h", health="broken"),
    ck(200, 0.4, "1h"),
    ck(250, 0.7, "10min"),
    calm=1.5,
)
OLD = run(ck(1), path="/data/old run", adopted=False)


def text(expected):
    return dedent(expected).strip("\n")


def evicting(**fields):
    """An action on checkpoint-50 of A_RUN."""
    checkpoint = A_RUN.checkpoints[0]
    action = Action(
        ActionKind.EVICT, checkpoint.path, GIB, (Reason("keep_last", False, "3rd"),), "/data"
    )
    return replace(action, checkpoint=checkpoint, **fields)


# --- text --------------------------------------------------------------------------------


def test_a_plan_shows_at_once_what_goes_and_why():
    here = world(A_RUN, trash=[trashed(7, since="2h")])

    assert plan_text(plan_of(here, KEEP_TWO), width=120) == text("""
        /data/a  (huggingface, 5 checkpoints, 8.0 GiB, adopted)
        - checkpoint-50    4.0 GiB          surplus  evict      4th newest; keep_last is 2
          checkpoint-100   1.0 GiB          firm     keep       best by eval_loss (0.2, lower is better); keep_best is 1
        - checkpoint-150   1.0 GiB  broken  surplus  set_aside  optimizer.pt is cut off
          checkpoint-200   1.0 GiB          firm     keep       2nd newest; keep_last is 2
          checkpoint-250   1.0 GiB          held     keep       newest complete checkpoint of this run

        Out of the trash, for good:
        - /data/a/checkpoint-7  1.0 GiB  2 h in the trash; trash_for is 1 h

        To let go of: 2 checkpoints, 5.0 GiB.
          They go to the trash first; ckptd restore brings them back from there.
          Not within the next 1.5 s: a save has just been completed there.
        """)  # noqa: E501 - golden text, as wide as the terminal it is for


def test_a_full_disk_says_what_it_needs_and_what_is_in_the_way():
    assert plan_text(plan_of(world(A_RUN, OLD, used=99), KEEP_TWO), width=80) == text("""
        /data/a  (huggingface, 5 checkpoints, 8.0 GiB, adopted)
        - checkpoint-50    4.0 GiB          surplus  evict      4th newest; keep_last is
                                                                2
          checkpoint-100   1.0 GiB          firm     keep       best by eval_loss (0.2,
                                                                lower is better);
                                                                keep_best is 1
        - checkpoint-150   1.0 GiB  broken  surplus  set_aside  optimizer.pt is cut off
          checkpoint-200   1.0 GiB          firm     keep       2nd newest; keep_last is
                                                                2
          checkpoint-250   1.0 GiB          held     keep       newest complete
                                                                checkpoint of this run

        /data/old run  (huggingface, 1 checkpoint, 1.0 GiB)
          not adopted, so only shown; ckptd adopt '/data/old run' puts it under care
          checkpoint-1   1.0 GiB  held     keep  this run is not adopted; ckptd adopt
                                                 PATH puts it under care

        To let go of: 2 checkpoints, 5.0 GiB.
          All at once and for good; the trash would free no space.
        /data is 99.0 % used (hard) and must gain 19.0 GiB.
          Short by 14.0 GiB: of what is left there ckptd may let nothing go.
          Saves fail once it is full, at this rate in 1 h. Free 14.0 GiB by hand, or move what can lie elsewhere.
          1.0 GiB in 1 run not adopted; ckptd adopt PATH puts it under care.
        """)  # noqa: E501 - a long sentence; a terminal wraps it


def test_what_only_a_full_disk_costs_says_so_beside_its_name():
    soft = plan_of(world(run(*series(1, 2, 3, 4)), used=86))
    line = plan_text(soft, width=120).splitlines()[1]

    assert line.startswith(
        "- checkpoint-1   1.0 GiB  soft     evict  kept only while there is room"
    )


def test_a_narrow_terminal_gets_the_reason_below():
    lines = plan_text(plan_of(world(A_RUN), KEEP_TWO), width=50).splitlines()

    assert lines[1:3] == [
        "- checkpoint-50    4.0 GiB          surplus  evict",
        "      4th newest; keep_last is 2",
    ]


def test_nothing_to_do_and_nothing_found_are_different_sentences():
    assert plan_text(plan_of(world(run(*series(1, 2)))), width=80).endswith("Nothing to let go of.")
    assert plan_text(plan_of(world()), width=80) == "No checkpoint was found."


def test_a_plan_ends_with_what_is_not_adopted_and_the_way_in():
    more = run(ck(1), ck(2), path="/data/older", adopted=False)
    assert not_adopted_text([A_RUN, OLD, more]) == (
        "3.0 GiB in 2 runs not adopted; ckptd adopt PATH puts them under care"
    )
    assert not_adopted_text([A_RUN]) == ""
    shown = plan_text(plan_of(world(A_RUN, OLD, more)), width=80)
    assert shown.endswith(f"\n{not_adopted_text([OLD, more])}.")
    assert "1 run not adopted; ckptd adopt PATH puts it under care" in not_adopted_text([OLD])


def test_chinese_names_take_two_columns_and_stay_aligned():
    names = ("检查点-1", "checkpoint-2")
    lines = plan_text(
        plan_of(world(run(*[ck(n, name=name) for n, name in enumerate(names)]))), width=120
    ).splitlines()
    assert lines[1].index("1.0 GiB") + 3 == lines[2].index("1.0 GiB")


def test_what_could_not_be_seen_and_what_only_looks_alike_are_told_apart():
    unseen = Unreadable("/data/x", "Permission denied")
    link = Unreadable("/data/checkpoint-1", "a symbolic link", passed_over=True)

    assert plan_text(plan_of(world(unreadable=(link, unseen))), width=80) == text("""
        No checkpoint was found.

        Could not be seen, so nothing is concluded there:
          /data/x: Permission denied

        Named like checkpoints without being any, so left alone:
          /data/checkpoint-1: a symbolic link
        """)


def test_no_name_steers_the_terminal():
    there = run(ck(1, name=NASTY, evidence=NASTY), ck(2), path=f"/data/{NASTY}", adopted=False)
    plan = plan_of(world(there, unreadable=(Unreadable(NASTY, NASTY),)), KEEP_TWO)
    failed = Outcome(evicting(path=NASTY), ok=False, error=NASTY)
    item = trashed(1, name=NASTY, reason=NASTY)

    shown = [
        plan_text(plan, width=80),
        verdict_text(plan.verdicts[0], Outlook(None, NASTY)),
        outcome_text(failed),
        trash_text(item, Outlook(None, NASTY)),
    ]

    for line in "\n".join(shown).split("\n"):
        assert line.isprintable()
    assert all(r"\n\x1b[31m\xff" in each for each in shown)


def test_why_tells_every_reason_and_when_it_would_go():
    plan = plan_of(world(A_RUN), KEEP_TWO)

    outlook = Outlook(1500.0, "It goes after 1 more save, in about 25 min.")
    assert verdict_text(verdict_on(plan, "checkpoint-200"), outlook) == text("""
        /data/a/checkpoint-200
          step 200, 1.0 GiB, saved 2026-01-02 02:04:05 UTC
          complete: trainer_state.json is the newest file
          firm, so keep:
            + keep_last: 2nd newest; keep_last is 2
            - keep_best: 2nd best by eval_loss (0.4, lower is better); keep_best is 1
          It goes after 1 more save, in about 25 min.
        """)
    assert outlook_json(outlook) == {"when_seconds": 1500.0, "text": outlook.text}


@pytest.mark.parametrize(
    ("name", "policy", "said"),
    [
        ("checkpoint-50", KEEP_TWO, "It goes as soon as it may."),
        ("checkpoint-250", KEEP_TWO, "newest keeps it until a newer save is complete"),
        ("checkpoint-250", KEEP_TWO, "keep_last keeps it until 2 newer complete checkpoints are"),
        ("checkpoint-100", KEEP_TWO, "keep_best keeps it until 1 better complete checkpoint is"),
        ("checkpoint-50", Policy(), "keep_last keeps it while there is room"),
        ("checkpoint-50", Policy(), "When the disk is too full it may go earlier"),
        ("checkpoint-50", Policy((), ()), "no_rule keeps it until a rule is set"),
        ("checkpoint-50", replace(KEEP_TWO, pin=("*-50",)), "until no reason above keeps it"),
    ],
)
def test_each_keeper_says_until_when(name, policy, said):
    plan = plan_of(world(A_RUN), policy)

    verdict = verdict_json(verdict_on(plan, name))
    assert said in told_outlook(verdict, report_of(report_json(plan, world(A_RUN)))).text


@pytest.mark.parametrize(
    ("outcome", "said"),
    [
        (Outcome(evicting(), ok=True, id="7f"), "done: evict {}: in the trash; ckptd restore 7f"),
        (Outcome(evicting(), ok=True, freed_bytes=GIB), "done: evict {}: 1.0 GiB freed"),
        (
            Outcome(evicting(), ok=False, refused=True, error="it is open"),
            "refused: evict {}: it is open",
        ),
        (Outcome(evicting(), ok=False, error="I/O error"), "failed: evict {}: I/O error"),
        (Outcome(evicting(kind=ActionKind.PURGE), ok=True, id="7f"), "done: purge {}"),
    ],
)
def test_an_outcome_is_one_line(outcome, said):
    assert outcome_text(outcome).startswith(said.format("/data/a/checkpoint-50"))
    assert "\n" not in outcome_text(outcome)


def test_trash_tells_how_it_comes_back():
    item, outlook = trashed(7, reason="3rd newest; keep_last is 2"), Outlook(9.0, "In 9 s.")
    assert trash_text(item, outlook) == text("""
        /data/a/checkpoint-7 is in the trash since 2026-01-02 02:54:05 UTC
          evict: 3rd newest; keep_last is 2
          1.0 GiB; ckptd restore id-7 brings it back
          In 9 s.
        """)


# --- status ------------------------------------------------------------------------------


def shown(here, *, width=200, **policies):
    report = report_of(report_json(plan_of(here, **policies), here))
    return lay_out(overview(report, NOW), width=width).splitlines()


def test_status_says_what_is_for_the_next_saves_and_when_a_disk_is_full():
    mine = run(*series(*range(1, 11), every="10min"), live=True)
    wild = run(*series(1, 2, every="10min"), path="/data/b", adopted=False)

    assert shown(world(mine, wild, used=70))[1].rstrip() == (
        "/data  70.0 %  30.0 GiB  ok, 4.0 GiB for the next saves, full in 2.5 h if nothing goes,"
        " in 6 h even if all goes that may"
    )
    assert shown(world(run(*series(1), saves=())))[1].split()[-1] == "ok"


def test_the_line_of_the_service_tells_runs_disks_time_to_full_and_the_last_act():
    mine = run(*series(*range(1, 11), every="10min"), live=True)
    growing, calm = plan_of(world(mine, used=70)), plan_of(world(run(*series(1), saves=())))

    assert plan_line(growing, "evict /data/checkpoint-1") == (
        "1 run, 10 checkpoints, 10.0 GiB; /data 70 % used, full in 5 h if nothing goes;"
        " last: evict /data/checkpoint-1"
    )
    assert "full in" not in plan_line(calm)
    assert "last" not in plan_line(calm)


def test_status_says_which_inodes_lack():
    few = disk(10, inodes_total=1000, inodes_free=50)

    line = shown(world(run(*series(1, 2)), filesystems=(few,)))[1]

    assert "high, must gain 150 inodes, short by 150 inodes" in line


def test_status_says_which_run_has_diverged_and_since_when():
    there = run(ck(10, age="2h"), ck(30, age="1h", divergence=lost(25)))
    suspected = run(ck(30, age="1h", divergence=lost(25, proven=False)), path="/data/b")

    one, other = shown(world(there, suspected))[4:6]

    assert "huggingface, diverged since step 25, adopted" in one
    assert "diverged" not in other
    (told, untold) = plan_json(plan_of(world(there, suspected)))["runs"]
    assert told["diverged"] == {"what": "grad_norm", "value": "nan", "since": 25}
    assert untold["diverged"] is None


def test_status_reads_what_an_older_ckptd_wrote():
    document = report_json(plan_of(world(run(*series(1)))), world())
    for key in ("spent_in_seconds", "inodes_demand", "inodes_shortfall"):
        del document["filesystems"][0][key]
    del document["runs"][0]["diverged"]

    report = report_of(document)

    assert report.disks[0].spent_in_seconds is None
    assert report.runs[0].diverged_since is None


# --- JSON --------------------------------------------------------------------------------


def test_the_json_of_a_plan_is_the_documented_one():
    checkpoint = ck(50, 0.4, saved_at=datetime(2026, 1, 2, 3, 4, 5, 999, tzinfo=UTC), metrics={})
    reasons = (Reason("keep_last", False, "3rd newest; keep_last is 2", 3, 2),)
    verdict = Verdict(checkpoint, Standing.SURPLUS, ActionKind.EVICT, reasons)
    plan = Plan(
        datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC),
        runs=(RunPlan(run(checkpoint, policy_from=("a.toml",)), (verdict,)),),
        filesystems=(Relief(disk(50.0, total=100)),),
        unreadable=(Unreadable("/x", "no"),),
    )
    outcome = Outcome(evicting(), ok=True, freed_bytes=3, id="7f")

    assert plan_json(plan, [outcome]) == {
        "version": 1,
        "made_at": "2026-01-02T03:04:05Z",
        "filesystems": [
            {
                "path": "/data",
                "mount": "/data",
                "fstype": "ext4",
                "total": 100,
                "free": 50,
                "used_percent": 50.0,
                "inodes_free": 1_000_000,
                "state": "ok",
                "demand": 0,
                "reserve": 0,
                "shortfall": 0,
                "full_in_seconds": None,
                "spent_in_seconds": None,
                "limit": None,
                "inodes_demand": 0,
                "inodes_shortfall": 0,
                "in_the_way": [],
            }
        ],
        "runs": [
            {
                "path": "/data/a",
                "format": "huggingface",
                "adopted": True,
                "live": False,
                "finished": False,
                "diverged": None,
                "policy_from": ["a.toml"],
                "next_save_bytes": 0,
                "save_interval_seconds": None,
                "checkpoints": [
                    {
                        "path": "/data/a/checkpoint-50",
                        "step": 50,
                        "bytes": GIB,
                        "saved_at": "2026-01-02T03:04:05Z",
                        "health": "complete",
                        "evidence": "trainer_state.json is the newest file",
                        "standing": "surplus",
                        "action": "evict",
                        "metrics": {},
                        "pinned": False,
                        "slim": False,
                        "reasons": [
                            {
                                "rule": "keep_last",
                                "keeps": False,
                                "rank": 3,
                                "limit": 2,
                                "text": "3rd newest; keep_last is 2",
                            }
                        ],
                    }
                ],
            }
        ],
        "unreadable": [{"path": "/x", "error": "no"}],
        "reclaim_bytes": GIB,
        "outcomes": [
            {
                "path": "/data/a/checkpoint-50",
                "action": "evict",
                "ok": True,
                "freed_bytes": 3,
                "error": None,
            }
        ],
    }


def test_without_outcomes_there_is_no_such_key():
    assert "outcomes" not in plan_json(plan_of(world()))
    assert plan_json(plan_of(world()), [])["outcomes"] == []


def test_hostile_names_times_and_metrics_still_make_valid_json():
    metrics = {"nan": math.nan, "inf": -math.inf, "half \ud800": 1.0}
    checkpoints = (
        ck(1, name=NASTY, metrics=metrics),
        ck(2, saved_at=LAST_MOMENT),
        ck(3, saved_at=FIRST_MOMENT),
    )
    document = dumps(plan_json(plan_of(world(run(*checkpoints)))))

    assert document.isascii()
    shown = {each["step"]: each for each in json.loads(document)["runs"][0]["checkpoints"]}
    assert shown[1]["path"] == "/data/a/a\n\x1b[31m\\xff"
    assert shown[1]["metrics"] == {"nan": None, "inf": None, r"half \ud800": 1.0}
    assert shown[2]["saved_at"] == "9999-12-31T00:00:00Z"
    assert shown[3]["saved_at"] == "0001-01-01T00:00:00Z"


def test_a_pattern_pins_as_a_mark_does():
    plan = plan_of(world(A_RUN), replace(KEEP_TWO, pin=("*-50",)))
    marked = plan_of(world(run(ck(1, pinned=True))))

    assert verdict_json(verdict_on(plan, "checkpoint-50"))["pinned"] is True
    assert verdict_json(verdict_on(plan, "checkpoint-100"))["pinned"] is False
    assert verdict_json(marked.verdicts[0])["pinned"] is True


def test_one_verdict_and_a_trash_item_are_documents_with_a_version():
    plan = plan_of(world(A_RUN), KEEP_TWO)
    in_plan = plan_json(plan)["runs"][0]["checkpoints"][0]

    assert verdict_json(verdict_on(plan, "checkpoint-50")) == {"version": 1, **in_plan}
    assert trash_json(trashed(7, reason="old")) == {
        "version": 1,
        "path": "/data/a/checkpoint-7",
        "id": "id-7",
        "step": 7,
        "bytes": GIB,
        "saved_at": "2026-01-02T00:04:05Z",
        "trashed_at": "2026-01-02T02:54:05Z",
        "action": "evict",
        "reason": "old",
    }
