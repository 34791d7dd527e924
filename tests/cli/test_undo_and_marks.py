"""`restore`, `pin`, `unpin`, `adopt` and `why` through the real process."""

import json
import os
import re
import shutil
import time

import corpus
import pytest
from terminal import Terminal, contents

from ckptd.ledger import LedgerView

HOUR = 3600


@pytest.fixture
def ckptd(tmp_path):
    return Terminal(tmp_path / "state")


@pytest.fixture
def run(tmp_path):
    for nth, step in enumerate((10, 20, 30)):
        corpus.write_checkpoint(tmp_path / "runs" / "a", step, mtime=time.time() - (9 - nth) * HOUR)
    return tmp_path / "runs" / "a"


@pytest.fixture
def gone(ckptd, run):
    """checkpoint-10, let go of by `apply`."""
    assert ckptd.apply("--keep-last", "2", run).status == 0
    assert not (run / "checkpoint-10").exists()
    return run / "checkpoint-10"


def left(run):
    return {path.name for path in run.iterdir()}


# --- restore -----------------------------------------------------------------------------


@pytest.mark.parametrize("how", ["path", "slash", "relative", "id", "id-from-elsewhere"])
def test_restore_brings_back_exactly_what_went(ckptd, run, how, tmp_path):
    before = contents(run)
    told = ckptd.apply("--keep-last", "2", run)
    (id_,) = re.findall(r"ckptd restore ([a-z]{16})", told.out)
    asked, cwd = {
        "path": (run / "checkpoint-10", None),
        "slash": (f"{run}/checkpoint-10/", None),
        "relative": ("checkpoint-10", run),
        "id": (id_, run.parent),
        "id-from-elsewhere": (id_, "/"),
    }[how]
    answer = ckptd.restore(asked, cwd=cwd)
    assert answer.status == 0, answer.err
    assert f"{run}/checkpoint-10" in answer.out
    after = contents(run)
    assert {k: v for k, v in after.items() if k != "."} == {
        k: v for k, v in before.items() if k != "."
    }


def test_what_was_restored_is_pinned_until_unpin(ckptd, run, gone):
    assert ckptd.restore(gone).status == 0
    again = ckptd.json("apply", "--keep-last", "1", run)
    assert again.checkpoints["checkpoint-10"]["pinned"] is True
    assert left(run) == {"checkpoint-10", "checkpoint-30"}
    assert ckptd.unpin(gone).status == 0
    assert ckptd.apply("--keep-last", "1", run).status == 0
    assert left(run) == {"checkpoint-30"}


def test_restore_into_another_directory(ckptd, gone, tmp_path):
    (tmp_path / "other").mkdir()
    answer = ckptd.json("restore", gone, "--to", tmp_path / "other")
    assert answer.document == {"version": 1, "restored": [f"{tmp_path}/other/checkpoint-10"]}
    assert (tmp_path / "other" / "checkpoint-10" / "optimizer.pt").is_file()
    assert not gone.exists()


def test_a_taken_name_is_3_and_nothing_moves(ckptd, run, gone):
    gone.mkdir()
    (gone / "mine").write_text("x")
    before = contents(run)
    answer = ckptd.restore(gone)
    assert (answer.status, answer.out) == (3, "")
    assert "exists already" in answer.err
    assert "--to" in answer.err
    assert contents(run) == before
    (run.parent / "b").mkdir()
    assert ckptd.restore(gone, "--to", run.parent / "b").status == 0


def test_a_run_that_is_gone_is_3_and_names_the_way_out(ckptd, run, gone, tmp_path):
    shutil.rmtree(run)
    answer = ckptd.restore(gone)
    assert answer.status == 3
    assert "--to" in answer.err


@pytest.mark.parametrize("asked", ["checkpoint-77", "no/such/place", "abcdefghijklmnop", "x\ny"])
def test_nothing_in_the_trash_is_1_with_a_sentence(ckptd, run, gone, asked):
    answer = ckptd.restore(asked, cwd=run)
    assert (answer.status, answer.out) == (1, "")
    assert answer.err.startswith("ckptd: nothing in the trash came from")


def test_after_a_purge_why_still_knows_and_restore_says_so(ckptd, run):
    assert ckptd.apply("--keep-last", "1", "--trash-for", "0s", run).status == 0
    assert ckptd.restore(run / "checkpoint-10").status == 1
    answer = ckptd.why(run / "checkpoint-10")
    assert answer.status == 0
    assert "purge" in answer.out
    assert "keep_last is 1" in answer.out


# --- pin, unpin --------------------------------------------------------------------------


def test_a_pin_holds_and_unpin_lets_go(ckptd, run):
    before = os.stat(run / "checkpoint-10").st_mtime_ns
    answer = ckptd.json("pin", run / "checkpoint-10", f"{run}/checkpoint-20/")
    assert answer.document == {
        "version": 1,
        "pinned": [f"{run}/checkpoint-10", f"{run}/checkpoint-20"],
    }
    assert os.stat(run / "checkpoint-10").st_mtime_ns == before
    assert ckptd.apply("--keep-last", "1", run).status == 0
    assert len(left(run)) == 3
    assert ckptd.unpin("checkpoint-10", cwd=run).status == 0
    assert ckptd.apply("--keep-last", "1", run).status == 0
    assert left(run) == {"checkpoint-20", "checkpoint-30"}


