"""`check` on real filesystems: usage, configuration, room."""

import math
import subprocess

import pytest
from checked import MIB, found, mounted, needs_root, text, write_run
from terminal import Terminal, snapshot


@pytest.fixture
def ckptd(tmp_path):
    return Terminal(tmp_path / "state")


@pytest.fixture
def small(tmp_path):
    """A filesystem of 32 MiB."""
    with mounted(tmp_path / "small", "size=32m,mode=755") as point:
        yield point


def used_by_df(path):
    told = subprocess.run(
        ["df", "--output=pcent", str(path)], capture_output=True, text=True, check=True
    )
    return int(told.stdout.split()[-1].rstrip("%"))


# --- all well ----------------------------------------------------------------------------


def test_all_is_well_for_a_path_that_does_not_exist_yet(ckptd, tmp_path):
    before = snapshot(tmp_path)
    answer = ckptd.json("check", "--max-used", "100%", tmp_path / "not" / "yet")
    assert (answer.status, answer.document["ok"]) == (0, True)
    assert set(found(answer).values()) == {"ok"}
    assert [fs["path"] for fs in answer.document["filesystems"]] == [str(tmp_path / "not" / "yet")]
    assert snapshot(tmp_path) == before


def test_a_run_is_checked_and_left_as_it_is(ckptd, tmp_path):
    place = write_run(tmp_path / "run")
    before = snapshot(tmp_path)
    assert ckptd.check("--max-used", "100%", place).status == 0
    assert snapshot(tmp_path) == before


def test_one_line_for_each_check(ckptd, tmp_path):
    answer = ckptd.check("--max-used", "100%", "--need", "1B", tmp_path)
    words = [line.split()[:2] for line in answer.out.splitlines() if not line.startswith(" ")]
    names = "configuration ledger watch trash events ckptd inotify_watches inotify_instances"
    assert [name for _, name in words][:8] == names.split()
    assert {state for state, _ in words} == {"ok"}


# --- usage and configuration -------------------------------------------------------------


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("--max-used", "80", "."), "--max-used: '80' is not a percentage such as 85%"),
        (("--max-used", "101%", "."), "more than the whole"),
        (("--need", "plenty", "."), "--need: 'plenty' is not a size"),
        ((), "nothing to check"),
    ],
)
def test_wrong_usage_is_said_in_a_sentence(ckptd, tmp_path, words, said):
    config = tmp_path / "ckptd.toml"
    config.touch()
    answer = ckptd.check("--config", config, *words)
    assert answer.status == 2
    assert said in answer.err
    assert answer.out == ""


def test_a_configuration_with_problems_is_told_with_all_of_them(ckptd, tmp_path):
    config = tmp_path / "ckptd.toml"
    config.write_text("[policy]\nkeep_lats = 2\nkeep_best = -1\n")
    answer = ckptd.check("--config", config, tmp_path)
    assert answer.status == 2
    assert "keep_lats" in answer.err
    assert "keep_best" in answer.err


def test_a_drop_in_that_cannot_be_obeyed_fails(ckptd, tmp_path):
    place = write_run(tmp_path / "run")
    (tmp_path / "run" / ".ckptd.toml").write_text("[policy]\nkeep_lats = 2\n")
    answer = ckptd.json("check", "--max-used", "100%", place)
    assert (answer.status, found(answer)["drop_in"]) == (4, "failed")
    assert "keep_lats" in text(answer, "drop_in")


def test_runs_that_are_not_adopted_are_a_warning(ckptd, tmp_path):
    write_run(tmp_path / "data" / "run")
    config = tmp_path / "ckptd.toml"
    config.write_text(f'[[watch]]\npath = "{tmp_path}/data"\n')
    answer = ckptd.json("check", "--max-used", "100%", "--config", config)
    assert (answer.status, found(answer)["adopted"]) == (0, "warning")
    assert "1 run below" in text(answer, "adopted")


