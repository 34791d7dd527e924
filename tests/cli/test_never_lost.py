"""`apply --keep-last 1 --trash-for 0s` unlinks at once: what it must not take, it leaves."""

import os
import shutil
import subprocess
import sys
import time

import corpus
import pytest
from terminal import Terminal

HOUR = 3600


@pytest.fixture
def ckptd(tmp_path):
    return Terminal(tmp_path / "state")


@pytest.fixture
def run(tmp_path):
    """Four intact saves, hours old and an hour apart."""
    for nth, step in enumerate((10, 20, 30, 40)):
        corpus.write_checkpoint(tmp_path / "run", step, mtime=time.time() - (9 - nth) * HOUR)
    return tmp_path / "run"


def left(run):
    return {path.name for path in run.iterdir() if not path.is_symlink()}


def apply(ckptd, *paths):
    answer = ckptd.apply("--keep-last", "1", "--trash-for", "0s", *paths)
    assert "Traceback" not in answer.err
    return answer


def test_without_anything_strange_only_the_newest_stays(ckptd, run):
    assert apply(ckptd, run).status == 0
    assert left(run) == {"checkpoint-40"}
    assert not [path for path in run.parent.rglob("*.safetensors") if run not in path.parents]


def test_a_save_of_which_only_the_state_is_left_takes_nobodys_place(ckptd, run):
    hollow = run / "checkpoint-999"
    hollow.mkdir()
    (hollow / "trainer_state.json").write_text('{"global_step": 999}')
    corpus.set_times(hollow, time.time() - HOUR)
    assert "holds no weights" in apply(ckptd, run).out.replace("\n", "").replace("  ", "")
    assert left(run) == {"checkpoint-40", "checkpoint-999"}


def test_a_newest_save_that_lost_its_optimizer_does_not_cost_the_last_that_can_resume(ckptd, run):
    (run / "checkpoint-40" / "optimizer.pt").unlink()
    corpus.set_times(run / "checkpoint-40", time.time() - HOUR)
    assert apply(ckptd, run).status == 0
    assert left(run) == {"checkpoint-30", "checkpoint-40"}


@pytest.mark.parametrize("name", ["optimizer.pt", "adapter_model.safetensors"])
def test_a_link_in_place_of_a_file_is_no_proof_of_a_whole_save(ckptd, run, name):
    newest = run / "checkpoint-40"
    (newest / name).unlink()
    (newest / name).symlink_to("/nowhere/blob")
    os.utime(newest / name, (0, 0), follow_symlinks=False)
    apply(ckptd, run)
    assert left(run) == {"checkpoint-30", "checkpoint-40"}


@pytest.mark.parametrize("target", ["checkpoint-10", "checkpoint-10/adapter_model.safetensors"])
def test_what_a_link_beside_it_leads_to_stays(ckptd, run, target):
    (run / "best").symlink_to(target)
    apply(ckptd, run)
    assert left(run) == {"checkpoint-10", "checkpoint-40"}


def test_what_a_link_leads_to_by_another_name_of_the_run_stays(ckptd, run, tmp_path):
    (tmp_path / "alias").symlink_to(tmp_path)
    (run / "best").symlink_to(tmp_path / "alias" / "run" / "checkpoint-10")
    apply(ckptd, run)
    assert left(run) == {"checkpoint-10", "checkpoint-40"}


def test_what_another_save_links_into_stays(ckptd, run):
    base = run / "checkpoint-40" / "base.json"
    base.symlink_to("../checkpoint-10/adapter_config.json")
    os.utime(base, (0, 0), follow_symlinks=False)
    apply(ckptd, run)
    assert left(run) == {"checkpoint-10", "checkpoint-40"}


@pytest.mark.parametrize(
    "argument",
    [
        "{run}/checkpoint-10",
        "--model={run}/checkpoint-10/adapter_model.safetensors",
        "/elsewhere,{run}/checkpoint-10",
        '{{"model": "{run}/checkpoint-10"}}',
        "sleep 60 && python eval.py '{run}/checkpoint-10';",
    ],
)
def test_what_a_process_names_stays(ckptd, run, argument):
    command = [sys.executable, "-c", "input()", argument.format(run=run)]
    with subprocess.Popen(command, stdin=subprocess.PIPE) as process:
        apply(ckptd, run)
        process.communicate(b"\n")
    assert left(run) == {"checkpoint-10", "checkpoint-40"}


def test_models_that_a_person_merged_into_old_saves_stay_and_make_them_no_newer(ckptd, run):
    for step, name in ((10, "merged"), (20, "export")):
        place = run / f"checkpoint-{step}" / name
        place.mkdir()
        (place / "model.safetensors").write_bytes(corpus.safetensors())
        os.utime(place / "model.safetensors", (time.time() - HOUR / step,) * 2)
    apply(ckptd, run)
    assert left(run) == {"checkpoint-10", "checkpoint-20", "checkpoint-40"}


def test_a_lower_step_saved_last_keeps_its_place_when_an_old_save_gets_a_merged_model(ckptd, run):
    corpus.write_checkpoint(run, 15, mtime=time.time() - HOUR)
    (run / "checkpoint-40" / "merged").mkdir()
    (run / "checkpoint-40" / "merged" / "model.safetensors").write_bytes(corpus.safetensors())
    apply(ckptd, run)
    assert {"checkpoint-15", "checkpoint-40"} <= left(run)