def test_unpin_of_what_is_not_pinned_is_done_already(ckptd, run):
    assert ckptd.unpin(run / "checkpoint-10").status == 0


@pytest.mark.parametrize("command", ["pin", "unpin"])
@pytest.mark.parametrize("path", ["", "checkpoint-99", "link", "../a", "/", "notes.txt"])
def test_only_a_checkpoint_can_be_pinned(ckptd, run, command, path):
    (run / "link").symlink_to("checkpoint-99")
    (run / "notes.txt").write_text("x")
    before = contents(run)
    answer = ckptd.run(command, path or run, cwd=run)
    assert answer.status in {1, 2, 3}
    assert answer.err.startswith("ckptd: ")
    assert answer.err.count("\n") <= 2
    assert answer.out == ""
    assert contents(run) == before


# --- adopt -------------------------------------------------------------------------------


def configured(tmp_path, watch):
    file = tmp_path / "ckptd.toml"
    file.write_text(f'[[watch]]\npath = "{watch}"\n[policy]\nkeep_last = 1\n')
    return file


def test_an_old_run_is_only_shown_until_it_is_adopted(ckptd, run, tmp_path):
    settings = configured(tmp_path, run.parent)
    shown = ckptd.json("apply", "--config", settings)
    assert shown.document["runs"][0]["adopted"] is False
    assert len(left(run)) == 3
    answer = ckptd.json("adopt", run.parent)
    assert answer.document == {"version": 1, "adopted": [str(run)]}
    assert ckptd.apply("--config", settings).status == 0
    assert left(run) == {"checkpoint-30"}


def test_adopt_of_a_place_without_runs_is_1(ckptd, tmp_path):
    (tmp_path / "empty").mkdir()
    answer = ckptd.adopt(tmp_path / "empty")
    assert answer.status == 1
    assert "no run lies at or below" in answer.err


# --- why ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "spelt", ["{run}/checkpoint-10", "{run}/checkpoint-10/", "{run}/checkpoint-10/optimizer.pt"]
)
def test_why_names_the_rule_and_the_rank(ckptd, run, spelt):
    answer = ckptd.why("--keep-last", "2", spelt.format(run=run))
    assert answer.status == 0
    assert answer.out.startswith(f"{run}/checkpoint-10\n")
    assert "3rd newest; keep_last is 2" in answer.out
    assert "step 10" in answer.out


def test_why_takes_a_relative_path_and_one_through_a_link(ckptd, run, tmp_path):
    (tmp_path / "alias").symlink_to(run)
    for path, cwd in (("checkpoint-30", run), (tmp_path / "alias" / "checkpoint-30", "/")):
        answer = ckptd.why(path, cwd=cwd)
        assert "newest complete checkpoint of this run" in answer.out, answer.err


def test_why_of_one_in_the_trash_says_how_it_comes_back(ckptd, gone):
    answer = ckptd.why(gone)
    assert answer.status == 0
    assert "is in the trash since" in answer.out
    assert re.search(r"ckptd restore [a-z]{16}", answer.out)


def test_why_as_json_is_one_document_whatever_became_of_it(ckptd, run, gone):
    kept = json.loads(ckptd.json("why", run / "checkpoint-30").out)
    trashed = json.loads(ckptd.json("why", gone).out)
    ckptd.apply("--trash-for", "0s", run)
    purged = json.loads(ckptd.json("why", gone).out)
    assert (kept["path"], kept["standing"]) == (f"{run}/checkpoint-30", "held")
    assert kept["goes"]["text"].startswith("It stays until after 2 more saves")
    assert 3000 < trashed["goes"]["when_seconds"] <= 3600
    assert trashed["path"] == purged["path"] == str(gone)


@pytest.mark.parametrize("path", ["checkpoint-99", "nowhere/at/all", "."])
def test_why_of_what_nobody_knows_is_1(ckptd, run, path):
    answer = ckptd.why(path, cwd=run)
    assert (answer.status, answer.out) == (1, "")
    assert "no checkpoint that ckptd knows of" in answer.err


@pytest.mark.parametrize("word", ["pin", "unpin"])
def test_a_mark_is_in_the_history(ckptd, run, tmp_path, word):
    assert ckptd.run(word, run / "checkpoint-10").status == 0
    (record,) = LedgerView.of(str(tmp_path / "state")).history()
    assert (record.event, record.checkpoint) == (word, str(run / "checkpoint-10"))


def test_a_pin_holds_where_no_ledger_can_be_kept(run, tmp_path):
    (tmp_path / "no-directory").write_text("")
    blocked = Terminal(tmp_path / "no-directory")
    assert blocked.pin(run / "checkpoint-10").status == 0
    assert os.getxattr(run / "checkpoint-10", "user.ckptd.pin")
