"""What bad input gets: a clear word, nothing lost, nothing that hangs, no traceback."""

import os
import shutil
import time

import corpus
import pytest
from terminal import Terminal, contents

HOUR = 3600
LONGEST = 20  # seconds; a save that looks unfinished is waited for, for a few of them


@pytest.fixture
def ckptd(tmp_path):
    return Terminal(tmp_path / "state")


@pytest.fixture
def run(tmp_path):
    return write_run(tmp_path / "run")


def write_run(place, steps=(10, 20, 30, 40)):
    for nth, step in enumerate(steps):
        at = time.time() - (len(steps) - nth + 1) * HOUR
        corpus.write_checkpoint(place, step, mtime=at)
    return place


def plan_and_apply(ckptd, *paths):
    """What plan says; `apply` then lets go of what it may, at once and for good."""
    planned = ckptd.json("plan", "--keep-last", "1", *paths, timeout=LONGEST)
    words = ("--keep-last", "1", "--trash-for", "0s")
    applied = ckptd.json("apply", *words, *paths, timeout=LONGEST)
    for_people = ckptd.plan(*paths, timeout=LONGEST)
    for answer in (planned, applied, for_people):
        assert "Traceback" not in answer.err
        assert answer.status in {0, 4}, answer.err
    return planned


# --- configuration -----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "words"),
    [
        pytest.param(b"[policy\nkeep_last = 1", ["line 1"], id="malformed"),
        pytest.param(
            b"mood = 1\n[policy]\nkeep_lats = 2\nkeep_best = -1\ntrash_for = '5m'\n[dsik]\n",
            ["mood", "keep_lats", "keep_last", "keep_best", "trash_for", "dsik"],
            id="several-problems-at-once",
        ),
        pytest.param(b"[policy]\nkeep_last = '\xff\xfe'\n", ["UTF-8"], id="not-utf-8"),
        pytest.param(b"# " + b"x" * 2**21, ["MiB"], id="2-mb"),
        pytest.param(b"a = " + b"[" * 50_000, [""], id="deep"),
        pytest.param(b"\0\0\0", [""], id="binary"),
        pytest.param(b"[policy]\nkeep_last = '\x1b[2J'", [""], id="escape-sequence"),
    ],
)
def test_a_wrong_configuration_is_2_with_every_problem_and_nothing_is_touched(
    ckptd, run, tmp_path, text, words
):
    file = tmp_path / "ckptd.toml"
    file.write_bytes(text)
    before = contents(run)
    answer = ckptd.apply("--config", file, run)
    assert answer.status == 2
    assert answer.out == ""
    assert "Traceback" not in answer.err
    assert "\x1b" not in answer.err
    assert [word for word in words if word not in answer.err] == []
    assert contents(run) == before
    assert not ckptd.state.exists()


@pytest.mark.parametrize("kind", ["directory", "missing", "fifo", "loop"])
def test_a_configuration_that_is_no_file_is_2(ckptd, run, tmp_path, kind):
    file = tmp_path / "ckptd.toml"
    make = {
        "directory": file.mkdir,
        "missing": lambda: None,
        "fifo": lambda: os.mkfifo(file),
        "loop": lambda: file.symlink_to(file),
    }
    make[kind]()
    answer = ckptd.plan("--config", file, run, timeout=LONGEST)
    assert answer.status == 2
    assert "ckptd.toml" in answer.err
    assert "Traceback" not in answer.err


# --- PATH --------------------------------------------------------------------------------


@pytest.mark.parametrize("command", ["plan", "apply", "adopt", "why", "pin", "restore"])
@pytest.mark.parametrize("kind", ["absent", "file", "loop", "empty-name", "dangling"])
def test_a_path_that_leads_nowhere_gets_a_sentence(ckptd, tmp_path, command, kind):
    path = tmp_path / "odd"
    if kind == "file":
        path.write_text("x")
    elif kind == "loop":
        path.symlink_to(path)
    elif kind == "dangling":
        path.symlink_to(tmp_path / "gone")
    answer = ckptd.run(command, "" if kind == "empty-name" else path, cwd=tmp_path / "..")
    assert "Traceback" not in answer.err
    assert answer.status in ({2} if command in {"plan", "apply"} else {1, 2, 3})
    assert answer.out == ""
    assert answer.err.startswith("ckptd: ")
    assert answer.err.count("\n") <= 2


