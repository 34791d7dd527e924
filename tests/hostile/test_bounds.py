"""Trees and files that are too much: bounded time and memory, one sentence, nobody else harmed."""

import os
import resource
import struct
import subprocess
import sys
import time

import corpus
import pytest
from house import ckptd, planned, verdicts

from ckptd import scan, trash
from ckptd.formats import reading
from ckptd.formats.reading import UnsureError
from ckptd.observe.patience import SPENT, Patience

MIB = 2**20
HOUR = 3600
ROOT = os.geteuid() == 0


@pytest.fixture
def run(tmp_path):
    for nth, step in enumerate((5, 10, 15)):
        corpus.write_checkpoint(tmp_path / "d" / "a", step, mtime=time.time() - (9 - nth) * HOUR)
    return tmp_path / "d" / "a"


def aged(save):
    corpus.set_times(save, time.time() - HOUR)


def peak_of(program, *arguments):
    """What it prints, and the memory that a process with *program* took at most, in MiB."""
    # Not ru_maxrss, which a process inherits from the one that started it.
    code = f"{program}\nprint(open('/proc/self/status').read().split('VmHWM:')[1].split()[0])"
    command = [sys.executable, "-c", code, *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    *told, peak = done.stdout.splitlines()
    return "\n".join(told), int(peak) / 1024


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("trainer_state.json", "too long to be read"),
        ("adapter_model.safetensors", "safetensors header"),
        ("optimizer.pt", "no end-of-central-directory"),
    ],
)
def test_a_sparse_gigabyte_is_not_read(run, name, words):
    os.truncate(run / "checkpoint-10" / name, 2**30)
    aged(run / "checkpoint-10")
    with ckptd(run.parent.parent / "s", run) as daemon:
        begun = time.process_time()
        text = repr(planned(daemon))
    assert time.process_time() - begun < 20
    assert words in text or "longer than its tensors" in text


