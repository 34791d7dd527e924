"""`ckptd config` as a person meets it, and that nothing is done under a broken configuration."""

import json
import tomllib

import pytest
from corpus import write_checkpoint
from jsonschema import Draft202012Validator
from terminal import Terminal, snapshot

from ckptd.config import load


@pytest.fixture
def ckptd(tmp_path):
    return Terminal(tmp_path / "state")


@pytest.fixture
def place(tmp_path):
    (tmp_path / "etc" / "conf.d").mkdir(parents=True)
    return tmp_path / "etc"


def write(place, **texts):
    for name, text in texts.items():
        file = place / f"{name}.toml" if name == "ckptd" else place / "conf.d" / f"{name}.toml"
        file.write_text(text)
    return place / "ckptd.toml"


def test_every_value_is_printed_with_where_it_comes_from(ckptd, place, tmp_path):
    file = write(
        place,
        ckptd='[[watch]]\npath = "/data"\n[policy]\nkeep_last = 5\n',
        more='[policy]\nkeep_last = 4\n[disk."/data"]\nhigh = "90%"\n',
    )

    answer = ckptd.config("--config", file, "--trash-for", "2h")

    assert answer.status == 0
    assert f"keep_last = 4                     # {place}/conf.d/more.toml (line 2)" in answer.out
    assert 'trash_for = "2h"                  # --trash-for\n' in answer.out
    assert 'settle = "5s"                     # default\n' in answer.out
    assert tomllib.loads(answer.out)["disk"]["/data"]["high"] == "90%"
    (tmp_path / "again.toml").write_text(answer.out)
    first = load(str(file), {"policy.trash_for": "2h"}, [])
    again = load(str(tmp_path / "again.toml"), {}, [])
    assert (again.policies, again.watches) == (first.policies, first.watches)


def test_the_document_has_every_value_and_its_origin(ckptd, place):
    file = write(place, ckptd='[[watch]]\npath = "/data"\nadopt = "all"\n', a="policy.pin = ['x']")

    document = ckptd.config("--json", "--config", file, "--high", "90%").document

    values = {each["key"]: each for each in document["values"]}
    assert document["version"] == 1
    assert values["policy.pin"] == {
        "key": "policy.pin",
        "value": ["x"],
        "from": {"file": f"{place}/conf.d/a.toml", "line": 1},
    }
    assert values["disk.high"]["from"] == {"option": "--high"}
    assert values["mode"] == {"key": "mode", "value": "enforce", "from": None}
    assert document["watches"] == [
        {
            "path": "/data",
            "from": {"file": str(file), "line": 2},
            "events": "auto",
            "drop_ins": True,
            "adopt": "all",
            "mixed_owners": False,
            "capacity": "unlimited",
        }
    ]


def test_the_schema_is_one_document(ckptd):
    Draft202012Validator.check_schema(ckptd.config("--schema").document)


def test_all_problems_are_told_and_nothing_else(ckptd, place):
    file = write(place, ckptd="mood = 1\n", a="[policy\n", b="policy.keep_lats = 1")

    answer = ckptd.config("--config", file, "--high", "x")

    assert (answer.status, answer.out) == (2, "")
    assert [line.split(": ")[1] for line in answer.err.splitlines()] == [
        str(file),
        f"{place}/conf.d/a.toml",
        f"{place}/conf.d/b.toml",
        "--high",
    ]


# --- below drop-ins ------------------------------------------------------------------------


def test_a_path_shows_what_holds_there(ckptd, place, tmp_path):
    file = write(place, ckptd="[policy]\nkeep_last = 5\nkeep_best = 3\n")
    experiment = tmp_path / "data" / "exp"
    write_checkpoint(experiment / "run", 10)
    (experiment / ".ckptd.toml").write_text("[policy]\n\nkeep_last = 1\n")
    (experiment / "run" / ".ckptd.toml").write_text("[policy]\nmin_age = '1h'\n")

    for path in (experiment / "run", experiment / "run" / "checkpoint-10"):
        out = ckptd.config("--config", file, path).out
        said = [line.partition("#")[2].strip() for line in out.splitlines() if "#" in line]
        assert f"{experiment}/.ckptd.toml (line 3)" in said
        assert f"{experiment}/run/.ckptd.toml (line 2)" in said
        assert f"{file} (line 3)" in said
        assert f"{file} (line 2)" not in said


def test_a_watch_without_drop_ins_has_none(ckptd, place, tmp_path):
    (tmp_path / "data" / "run").mkdir(parents=True)
    (tmp_path / "data" / ".ckptd.toml").write_text("[policy]\nkeep_last = 1\n")
    file = write(place, ckptd=f"[[watch]]\npath = '{tmp_path}/data'\ndrop_ins = false\n")

    assert ".ckptd.toml" not in ckptd.config("--config", file, tmp_path / "data" / "run").out


def test_a_broken_drop_in_is_told(ckptd, place, tmp_path):
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / ".ckptd.toml").write_text("[policy]\nkeep_lats = 1\n")

    answer = ckptd.config("--config", write(place, ckptd=""), tmp_path / "run")

    assert (answer.status, answer.out) == (2, "")
    assert "policy.keep_lats (line 2): unknown key; did you mean keep_last?" in answer.err


@pytest.mark.parametrize(("paths", "status"), [(["/nowhere"], 4), (["/a", "/b"], 2)])
def test_a_path_that_cannot_be_shown_is_refused(ckptd, place, paths, status):
    answer = ckptd.config("--config", write(place, ckptd=""), *paths)

    assert (answer.status, answer.out) == (status, "")
    assert answer.err.count("\n") == 1


# --- nothing is done under a broken configuration -----------------------------------------


@pytest.mark.parametrize(
    "texts",
    [
        {"ckptd": "policy.keep_last = 1", "a": "policy.keep_last = "},
        {"ckptd": "policy.keep_last = 1", "a": "policy.keep_lats = 2"},
        {"ckptd": "policy.keep_last = 1", "a": "[policy.pressure]\nkeep_last = 2"},
        {"ckptd": "policy.keep_last = 1\nkeep_best = 0"},
        {"ckptd": "policy.keep_last = 1\ndisk.low = '99%'"},
        {"ckptd": "policy.keep_last = 1\npolicy.archive = 'best'"},
        {"ckptd": "[[watch]]\npath = '/x'", "a": "policy.keep_last = 1\n[[watch]]\npath = '/x'"},
        {"ckptd": json.dumps({"policy": {"keep_last": 1}})},
    ],
)
def test_a_broken_configuration_never_changes_the_tree(ckptd, place, tmp_path, texts):
    for step in (10, 20, 30):
        write_checkpoint(tmp_path / "run", step, mtime=1_700_000_000 + step)
    before = snapshot(tmp_path / "run")

    file = write(place, **texts)
    answer = ckptd.run(
        "apply", "--config", file, "--trash-for", "0s", tmp_path / "run", roomy=False
    )

    assert (answer.status, answer.out) == (2, "")
    assert snapshot(tmp_path / "run") == before
    assert not ckptd.state.exists()


def test_the_same_tree_is_thinned_out_once_it_is_mended(ckptd, place, tmp_path):
    for step in (10, 20, 30):
        write_checkpoint(tmp_path / "run", step, mtime=1_700_000_000 + step)

    answer = ckptd.apply("--config", write(place, a="policy.keep_last = 1", ckptd=""), tmp_path)

    assert answer.status == 0
    assert {path.name for path in (tmp_path / "run").glob("checkpoint-*")} == {"checkpoint-30"}