def test_a_loop_below_the_path_is_not_walked(ckptd, run):
    (run.parent / "again").symlink_to(run.parent)
    (run / "self").symlink_to(".")
    plan_and_apply(ckptd, run.parent)
    assert {p.name for p in run.iterdir()} == {"checkpoint-40", "self"}


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root to become another user")
def test_an_unreadable_directory_is_named_and_never_empty(ckptd, run):
    closed = run.parent / "closed"
    shutil.copytree(run, closed)
    closed.chmod(0)
    for place in tuple(run.parents)[:-2]:  # pytest makes them ours alone
        place.chmod(place.stat().st_mode | 0o055)
    words = ("setpriv", "--reuid", "65534", "--regid", "65534", "--clear-groups")
    answer = ckptd.json("plan", run.parent, before=words)
    if "Permission" in answer.err or "No module" in answer.err:
        pytest.skip("the interpreter cannot be read by another user here")
    assert answer.status == 0
    assert [u["path"] for u in answer.document["unreadable"]] == [str(closed)]
    assert "permission denied" in answer.words


# --- strange things in a run -------------------------------------------------------------


def strange_link(run):
    (run.parent / "elsewhere").mkdir()
    (run / "checkpoint-500").symlink_to(run.parent / "elsewhere")


def strange_fifo(run):
    os.mkfifo(run / "checkpoint-500")


def fifo_for(name):
    def make(run):
        place = corpus.write_checkpoint(run, 500, mtime=time.time() - HOUR / 2)
        (place / name).unlink()
        os.mkfifo(place / name)
        corpus.set_times(place, time.time() - HOUR / 2)

    return make


def state_of(content):
    def make(run):
        place = corpus.write_checkpoint(run, 500)
        (place / "trainer_state.json").write_bytes(content)
        corpus.set_times(place, time.time() - HOUR / 2)

    return make


def empty(run):
    (run / "checkpoint-500").mkdir()
    corpus.set_times(run / "checkpoint-500", time.time() - HOUR / 2)


def long_step(run):
    place = corpus.write_checkpoint(run, 500, mtime=time.time() - HOUR / 2)
    place.rename(run / ("checkpoint-" + "9" * 30))


def in_2099(run):
    corpus.write_checkpoint(run, 500, mtime=4_100_000_000)


def diffusers(run):
    place = run / "checkpoint-500"
    (place / "unet").mkdir(parents=True)
    (place / "unet" / "diffusion_pytorch_model.safetensors").write_bytes(corpus.safetensors())
    (place / "optimizer.bin").write_bytes(corpus.torch_zip({}))
    (place / "random_states_0.pkl").write_bytes(b"\x80\x02.")
    corpus.set_times(place, time.time() - HOUR / 2)


def look_alike(run):
    place = run / "checkpoint-500"
    place.mkdir()
    (place / "thesis.tex").write_text("three years of work")
    corpus.set_times(place, time.time() - HOUR / 2)


def deep(run):
    place = corpus.write_checkpoint(run, 500, mtime=time.time() - HOUR / 2)
    fd = os.open(place, os.O_RDONLY)
    for _ in range(300):
        os.mkdir("d", dir_fd=fd)
        below = os.open("d", os.O_RDONLY, dir_fd=fd)
        os.close(fd)
        fd = below
    os.close(fd)


STRANGE = {
    "a-link-to-a-checkpoint": (strange_link, "symbolic link"),
    "a-fifo-as-a-checkpoint": (strange_fifo, "neither file nor directory"),
    "a-fifo-as-optimizer": (fifo_for("optimizer.pt"), "optimizer.pt is no regular file"),
    "a-fifo-as-state": (fifo_for("trainer_state.json"), "trainer_state.json is no regular file"),
    "an-empty-directory": (empty, "trainer_state.json is missing"),
    "a-step-of-30-digits": (long_step, "its step has 30 digits"),
    "from-2099": (in_2099, "2099"),
    "of-another-framework": (diffusers, "another framework"),
    "a-persons-directory": (look_alike, "none of the files that a Trainer writes"),
    "nested-300-deep": (deep, "deeper than 64 levels"),
}


