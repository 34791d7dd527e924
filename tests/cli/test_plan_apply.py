"""`plan` and `apply` through the real process: the documented JSON, and what comes of it."""

import os
import re
import signal
import subprocess
import time
from contextlib import contextmanager

import corpus
import pytest
from terminal import CKPTD, Terminal, contents, snapshot

HOUR = 3600
MOMENT = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ")
NUMBER = (int, float)

FILESYSTEM = {
    "path": str,
    "mount": str,
    "fstype": str,
    "total": int,
    "free": int,
    "used_percent": NUMBER,
    "inodes_free": int,
    "state": str,
    "demand": int,
    "reserve": int,
    "shortfall": int,
    "full_in_seconds": (*NUMBER, type(None)),
    "spent_in_seconds": (*NUMBER, type(None)),
    "limit": (str, type(None)),
    "inodes_demand": int,
    "inodes_shortfall": int,
    "in_the_way": list,
}
RUN = {
    "path": str,
    "format": str,
    "adopted": bool,
    "live": bool,
    "finished": bool,
    "diverged": (dict, type(None)),
    "policy_from": list,
    "next_save_bytes": int,
    "save_interval_seconds": (*NUMBER, type(None)),
    "checkpoints": list,
}
CHECKPOINT = {
    "path": str,
    "step": (int, type(None)),
    "bytes": int,
    "saved_at": str,
    "health": str,
    "evidence": str,
    "standing": str,
    "action": str,
    "metrics": dict,
    "pinned": bool,
    "slim": bool,
    "reasons": list,
}
REASON = {"rule": str, "keeps": bool, "text": str}
OUTCOME = {
    "path": str,
    "action": str,
    "ok": bool,
    "freed_bytes": int,
    "error": (str, type(None)),
}
TOP = {
    "version": int,
    "made_at": str,
    "filesystems": list,
    "runs": list,
    "unreadable": list,
    "reclaim_bytes": int,
}


@pytest.fixture
def ckptd(tmp_path):
    return Terminal(tmp_path / "state")


@pytest.fixture
def run(tmp_path):
    return write_run(tmp_path / "runs" / "a", best=20)


def write_run(place, steps=(10, 20, 30, 40), **how):
    for nth, step in enumerate(steps):
        at = time.time() - (len(steps) - nth + 1) * HOUR
        corpus.write_checkpoint(place, step, mtime=at, eval_loss=1 / step, **how)
    return place


def left(run):
    return {path.name for path in run.iterdir()}


def has_shape(value, shape, where=""):
    assert value.keys() == shape.keys(), where
    for key, kinds in shape.items():
        assert isinstance(value[key], kinds), f"{where}.{key} is {value[key]!r}"
        if kinds is int:
            assert not isinstance(value[key], bool), f"{where}.{key}"


def is_documented(document, *, outcomes):
    has_shape(document, TOP | ({"outcomes": list} if outcomes else {}))
    assert document["version"] == 1
    assert MOMENT.fullmatch(document["made_at"])
    for filesystem in document["filesystems"]:
        has_shape(filesystem, FILESYSTEM, "filesystem")
        assert filesystem["state"] in {"ok", "high", "hard"}
    for each in document["unreadable"]:
        has_shape(each, {"path": str, "error": str}, "unreadable")
    for each in document.get("outcomes", ()):
        has_shape(each, OUTCOME, "outcome")
    for run in document["runs"]:
        has_shape(run, RUN, "run")
        for checkpoint in run["checkpoints"]:
            has_shape(checkpoint, CHECKPOINT, "checkpoint")
            assert MOMENT.fullmatch(checkpoint["saved_at"])
            assert checkpoint["reasons"]
            for reason in checkpoint["reasons"]:
                optional = {key: int for key in ("rank", "limit") if key in reason}
                has_shape(reason, REASON | optional, "reason")


# --- the document ------------------------------------------------------------------------