def test_a_glob_that_matches_nothing_yet_is_a_warning(ckptd, tmp_path):
    config = tmp_path / "ckptd.toml"
    config.write_text(f'[[watch]]\npath = "{tmp_path}/exp-*"\n')
    answer = ckptd.json("check", "--config", config)
    assert (answer.status, found(answer)["watch"]) == (0, "warning")


def test_a_file_in_the_way_fails(ckptd, tmp_path):
    (tmp_path / "file").touch()
    answer = ckptd.json("check", "--max-used", "100%", tmp_path / "file" / "below")
    assert (answer.status, found(answer)["watch"]) == (4, "failed")
    assert "is no directory" in text(answer, "watch")


def test_a_state_directory_that_cannot_be_made_fails(ckptd, tmp_path):
    (tmp_path / "state").touch()
    answer = ckptd.json("check", "--max-used", "100%", tmp_path)
    assert (answer.status, found(answer)["ledger"]) == (4, "failed")


# --- room --------------------------------------------------------------------------------


@pytest.mark.root
@needs_root
@pytest.mark.parametrize("filled", [0, 8, 16, 25, 31, 32])
def test_max_used_says_what_df_says(ckptd, small, filled):
    (small / "filler").write_bytes(b"x" * filled * MIB)
    used = used_by_df(small)
    for limit in {0, used - 1, used, used + 1, 100} & set(range(101)):
        answer = ckptd.check("--max-used", f"{limit}%", small / "run")
        assert answer.status == (5 if used > limit else 0), answer.out
        assert f"is {used}% used" in " ".join(answer.out.split())


@pytest.mark.root
@needs_root
def test_used_shares_are_those_of_df(ckptd, small):
    (small / "filler").write_bytes(b"x" * 10 * MIB)
    (filesystem,) = ckptd.json("check", small / "run").document["filesystems"]
    assert math.ceil(filesystem["used_percent"]) == used_by_df(small)


@pytest.mark.root
@needs_root
def test_without_max_used_the_high_mark_counts(ckptd, small, tmp_path):
    (small / "filler").write_bytes(b"x" * 16 * MIB)
    config = tmp_path / "ckptd.toml"
    for high, status in (("60%", 0), ("45%", 5)):
        config.write_text(f'[disk]\nhigh = "{high}"\nlow = "40%"\n')
        assert ckptd.check("--config", config, small / "run").status == status


@pytest.mark.root
@needs_root
def test_need_counts_what_users_can_fill(ckptd, small):
    (small / "filler").write_bytes(b"x" * 12 * MIB)
    for need, status in (("19MiB", 0), ("21MiB", 5)):
        assert ckptd.check("--max-used", "100%", "--need", need, small / "run").status == status


@pytest.mark.root
@needs_root
def test_the_command_that_is_told_frees_what_is_needed(ckptd, small):
    run = write_run(small / "data" / "run", count=8)
    need = ("--max-used", "100%", "--need", "20MiB", run)
    answer = ckptd.json("check", *need)
    assert (answer.status, found(answer)["need"]) == (5, "failed")
    assert "its policy can free them" in text(answer, "need")
    command = text(answer, "need").partition("ckptd apply ")[2].split()
    ckptd.run("apply", *command, roomy=False)
    assert ckptd.check(*need).status == 0
    assert (run / "checkpoint-400").is_dir()


@pytest.mark.root
@needs_root
def test_what_is_firm_is_not_promised(ckptd, small):
    run = write_run(small / "data" / "run", count=2, size=4 * MIB)
    answer = ckptd.json("check", "--max-used", "100%", "--need", "20MiB", run)
    assert answer.status == 5
    assert "may let nothing go there" in text(answer, "need")


@pytest.mark.root
@needs_root
def test_too_few_inodes_are_too_full(ckptd, tmp_path):
    with mounted(tmp_path / "few", "size=32m,nr_inodes=100,mode=755") as point:
        answer = ckptd.json("check", point / "run")
    assert (answer.status, found(answer)["inodes"]) == (5, "failed")