@pytest.mark.parametrize("name", STRANGE)
def test_a_strange_thing_beside_intact_ones_is_named_and_stays(ckptd, run, name):
    make, word = STRANGE[name]
    make(run)
    strange = [p.name for p in run.iterdir() if len(p.name) != len("checkpoint-10")]
    before = {k: v for k, v in contents(run).items() if k.split("/")[0] in strange}
    planned = plan_and_apply(ckptd, run)
    assert word in planned.words
    after = contents(run)
    if name == "an-empty-directory":  # a wreck: what every intact sibling has is missing
        return
    assert {k: v for k, v in after.items() if k.split("/")[0] in strange} == before
    assert (run / "checkpoint-40").is_dir()


STATES = {
    "empty": (b"", "is empty"),
    "cut-off": (b'{"global_step": 500, "log_hist', "not JSON"),
    "3-mb-of-brackets": (b"[" * 3_000_000, "nested too deeply"),
    "not-json": (b"<html>", "not JSON"),
    "binary": (bytes(range(256)) * 16, "no UTF-8"),
    "another-step": (b'{"global_step": 7}', "speaks of step 7"),
    "a-list": (b"[1, 2]", "holds no object"),
    "a-step-that-is-text": (b'{"global_step": "500"}', "names no global_step"),
    "a-number-of-5000-digits": (b'{"global_step": ' + b"9" * 5000 + b"}", "too long"),
}


@pytest.mark.parametrize("name", STATES)
def test_a_state_that_cannot_be_read_takes_no_slot(ckptd, run, name):
    content, word = STATES[name]
    state_of(content)(run)
    planned = plan_and_apply(ckptd, run)
    assert word in planned.words
    assert planned.checkpoints["checkpoint-500"]["health"] in {"broken", "unproven"}
    assert (run / "checkpoint-40").is_dir()


def test_whole_weights_newer_than_every_complete_save_outlive_their_torn_state(ckptd, run):
    state_of(b"{")(run)
    plan_and_apply(ckptd, run)
    assert not (run / "checkpoint-500").exists()
    assert ckptd.restore(run / "checkpoint-500").status == 0
    assert (run / "checkpoint-500" / "adapter_model.safetensors").is_file()


def test_where_all_times_say_2099_nothing_goes(ckptd, tmp_path):
    for step in (1, 2, 3):
        corpus.write_checkpoint(tmp_path / "run", step, mtime=4_100_000_000 + step)
    planned = plan_and_apply(ckptd, tmp_path / "run")
    assert "2099" in planned.words
    assert len(list((tmp_path / "run").iterdir())) == 3


def test_an_empty_checkpoint_alone_stays(ckptd, tmp_path):
    (tmp_path / "run" / "checkpoint-500").mkdir(parents=True)
    corpus.set_times(tmp_path / "run" / "checkpoint-500", time.time() - HOUR)
    planned = plan_and_apply(ckptd, tmp_path / "run")
    assert planned.checkpoints["checkpoint-500"]["health"] == "unproven"
    assert (tmp_path / "run" / "checkpoint-500").is_dir()


def test_temporary_names_and_a_final_export_are_no_checkpoints(ckptd, run):
    shutil.copytree(run / "checkpoint-10", run / "tmp-checkpoint-5")
    for name in ("adapter_model.safetensors", "adapter_config.json", "training_args.bin"):
        shutil.copy2(run / "checkpoint-10" / name, run / name)
    (run / "notes.txt").write_text("mine")
    before = {k: v for k, v in contents(run).items() if not k.startswith("checkpoint-")}
    planned = plan_and_apply(ckptd, run)
    assert set(planned.checkpoints) == {f"checkpoint-{n}" for n in (10, 20, 30, 40)}
    after = {k: v for k, v in contents(run).items() if not k.startswith("checkpoint-")}
    assert {k: v for k, v in after.items() if k != "."} == {
        k: v for k, v in before.items() if k != "."
    }