def test_the_json_of_plan_is_the_documented_one(ckptd, run):
    answer = ckptd.json("plan", "--keep-last", "2", run)
    assert (answer.status, answer.err) == (0, "")
    is_documented(answer.document, outcomes=False)
    assert {name: (c["standing"], c["action"]) for name, c in answer.checkpoints.items()} == {
        "checkpoint-10": ("surplus", "evict"),
        "checkpoint-20": ("held", "keep"),
        "checkpoint-30": ("firm", "keep"),
        "checkpoint-40": ("held", "keep"),
    }
    going = answer.checkpoints["checkpoint-10"]
    assert answer.document["reclaim_bytes"] == going["bytes"]
    assert going["metrics"]["eval_loss"] == 0.1
    ranked = {"rule": "keep_last", "keeps": False, "rank": 4, "limit": 2}
    assert ranked.items() <= going["reasons"][0].items()


def test_the_json_of_apply_adds_what_came_of_each_action(ckptd, run):
    answer = ckptd.json("apply", "--keep-last", "2", run)
    is_documented(answer.document, outcomes=True)
    assert answer.document["outcomes"] == [
        {
            "path": f"{run}/checkpoint-10",
            "action": "evict",
            "ok": True,
            "freed_bytes": 0,
            "error": None,
        }
    ]


def test_nothing_at_all_is_still_a_whole_document(ckptd, tmp_path):
    (tmp_path / "empty").mkdir()
    answer = ckptd.json("plan", tmp_path / "empty")
    assert answer.status == 0
    is_documented(answer.document, outcomes=False)
    assert answer.document["runs"] == []


# --- plan touches nothing, apply does what it said ---------------------------------------


def test_plan_touches_nothing_and_makes_no_state(ckptd, run, tmp_path):
    before = snapshot(tmp_path)
    for words in (("--json",), ()):
        assert ckptd.plan("--keep-last", "1", *words, tmp_path).status == 0
    assert snapshot(tmp_path) == before
    assert not ckptd.state.exists()


def test_apply_does_what_plan_said_and_a_second_one_nothing(ckptd, run, tmp_path):
    kept = {
        name
        for name, c in ckptd.json("plan", "--keep-last", "1", run).checkpoints.items()
        if c["action"] == "keep"
    }
    before = contents(run)
    answer = ckptd.json("apply", "--keep-last", "1", run)
    assert answer.status == 0
    assert left(run) == kept == {"checkpoint-20", "checkpoint-40"}
    after = contents(run)
    assert {path: after[path] for path in after if path != "."} == {
        path: facts for path, facts in before.items() if path.split("/")[0] in kept
    }
    second = ckptd.json("apply", "--keep-last", "1", run)
    assert (second.status, second.document["outcomes"]) == (0, [])
    assert left(run) == kept


def test_a_save_with_a_time_to_come_does_not_keep_the_others_for_ever(ckptd, tmp_path):
    run = tmp_path / "out"
    for step in (10, 20, 30, 40):
        ahead = 86400 if step == 20 else -86400
        corpus.write_checkpoint(run, step, mtime=time.time() + ahead + step)
    assert ckptd.json("apply", "--keep-last", "1", "--keep-best", "0", run).status == 0
    assert left(run) == {"checkpoint-20", "checkpoint-40"}


def test_with_no_rule_and_room_nothing_goes(ckptd, run):
    assert ckptd.apply(run).status == 0
    assert len(left(run)) == 4


def test_observe_plans_and_touches_nothing(ckptd, run, tmp_path):
    settings = tmp_path / "observe.toml"
    settings.write_text('mode = "observe"\n[policy]\nkeep_last = 1\n')
    answer = ckptd.json("apply", "--config", settings, run)
    assert answer.checkpoints["checkpoint-10"]["action"] == "evict"
    assert answer.document["outcomes"] == []
    assert len(left(run)) == 4


# --- what PATH means ---------------------------------------------------------------------


@pytest.mark.parametrize(
    "inside", ["checkpoint-30", "checkpoint-30/", "checkpoint-30/optimizer.pt"]
)
def test_a_path_inside_a_checkpoint_means_its_run(ckptd, run, inside):
    answer = ckptd.json("plan", "--keep-last", "1", f"{run}/{inside}")
    assert [r["path"] for r in answer.document["runs"]] == [str(run)]
    assert len(answer.checkpoints) == 4


def test_a_relative_path_and_a_link_to_it_mean_the_run(ckptd, run, tmp_path):
    (tmp_path / "link").symlink_to(run)
    for path, cwd in (("a", run.parent), ("../link", run.parent), (".", run)):
        answer = ckptd.json("plan", path, cwd=cwd)
        assert [r["path"] for r in answer.document["runs"]] == [str(run)]


