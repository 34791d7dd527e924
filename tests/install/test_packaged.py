"""The units that ckptd brings: what they say here, and that they say it alike."""

import re

import pytest
from box import REPOSITORY

from ckptd.cli.commands import PARTS
from ckptd.config import load
from ckptd.config.example import example
from ckptd.install.packaged import fitted, packaged

SYSTEMD = REPOSITORY / "systemd"
ALL = [("", ".service", ".timer"), ("user", ".service"), ("with", ".conf")]
UNITS = [
    (below, name, text)
    for below, *suffixes in ALL[:2]
    for name, text in packaged(below, *suffixes)
    if name.endswith(".service")
]
COMMAND = ("/opt/ck ptd/bin/python", "-P", "-m", "ckptd")
WORDS = '"/opt/ck ptd/bin/python" -P -m ckptd'
IN_COMMON = "# --- what it may do"


def settings(text):
    """Key and value of each line."""
    return re.findall(r"^(\w+)=(.*)$", text, re.MULTILINE)


def test_all_of_them_are_packaged():
    found = {
        f"{below}/{name}" for below, *suffixes in ALL for name, _ in packaged(below, *suffixes)
    }
    there = {path.relative_to(SYSTEMD) for path in SYSTEMD.rglob("*.*") if path.is_file()}
    assert found == {f"/{p}" if len(p.parts) == 1 else str(p) for p in there} - catalogs(there)


def catalogs(there):
    return {f"/{path}" for path in there if path.suffix == ".catalog"}


def test_parts_that_may_be_named_are_those_there_are():
    assert tuple(name.removesuffix(".conf") for name, _ in packaged("with", ".conf")) == PARTS


@pytest.mark.parametrize("unit", UNITS, ids=lambda unit: f"{unit[0]}/{unit[1]}")
def test_every_command_of_a_unit_is_the_one_of_this_machine(unit):
    was = settings(unit[2])
    now = settings(fitted(unit[2], COMMAND, 999))

    assert [value.replace("/usr/local/bin/ckptd", WORDS) for _, value in was] == [v for _, v in now]
    (start,) = (value for key, value in now if key == "ExecStart")
    assert start.startswith(f"{WORDS} ")
    for key, value in now:
        if key == "ExecReload" and "config" in value:
            assert value.endswith(f" {WORDS}")


@pytest.mark.parametrize("unit", UNITS, ids=lambda unit: f"{unit[0]}/{unit[1]}")
def test_an_older_systemd_gets_no_setting_that_it_does_not_know(unit):
    now = dict(settings(fitted(unit[2], COMMAND, 252)))
    steps = {"RestartSteps", "RestartMaxDelaySec"}

    assert not steps & {*now}
    if "apply" not in unit[1]:
        assert now["RestartSec"] == "30s"
        assert steps <= {key for key, _ in settings(fitted(unit[2], COMMAND, 254))}


def test_the_nightly_job_may_do_what_the_daemon_may():
    texts = dict(packaged("", ".service"))
    daemon, job = (
        texts[name].split(IN_COMMON)[1] for name in ("ckptd.service", "ckptd-apply.service")
    )
    assert settings(job) == [each for each in settings(daemon) if each[0] != "WantedBy"]


def test_a_new_configuration_watches_what_was_named(tmp_path):
    paths = ['/data/"a"', "/home/检查点/*"]
    file = tmp_path / "ckptd.toml"
    file.write_text(example(paths))

    assert [watch.path for watch in load(str(file), {}, []).watches] == paths
    assert file.read_text().replace('[[watch]]\npath = "/home/检查点/*"\n\n', "", 1) == example(
        paths[:1]
    )