# --- names, modes, sizes -----------------------------------------------------------------


@pytest.mark.parametrize(
    "raw",
    [
        pytest.param(b"a\nb", id="newline"),
        pytest.param(b"a\x1b[2J\x1b]0;x\x07b", id="escape-sequence"),
        pytest.param(b"a\xff\xfeb", id="no-utf-8"),
        pytest.param("a\u202eb\u009bb".encode(), id="bidirectional-and-c1"),
    ],
)
def test_a_name_never_reaches_the_terminal_raw(ckptd, tmp_path, raw):
    place = os.path.join(os.fsencode(tmp_path), raw)
    write_run(tmp_path / "plain", (1, 2))
    os.rename(tmp_path / "plain", place)
    path = os.fsdecode(place)
    answers = [
        ckptd.plan(tmp_path),
        ckptd.json("plan", tmp_path),
        ckptd.why("--keep-last", "1", f"{path}/checkpoint-1"),
        ckptd.apply("--keep-last", "1", path),
        ckptd.why(f"{path}/checkpoint-1"),
        ckptd.restore(f"{path}/checkpoint-1"),
        ckptd.pin(f"{path}/checkpoint-1"),
        ckptd.adopt(path),
        ckptd.why(f"{path}/checkpoint-9"),
    ]
    for answer in answers:
        assert "Traceback" not in answer.err
        for said in (answer.out, answer.err):
            assert not {c for c in said if c in "\x1b\x07\x9b\u202e"}
            assert not any("\udc80" <= c <= "\udcff" for c in said)
            assert "a\nb" not in said
    assert [answer.status for answer in answers] == [0, 0, 0, 0, 0, 0, 0, 0, 1]
    assert len(answers[1].document["runs"]) == 1


def test_read_only_directories_go_and_come_back_as_they_were(ckptd, run):
    oldest = run / "checkpoint-10"
    oldest.chmod(0o555)
    before = {k: v for k, v in contents(run).items() if k.startswith("checkpoint-10")}
    assert ckptd.apply("--keep-last", "1", run).status == 0
    assert ckptd.restore(oldest).status == 0
    after = {k: v for k, v in contents(run).items() if k.startswith("checkpoint-10")}
    assert after == before
    assert ckptd.unpin(oldest).status == 0
    assert ckptd.apply("--keep-last", "1", "--trash-for", "0s", run).status == 0
    assert not oldest.exists()


def test_a_sparse_terabyte_counts_what_it_takes(ckptd, run):
    os.truncate(run / "checkpoint-10" / "optimizer.pt", 2**40)
    corpus.set_times(run / "checkpoint-10", time.time() - 9 * HOUR)
    planned = ckptd.json("plan", run, timeout=LONGEST)
    assert planned.checkpoints["checkpoint-10"]["bytes"] < 2**20


def test_hard_links_inside_a_checkpoint_count_once(ckptd, run):
    alone = ckptd.json("plan", run).checkpoints["checkpoint-10"]["bytes"]
    place = run / "checkpoint-10"
    os.link(place / "adapter_model.safetensors", place / "copy.safetensors")
    assert ckptd.json("plan", run).checkpoints["checkpoint-10"]["bytes"] == alone


def test_a_file_shared_with_a_kept_checkpoint_survives_and_frees_nothing(ckptd, run):
    shared = run / "checkpoint-10" / "adapter_model.safetensors"
    shared.unlink()
    os.link(run / "checkpoint-40" / "adapter_model.safetensors", shared)
    for name in ("checkpoint-10", "checkpoint-40"):
        corpus.set_times(run / name, int(time.time()) - HOUR)
    before = {k: v for k, v in contents(run).items() if k.startswith("checkpoint-40")}
    answer = ckptd.json("apply", "--keep-last", "1", "--trash-for", "0s", run)
    after = {k: v for k, v in contents(run).items() if k.startswith("checkpoint-40")}
    assert after == before
    freed = {os.path.basename(o["path"]): o["freed_bytes"] for o in answer.document["outcomes"]}
    assert freed["checkpoint-10"] < freed["checkpoint-20"]