def test_runs_below_one_path_are_judged_each_on_its_own(ckptd, tmp_path):
    for name in ("a", "b/deep"):
        write_run(tmp_path / "runs" / name, (1, 2))
    assert ckptd.apply("--keep-last", "1", tmp_path / "runs").status == 0
    assert left(tmp_path / "runs" / "a") == {"checkpoint-2"}
    assert left(tmp_path / "runs" / "b" / "deep") == {"checkpoint-2"}


def test_the_target_of_ms_swifts_link_is_held(ckptd, tmp_path):
    run = write_run(tmp_path / "out" / "v0-20260101-120000", (1, 2, 3))
    (run / "last-checkpoint").symlink_to("checkpoint-1")
    answer = ckptd.json("apply", "--keep-last", "1", tmp_path / "out")
    rules = [reason["rule"] for reason in answer.checkpoints["checkpoint-1"]["reasons"]]
    assert "pointer" in rules
    assert left(run) == {"checkpoint-1", "checkpoint-3", "last-checkpoint"}


def test_two_paths_on_one_filesystem_share_one_record(ckptd, tmp_path):
    paths = [write_run(tmp_path / name / "run", (1, 2)) for name in ("x", "y")]
    document = ckptd.json("plan", *paths).document
    assert [run["path"] for run in document["runs"]] == [str(path) for path in paths]
    assert len(document["filesystems"]) == 1


# --- exit status -------------------------------------------------------------------------


