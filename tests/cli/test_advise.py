import time

import pytest
from corpus import write_checkpoint
from terminal import Terminal, snapshot

from ckptd.ledger import Ledger, Save

MINUTE = 60
SIZE = 2**20  # of the weights; the optimizer takes as much twice more


@pytest.fixture
def ckptd(tmp_path):
    return Terminal(tmp_path / "state")


def write_run(place, count, *, every=6 * MINUTE, **how):
    """*count* saves 50 steps apart, the last a minute ago."""
    for nth in range(count):
        at = time.time() - MINUTE - (count - 1 - nth) * every
        write_checkpoint(place, 50 * (nth + 1), mtime=at, **({"size": SIZE} | how))
    return place


def only_run(answer):
    (run,) = answer.document["runs"]
    return run


def allocated(place):
    return sum(path.lstat().st_blocks * 512 for path in (place, *place.rglob("*")))


def test_measures_size_and_rhythm_and_advises(ckptd, tmp_path):
    place = write_run(tmp_path / "run", 4)
    before = snapshot(tmp_path)
    run = only_run(ckptd.json("advise", place))
    assert run["path"] == str(place)
    assert run["save_bytes"] == pytest.approx(allocated(place / "checkpoint-200"), abs=16384)
    assert run["steps_between_saves"] == 50
    assert run["save_interval_seconds"] == pytest.approx(360, abs=1)
    assert run["seconds_per_step"] == pytest.approx(7.2, abs=0.1)
    assert run["bytes_per_hour"] == pytest.approx(10 * run["save_bytes"], rel=0.01)
    assert run["crash_costs_seconds"] == pytest.approx(run["save_steps"] * 3.6, rel=0.02)
    assert run["policy"]["keep_last"] >= 1
    assert snapshot(tmp_path) == before


def test_free_space_and_pace_make_the_hours_to_full(ckptd, tmp_path):
    answer = ckptd.json("advise", write_run(tmp_path / "run", 4))
    (filesystem,), run = answer.document["filesystems"], only_run(answer)
    assert filesystem["runs_under_way"] == 1
    assert filesystem["bytes_per_hour"] == pytest.approx(run["bytes_per_hour"], abs=1)
    hours = filesystem["free"] / filesystem["bytes_per_hour"]
    assert filesystem["full_in_seconds"] == pytest.approx(hours * 3600, rel=0.001)


def test_saves_that_are_gone_tell_the_rhythm_as_well(ckptd, tmp_path):
    place = write_run(tmp_path / "run", 1)
    with Ledger(str(ckptd.state)) as ledger:
        for back in (3, 2, 1):
            saved_at = time.time() - MINUTE - back * 2 * MINUTE
            name = f"checkpoint-{50 - 10 * back}"
            save = Save(run=str(place), name=name, step=50 - 10 * back, bytes=1, saved_at=saved_at)
            ledger.saw_save(save)
    run = only_run(ckptd.json("advise", place))
    assert run["steps_between_saves"] == 10
    assert run["save_interval_seconds"] == pytest.approx(2 * MINUTE, abs=1)
    assert run["save_bytes"] > SIZE


def test_a_save_from_the_future_tells_nothing(ckptd, tmp_path):
    place = write_run(tmp_path / "run", 4)
    write_checkpoint(place, 250, mtime=time.time() + 30 * 24 * 3600)
    run = only_run(ckptd.json("advise", place))
    assert run["save_interval_seconds"] == pytest.approx(360, abs=1)
    assert run["save_bytes"] > SIZE


def test_runs_elsewhere_under_the_configured_watches_fill_the_disk_too(ckptd, tmp_path):
    (tmp_path / "watched").mkdir()
    write_run(tmp_path / "watched" / "other", 4)
    config = tmp_path / "ckptd.toml"
    config.write_text(f'[[watch]]\npath = "{tmp_path}/watched"\n')
    place = write_run(tmp_path / "run", 4)
    answer = ckptd.json("advise", "--config", config, place)
    assert only_run(answer)["path"] == str(place)
    assert sum(fs["runs_under_way"] for fs in answer.document["filesystems"]) == 2


def test_people_read_the_settings_and_how_they_come_about(ckptd, tmp_path):
    answer = ckptd.advise(write_run(tmp_path / "run", 4))
    assert answer.status == 0
    for words in ("save_total_limit  ", "50 at least", "ckptd exec --keep-last ", "an hour"):
        assert words in answer.out


def test_a_run_without_a_whole_save_gets_one_sentence(ckptd, tmp_path):
    place = tmp_path / "run"
    write_checkpoint(place, 50, state=False)
    answer = ckptd.advise(place)
    assert answer.status == 0
    assert "no whole save is known" in answer.out
    assert "at least" not in answer.out


def test_where_nothing_is_found_a_sentence_says_so(ckptd, tmp_path):
    answer = ckptd.advise(tmp_path)
    assert (answer.status, answer.err) == (0, "")
    assert "No run with checkpoints was found" in answer.out
    document = ckptd.json("advise", tmp_path).document
    assert (document["runs"], document["filesystems"]) == ([], [])


def test_a_path_that_does_not_exist_is_a_usage_error(ckptd, tmp_path):
    answer = ckptd.advise(tmp_path / "misspelt")
    assert answer.status == 2
    assert "does not exist" in answer.err
