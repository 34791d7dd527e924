"""ckptd simulate: an invented training, what lies there, a recorded world, and bad input."""

import json
import time

import pytest
from corpus import write_checkpoint
from terminal import CKPTD, Terminal, contents, on_a_terminal

MINUTE = 60
HOUR = 3600
SIZE = 2**20
INVENTED = ("--save-size", "14GiB", "--every", "20min", "--disk", "2TiB")
SMALL = ("--save-size", "1GiB", "--every", "1h", "--disk", "10GiB", "--hours", "24")


@pytest.fixture
def ckptd(tmp_path):
    return Terminal(tmp_path / "state")


def write_run(place, count):
    """One checkpoint every 50 steps and 6 minutes, the last a minute ago."""
    now = time.time()
    for nth in range(count):
        mtime = now - MINUTE - (count - 1 - nth) * 6 * MINUTE
        write_checkpoint(place, 50 * (nth + 1), size=SIZE, mtime=mtime)
    return place


def plays(answer):
    assert (answer.status, answer.err) == (0, "")
    return answer.document["plays"]


# --- an invented training ----------------------------------------------------------------


def test_the_disk_is_full_when_a_pencil_says_so(ckptd):
    found = plays(ckptd.json("simulate", *INVENTED, "--hours", "72"))
    # 2048 / 14 = 146.3 saves fit, so the 147th, after 147 * 20 min, does not.
    assert found["no_policy"]["full_in_seconds"] == 147 * 20 * MINUTE
    assert found["no_policy"]["kept"] == 146
    assert found["policy"]["full_in_seconds"] is None
    assert found["policy"]["replay_most_seconds"] <= 40 * MINUTE
    assert found["save_total_limit"]["kept"] == 3


def test_the_curves_are_there_point_by_point(ckptd):
    found = plays(ckptd.json("simulate", *SMALL))
    (curve,) = found["save_total_limit"]["filesystems"]
    assert (curve["path"], curve["peak"]) == ("/data", 4 * 2**30)
    assert curve["points"][0] == [0, 0]
    assert curve["points"][-1] == [24 * HOUR, 3 * 2**30]


def test_the_policy_is_that_of_the_options(ckptd):
    found = ckptd.json("simulate", *SMALL, "--keep-last", "2", "--trash-for", "0s")
    assert plays(found)["policy"]["kept"] == 2
    assert found.document["save_total_limit"] == 2  # the trainer's limit beside it is the same
    other = ckptd.json("simulate", *SMALL, "--keep-last", "2", "--save-total-limit", "5")
    assert plays(other)["save_total_limit"]["kept"] == 5


def test_several_runs_and_a_disk_in_use(ckptd):
    answer = ckptd.json("simulate", *SMALL, "--runs", "2", "--used", "50%")
    assert plays(answer)["no_policy"]["saved"] == 5
    assert [run["path"] for run in answer.document["runs"]] == ["/data/run-1", "/data/run-2"]
    assert answer.document["filesystems"][0]["used"] == 5 * 2**30


def test_people_see_a_picture_and_read_what_comes_of_it(ckptd, monkeypatch):
    monkeypatch.setenv("COLUMNS", "80")
    answer = ckptd.simulate(*INVENTED, "--hours", "72")
    assert (answer.status, answer.err) == (0, "")
    lines = answer.out.splitlines()
    assert max(map(len, lines)) <= 80
    assert "\x1b" not in answer.out
    for words in ("x no policy   o save_total_limit 3   # this policy", "49 h", "ENOSPC", "72 h"):
        assert words in answer.out
    drawn = [line for line in lines if "│" in line or "┤" in line]
    assert sum("#" in line for line in drawn) > 10
    assert "x" in drawn[0]  # only without a policy it is full
    assert "#" not in drawn[0]
    assert "o" in drawn[-1]


def test_a_terminal_that_knows_no_lines_gets_a_picture_as_well(ckptd, monkeypatch):
    monkeypatch.setenv("PYTHONIOENCODING", "latin-1")
    answer = ckptd.simulate(*SMALL)
    assert answer.status == 0
    assert answer.out.isascii()
    assert "+---" in answer.out


def test_a_terminal_gets_it_in_its_width(tmp_path):
    argv = (*CKPTD, "simulate", "--state", tmp_path, *SMALL)
    with on_a_terminal(*argv, columns=60) as (child, screen):
        shown = screen()
        assert child.wait(30) == 0
    assert "save_total_limit 3" in shown
    assert all(len(line) <= 60 for line in shown.splitlines() if "│" in line)


# --- what lies there ---------------------------------------------------------------------


def test_what_lies_there_goes_on_and_nothing_is_touched(ckptd, tmp_path):
    place = write_run(tmp_path / "run", 5)
    before = contents(place)
    answer = ckptd.json("simulate", "--hours", "2", "--keep-last", "2", place)
    found = plays(answer)
    (run,) = answer.document["runs"]
    assert run["path"] == str(place)
    assert run["save_interval_seconds"] == pytest.approx(6 * MINUTE, abs=1)
    assert run["save_bytes"] > SIZE
    assert found["policy"]["kept"] == 2
    assert found["no_policy"]["kept"] in {24, 25}
    assert contents(place) == before
    assert not ckptd.state.exists()