@pytest.mark.parametrize("sign", [b"[],", b'{"":{}},', b'"",', b'{"a":0},'])
def test_json_takes_a_bounded_amount_of_memory(tmp_path, sign):
    path = tmp_path / "json"
    path.write_bytes(b"[" + sign * (60 * MIB // len(sign)) + b"0]")
    program = (
        "import sys\nfrom ckptd.formats.reading import parse_json, UnsureError\n"
        "try:\n    parse_json(open(sys.argv[1], 'rb').read())\n"
        "except UnsureError as error:\n    print(error)"
    )
    told, peak = peak_of(program, path)
    assert "too much to be read" in told
    assert peak < 250


def test_a_header_of_100_megabytes_is_not_parsed(run):
    length = 100_000_000
    with open(run / "checkpoint-10" / "adapter_model.safetensors", "wb") as file:
        file.write(struct.pack("<Q", length) + b"{")
        file.truncate(8 + length)
    aged(run / "checkpoint-10")
    with ckptd(run.parent.parent / "s", run) as daemon:
        assert "too long to be checked" in verdicts(daemon)["checkpoint-10"].checkpoint.evidence


def test_a_number_of_4300_digits_ends_no_look(run):
    text = ('{"a": {"dtype": "U8", "shape": [1], "data_offsets": [0, %s]}}' % ("9" * 4300)).encode()
    place = run / "checkpoint-10" / "adapter_model.safetensors"
    place.write_bytes(struct.pack("<Q", len(text)) + text)
    aged(run / "checkpoint-10")
    with ckptd(run.parent.parent / "s", run) as daemon:
        assert "too long" in verdicts(daemon)["checkpoint-10"].checkpoint.evidence
    with pytest.raises(UnsureError):
        reading.parse_json(b"9" * 4300)
    begun = time.process_time()
    reading.parse_json(b'"' + (b"9" * 999 + b" ") * 50_000 + b'"')
    assert time.process_time() - begun < 20


def test_a_save_deeper_than_any_is_unreadable_and_the_others_are_judged(run):
    fd = os.open(run / "checkpoint-10", os.O_RDONLY)
    for _ in range(70):
        os.mkdir("d", dir_fd=fd)
        below = os.open("d", os.O_RDONLY, dir_fd=fd)
        os.close(fd)
        fd = below
    os.close(fd)
    with ckptd(run.parent.parent / "s", run) as daemon:
        decided = planned(daemon)
    assert "deeper than 64 levels" in decided.unreadable[0].error
    assert {v.checkpoint.name for v in decided.verdicts} == {"checkpoint-5", "checkpoint-15"}


def test_a_directory_of_more_entries_than_any_is_one_sentence(run, tmp_path):
    crowd = tmp_path / "d" / "crowd"
    crowd.mkdir()
    for nth in range(1001):
        (crowd / ("\x1b" * 200 + str(nth))).touch()
    survey = scan.find_runs(str(tmp_path / "d"), limits=scan.Limits(entries=1000))
    assert [found.path for found in survey.runs] == [str(run)]
    assert "1000 entries" in survey.unreadable[0].error


@pytest.mark.root
@pytest.mark.skipif(not ROOT, reason="needs another user")
def test_the_directories_of_one_user_do_not_hide_the_runs_of_another(tmp_path, run):
    (tmp_path / "d" / "A").mkdir()
    for nth in range(105):
        (tmp_path / "d" / "A" / str(nth)).mkdir()
        os.chown(tmp_path / "d" / "A" / str(nth), 1500, 1500)
    survey = scan.find_runs(str(tmp_path / "d"), limits=scan.Limits(directories=100))
    assert [found.path for found in survey.runs] == [str(run)]
    assert [lost.error.partition(";")[0] for lost in survey.unreadable] == [
        "user 1500 has more than 100 directories here"
    ]


def test_links_beside_the_saves_of_a_run_are_bounded_and_its_files_are_not_held(tmp_path, run):
    for nth in range(100):
        (run / f"link{nth}").symlink_to("x")
        (run / f"file{nth}").touch()
    other = corpus.write_checkpoint(tmp_path / "d" / "b", 5, mtime=time.time() - HOUR)
    survey = scan.find_runs(str(tmp_path / "d"), limits=scan.Limits(children=100))
    assert [found.path for found in survey.runs] == [str(other.parent)]
    assert "more than 100 saves and links" in survey.unreadable[0].error
    survey = scan.find_runs(str(tmp_path / "d"), limits=scan.Limits(children=120))
    assert len(survey.runs[0].children) == 103


def test_hundreds_of_drop_ins_and_of_sidecars_are_looked_at_within_seconds(run, tmp_path):
    for nth in range(500):
        (tmp_path / "d" / f"x{nth}").mkdir()
        (tmp_path / "d" / f"x{nth}" / ".ckptd.toml").write_text("[policy]\nkeep_last = 2\n")
    shelf = tmp_path / "d" / trash.TRASH / str(os.geteuid())
    shelf.mkdir(parents=True)
    shelf.chmod(0o700)
    for nth in range(500):
        id_ = "aaaaaaaaaaaa" + "".join("abcdefghij"[int(d)] for d in f"{nth:04}")
        (shelf / id_).mkdir()
        (shelf / f"{id_}.json").write_bytes(b"{" * 70_000)
    with ckptd(tmp_path / "s", tmp_path / "d") as daemon:
        planned(daemon)
        begun = time.process_time()
        decided = planned(daemon)
        assert time.process_time() - begun < 20
    assert len(decided.verdicts) == 3
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss < 2 * 2**20


@pytest.mark.root
@pytest.mark.skipif(not ROOT, reason="only root looks at the runs of others")
def test_a_look_does_not_stay_with_one_user_for_ever_and_goes_on_at_the_next(tmp_path, run):
    for step in range(5, 60, 5):
        corpus.write_checkpoint(tmp_path / "d" / "A", step, mtime=time.time() - HOUR + step)
    for path in (tmp_path / "d" / "A", *(tmp_path / "d" / "A").rglob("*")):
        os.chown(path, 1500, 1500)
    with ckptd(tmp_path / "s", tmp_path / "d") as daemon:
        daemon.eyes.patience = lambda: Patience(most=0.001)
        decided = planned(daemon)
        assert "a" in {p.run.path[-1] for p in decided.runs}
        assert {lost.error for lost in decided.unreadable} == {SPENT}
        missing = [len(decided.unreadable)]
        while missing[-1] and len(missing) < 100:
            missing.append(len(planned(daemon).unreadable))
        daemon.eyes.patience = Patience
        assert len(planned(daemon).verdicts) == 14
