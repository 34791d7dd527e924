"""Which directories a watch names."""

import glob
import os

import pytest

from ckptd.observe.memory import Memory, Sighting
from ckptd.observe.watches import expand

NAMES = ("a/out/x", "b/out", "b/other", ".hidden/out", "c", "[d]/out")


@pytest.mark.parametrize(
    "pattern",
    ["*", "*/out", "*/*", "?/o*", "[ab]/out", ".*/out", "*/.*", "**/out", "a/out/x/*", "gone/*"],
)
def test_a_glob_names_what_the_shell_would(tmp_path, pattern):
    for name in NAMES:
        (tmp_path / name).mkdir(parents=True)
    (tmp_path / "file").touch()
    (tmp_path / "link").symlink_to("a")
    wanted = {os.path.realpath(path) for path in glob.glob(f"{tmp_path}/{pattern}")}
    assert set(expand(f"{tmp_path}/{pattern}")) == wanted


def test_a_directory_named_like_a_glob_is_meant_itself(tmp_path):
    (tmp_path / "[d]").mkdir()
    assert expand(f"{tmp_path}/[d]") == (f"{tmp_path}/[d]",)


def test_what_lies_where_nobody_answers_is_remembered_and_what_is_gone_is_not():
    memory = Memory()
    for run in ("/far/a", "/near/b", "/farther/c"):
        memory.sightings[run, "checkpoint-1"] = Sighting(None, None, 1.0)
        memory.runs[run] = True
        memory.saves[run] = ()
    memory.forget((), (), away=("/far",))
    assert list(memory.sightings) == [("/far/a", "checkpoint-1")]
    assert list(memory.runs) == list(memory.saves) == ["/far/a"]