def test_a_recorded_world_is_played_elsewhere_to_the_same_end(ckptd, tmp_path):
    place = write_run(tmp_path / "run", 5)
    file = tmp_path / "world.json"
    options = ("--json", "--hours", "3", "--keep-within", "30min")
    here = ckptd.simulate(*options, "--record", file, place)
    assert json.loads(file.read_text())["version"] == 1
    for path in place.iterdir():
        path.rename(tmp_path / path.name)
    there = ckptd.simulate(*options, "--world", file)
    assert plays(there) == plays(here)
    assert there.document["runs"] == here.document["runs"]


def test_what_has_no_rhythm_gets_a_sentence(ckptd, tmp_path):
    place = write_run(tmp_path / "run", 1)
    answer = ckptd.simulate(place)
    assert (answer.status, answer.err) == (0, "")
    assert "nothing to play" in answer.out
    assert plays(ckptd.json("simulate", place)) == {}


# --- bad input ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("words", "said"),
    [
        pytest.param([], "nothing to play", id="nothing"),
        pytest.param(["--save-size", "1GiB"], "needs --every and --disk", id="half"),
        pytest.param([*INVENTED, "/"], "exclude each other", id="both"),
        pytest.param(["--world", "w", "/"], "exclude each other", id="world-and-path"),
        pytest.param([*INVENTED, "--world", "w"], "exclude each other", id="all"),
        pytest.param([*INVENTED, "--record", "w"], "lies nowhere", id="record-of-an-invention"),
        pytest.param([*INVENTED, "--hours", "0"], "--hours", id="no-time"),
        pytest.param([*INVENTED, "--hours", "nan"], "--hours", id="nan"),
        pytest.param([*INVENTED, "--hours", "1e9"], "--hours", id="for-ever"),
        pytest.param([*INVENTED, "--hours", "3d"], "--hours", id="unit"),
        pytest.param([*INVENTED, "--hours", "99999"], "fewer --hours", id="too-many-saves"),
        pytest.param([*INVENTED[:2], "--every", "0s", *INVENTED[4:]], "--every", id="no-interval"),
        pytest.param([*INVENTED[:2], "--every", "5m", *INVENTED[4:]], "min or month", id="m"),
        pytest.param([*INVENTED[:2], "--every", "1ms", *INVENTED[4:]], "fewer", id="millisecond"),
        pytest.param(["--save-size", "0B", *INVENTED[2:]], "--save-size", id="no-size"),
        pytest.param(["--save-size", "big", *INVENTED[2:]], "--save-size", id="no-number"),
        pytest.param([*INVENTED[:4], "--disk", "99999999PiB"], "--disk", id="too-large"),
        pytest.param([*INVENTED, "--used", "101%"], "--used", id="more-than-all"),
        pytest.param([*INVENTED, "--used", "3TiB"], "--used", id="more-than-the-disk"),
        pytest.param([*INVENTED, "--used", "x\x1b[2J"], "--used", id="escape"),
        pytest.param([*INVENTED, "--runs", "0"], "--runs", id="no-run"),
        pytest.param([*INVENTED, "--runs", "1001"], "--runs", id="too-many-runs"),
        pytest.param([*INVENTED, "--save-total-limit", "-1"], "--save-total-limit", id="below-0"),
        pytest.param([*INVENTED, "--save-total-limit", "٣"], "--save-total-limit", id="digit"),
        pytest.param([*INVENTED, "--keep-last", "x"], "--keep-last", id="policy"),
        pytest.param(["/nowhere/at/all"], "does not exist", id="no-path"),
        pytest.param(["--world", "/nowhere"], "--world: /nowhere does not exist", id="no-file"),
        pytest.param(["--world", "/"], "--world: / is no file", id="directory"),
        pytest.param(["--world", "/dev/null"], "is no file", id="device"),
    ],
)
def test_bad_input_is_2_with_a_sentence(ckptd, tmp_path, words, said):
    config = tmp_path / "ckptd.toml"
    config.touch()
    answer = ckptd.simulate("--config", config, *words, cwd=tmp_path)
    assert (answer.status, answer.out) == (2, "")
    assert said in answer.err
    assert "Traceback" not in answer.err
    assert "\x1b" not in answer.err
    assert answer.err.startswith("ckptd: ")
    assert answer.err.count("\n") <= 2


@pytest.mark.parametrize(
    ("text", "said"),
    [
        pytest.param(b"", "it is no JSON", id="empty"),
        pytest.param(b"\xff\x00", "it is no JSON", id="binary"),
        pytest.param(b'{"runs": []}', "no recorded world", id="plan"),
        pytest.param(b'{"version": 9, "world": {}}', "another version", id="version"),
        pytest.param(
            b'{"version": 1, "made_at": "2026-01-02", "world": {"runs": [{"\x1b": 1}]}}',
            "",
            id="escape",
        ),
    ],
)
def test_a_file_that_is_no_world_is_2_with_a_sentence(ckptd, tmp_path, text, said):
    file = tmp_path / "world.json"
    file.write_bytes(text)
    answer = ckptd.simulate("--world", file)
    assert (answer.status, answer.out) == (2, "")
    assert said in answer.err
    assert "Traceback" not in answer.err
    assert "\x1b" not in answer.err


def test_a_file_that_is_there_is_never_written_over(ckptd, tmp_path):
    place = write_run(tmp_path / "run", 3)
    file = tmp_path / "world.json"
    file.write_text("mine")
    answer = ckptd.simulate("--record", file, place)
    assert answer.status == 3
    assert "is there already" in answer.err
    assert file.read_text() == "mine"