@pytest.mark.parametrize(
    "words",
    [
        pytest.param(("plan", "--keep-last", "-1", "."), id="negative-count"),
        pytest.param(("plan", "--trash-for", "5m", "."), id="minutes-or-months"),
        pytest.param(("plan", "--no-such-option", "."), id="unknown-option"),
        pytest.param(("apply", "does-not-exist"), id="no-such-path"),
        pytest.param(("nonsense",), id="unknown-command"),
        pytest.param((), id="no-command"),
    ],
)
def test_misuse_is_2_and_says_a_sentence(words, tmp_path):
    argv = (*CKPTD, *words)
    done = subprocess.run(argv, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert done.stdout == ""
    assert "ckptd" in done.stderr
    assert "Traceback" not in done.stderr


@contextmanager
def another_ckptd_acts_on(path, state):
    """It has taken the lock by acting once, and then is stopped, so that it does not race."""
    argv = (*CKPTD, "exec", "--state", state, "--keep-last", "1", path)
    ready = f"{state}.ready"
    other = subprocess.Popen(
        [*map(str, argv), "--", "sh", "-c", f"touch {ready}; exec sleep 60"],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        until = time.monotonic() + 20
        while not os.path.exists(ready) and time.monotonic() < until:
            time.sleep(0.05)
        other.send_signal(signal.SIGSTOP)
        yield
    finally:
        other.send_signal(signal.SIGCONT)
        other.terminate()
        other.wait(20)


def test_where_another_ckptd_acts_this_one_stands_by_with_3(ckptd, run, tmp_path):
    with another_ckptd_acts_on(run, tmp_path / "other"):
        assert left(run) == {"checkpoint-20", "checkpoint-40"}
        write_run(run, (1, 2))
        before = left(run)
        answer = ckptd.apply("--keep-last", "1", run)
        assert left(run) == before
    assert answer.status == 3
    assert "another ckptd" in answer.err


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root to make a file that cannot be read")
def test_what_cannot_be_read_makes_it_4(ckptd, run):
    closed = run.parent / "closed"
    closed.mkdir(mode=0)
    for place in tuple(run.parents)[:-2]:  # pytest makes them ours alone
        place.chmod(place.stat().st_mode | 0o055)
    os.chown(run.parent, 65534, 65534)
    words = ("setpriv", "--reuid", "65534", "--regid", "65534", "--clear-groups")
    state = run.parent / "state"
    answer = Terminal(state).apply("--json", run.parent, before=words)
    if "PermissionError" in answer.err or "No module" in answer.err:
        pytest.skip("the interpreter cannot be read by another user here")
    assert answer.status == 4
    assert str(closed) in answer.words


# --- demand ------------------------------------------------------------------------------


@pytest.fixture
def small_disk(tmp_path):
    place = tmp_path / "disk"
    place.mkdir()
    options = f"mount -t tmpfs -o size=64m none '{place}' 2>/dev/null"
    if os.geteuid() != 0 or os.system(options):
        pytest.skip("needs root and the right to mount")
    yield place
    os.system(f"umount '{place}'")


@pytest.mark.root
def test_under_demand_soft_ones_go_by_what_they_cost_and_only_as_many_as_it_takes(
    ckptd, small_disk
):
    run = write_run(small_disk / "run", range(1, 9), size=2**20)  # 8 of some 3 MiB on 64 MiB
    answer = ckptd.json("apply", "--high", "30%", "--low", "28%", run, roomy=False)
    is_documented(answer.document, outcomes=True)
    went = [os.path.basename(o["path"]) for o in answer.document["outcomes"] if o["ok"]]
    # Every other one, so that whoever goes back trains two intervals again and not three.
    assert went == [f"checkpoint-{step}" for step in range(1, 2 * len(went), 2)]
    assert 1 <= len(went) <= 4
    assert all(o["freed_bytes"] > 0 for o in answer.document["outcomes"])
    assert left(run) == {f"checkpoint-{step}" for step in range(1, 9)} - set(went)
    room = os.statvfs(small_disk)
    assert (room.f_blocks - room.f_bfree) / room.f_blocks <= 0.29
    assert answer.status == 0


@pytest.mark.root
def test_firm_ones_never_go_and_what_is_missing_is_told_with_5(ckptd, small_disk):
    run = write_run(small_disk / "run", range(1, 6), size=2**20)
    answer = ckptd.json("apply", "--high", "1%", "--low", "0%", run, roomy=False)
    # Without a rule of one's own the two newest are firm; the best is kept with them.
    assert {"checkpoint-4", "checkpoint-5"} <= left(run)
    assert "checkpoint-1" not in left(run)
    assert answer.document["filesystems"][0]["shortfall"] > 0
    assert answer.status == 5


def test_a_final_export_is_named_and_not_touched(ckptd, run):
    (run / "adapter_model.safetensors").write_bytes(corpus.safetensors())
    shown = ckptd.plan("--keep-last", "1", run).out
    assert "final export beside them, never touched: adapter_model.safetensors" in " ".join(
        shown.split()
    )
    ckptd.apply("--keep-last", "1", run)
    assert (run / "adapter_model.safetensors").exists()


def test_apply_shows_the_plan_it_acted_on_although_a_save_had_to_settle_first(ckptd, run):
    newest = max(run.iterdir(), key=lambda path: int(path.name.rpartition("-")[2]))
    (newest / "trainer_state.json").touch()
    for name in ("adapter_config.json", "optimizer.pt"):
        (newest / name).touch()
    answer = ckptd.json("apply", "--keep-last", "1", "--settle", "1s", run)
    acted = {outcome["path"] for outcome in answer.document["outcomes"]}
    planned = {
        c["path"]
        for r in answer.document["runs"]
        for c in r["checkpoints"]
        if c["action"] != "keep"
    }
    assert acted <= planned


@pytest.mark.root
def test_a_hard_linked_copy_elsewhere_keeps_a_soft_one(ckptd, tmp_path):
    """`cp -al` is how people keep a copy; letting the original go would free nothing."""
    if os.geteuid() != 0:
        pytest.skip("needs root: a filesystem of its own")
    small = tmp_path / "small"
    small.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=16m", "none", str(small)], check=True)
    try:
        for nth in range(5):
            corpus.write_checkpoint(
                small / "out", 10 + nth, size=2**20, mtime=time.time() - 900 + nth
            )
        copy = ["cp", "-al", str(small / "out" / "checkpoint-10"), str(small / "copy")]
        subprocess.run(copy, check=True)
        answer = ckptd.run("apply", "--high", "20%", "--low", "19%", small / "out", roomy=False)
        assert answer.status == 5
        assert (small / "out" / "checkpoint-10").exists()
        assert not (small / "out" / "checkpoint-11").exists()
    finally:
        subprocess.run(["umount", "--lazy", str(small)], check=True)