def test_a_persons_file_in_a_wreck_without_siblings_stays(ckptd, tmp_path):
    only = corpus.write_checkpoint(tmp_path / "run", 10, mtime=time.time() - HOUR)
    corpus.cut(only / "adapter_model.safetensors", 5)
    (only / "thesis.txt").write_text("three years of work")
    apply(ckptd, tmp_path / "run")
    assert (only / "thesis.txt").read_text() == "three years of work"


def test_a_run_named_twice_is_judged_once(ckptd, run, tmp_path):
    answer = ckptd.json("plan", "--keep-last", "1", tmp_path, run, run)
    assert [r["path"] for r in answer.document["runs"]] == [str(run)]
    assert apply(ckptd, run, tmp_path, run).status == 0
    assert left(run) == {"checkpoint-40"}


@pytest.mark.parametrize("how", ["word", "equals", "yaml"])
def test_what_a_command_is_about_to_resume_from_is_there_when_it_starts(ckptd, run, tmp_path, how):
    wanted = run / "checkpoint-10"
    settings = tmp_path / "train.yaml"
    settings.write_text(f"output_dir: {run}\nresume_from_checkpoint: {wanted}\n")
    words = {
        "word": ("--resume_from_checkpoint", wanted),
        "equals": (f"--resume_from_checkpoint={wanted}",),
        "yaml": (settings,),
    }[how]
    code = "import os, sys, time; time.sleep(1); sys.exit(not os.path.isdir(os.environ['WANTED']))"
    os.environ["WANTED"] = str(wanted)
    try:
        answer = ckptd.exec(
            *("--keep-last", "1", "--trash-for", "0s", run, "--", sys.executable, "-c", code),
            *words,
        )
    finally:
        del os.environ["WANTED"]
    assert answer.status == 0


def test_a_filesystem_mounted_inside_a_save_stays_whole(ckptd, run):
    place = run / "checkpoint-10" / "mnt"
    place.mkdir()
    if os.geteuid() != 0 or os.system(f"mount -t tmpfs none '{place}' 2>/dev/null"):
        pytest.skip("needs root and the right to mount")
    try:
        (place / "precious").write_text("x")
        apply(ckptd, run)
        assert (place / "precious").exists()
    finally:
        os.system(f"umount '{place}'")


@pytest.mark.parametrize("disguise", ["link", "file"])
def test_a_trash_that_is_none_is_left_as_it_is(ckptd, run, tmp_path, disguise):
    trash, treasure = tmp_path / ".ckptd-trash", tmp_path / "treasure"
    treasure.mkdir()
    (treasure / "a").write_text("gold")
    if disguise == "link":
        trash.symlink_to("treasure")
    else:
        trash.write_text("gold")
    apply(ckptd, run)
    assert [path.name for path in treasure.iterdir()] == ["a"]
    assert "checkpoint-40" in left(run)


def test_planted_things_in_the_trash_lead_nowhere(ckptd, run, tmp_path):
    """Somebody else's sidecar may name any path; nothing outside its shelf is touched."""
    shelf = tmp_path / ".ckptd-trash" / str(os.geteuid())
    victim = tmp_path / "victim"
    shutil.copytree(run / "checkpoint-10", victim)
    shelf.mkdir(parents=True, mode=0o700)
    (shelf / ("a" * 16)).symlink_to(victim)
    (shelf / ("b" * 16)).mkdir()
    (shelf / ("b" * 16) / "kept").write_text("no record knows me")
    sidecar = '{"version":1,"run":"../victim","name":"..","step":1,"bytes":1,"action":"evict",'
    sidecar += '"saved_at":"2020-01-01T00:00:00+00:00","trashed_at":"2020-01-01T00:00:00+00:00",'
    (shelf / f"{'a' * 16}.json").write_text(sidecar + '"weights_whole":true,"reason":"x"}')
    (shelf / f"{'b' * 16}.json").write_text(sidecar + '"weights_whole":true,"reason":"x"}')
    before = sorted(path.name for path in victim.iterdir())
    apply(ckptd, run)
    assert sorted(path.name for path in victim.iterdir()) == before
    assert (shelf / ("b" * 16) / "kept").exists()


def test_two_at_once_take_no_more_than_one_does(tmp_path, run):
    import threading

    terminals = [Terminal(tmp_path / f"state{n}") for n in range(3)]
    answers = []
    threads = [
        threading.Thread(target=lambda one=one: answers.append(apply(one, run)))
        for one in terminals
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert left(run) >= {"checkpoint-40"}
    # Each looks who has a file open by opening it: for a moment one may take the other for a
    # user, and keeps what the next look lets go.
    assert apply(terminals[0], run).status == 0
    assert left(run) == {"checkpoint-40"}
    assert {answer.status for answer in answers} <= {0, 3, 4}


def test_the_trash_keeps_the_last_complete_save_of_a_run_that_has_none_left(ckptd, run):
    ckptd.apply("--keep-last", "1", run)
    shutil.rmtree(run / "checkpoint-40")
    corpus.write_checkpoint(run, 50, state=False, mtime=time.time() - HOUR)
    apply(ckptd, run)
    assert ckptd.restore(run / "checkpoint-30").status == 0
