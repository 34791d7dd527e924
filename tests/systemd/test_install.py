"""`ckptd install` on a real systemd: what it does, what it leaves alone, what it refuses."""

import pytest
from box import DATA, until
from installation import PLACE, PROGRAM, seen
from laboratory import CONFIGURATION, RUN, save

UNITS = "/etc/systemd/system"
CATALOGS = "/usr/local/lib/systemd/catalog"
CATALOG = """\
-- 5f1d2c3b4a5968778695a4b3c2d1e0ff
Subject: A test
Defined-By: ckptd

Nobody tells this.
"""
OWN = [f"{UNITS}/ckptd-apply.service", f"{UNITS}/ckptd-apply.timer", f"{UNITS}/ckptd.service"]


@pytest.fixture
def place(box, program):
    """Where it can be installed; afterwards nothing of it is left."""
    yield box
    program("install", "--uninstall", check=False)
    box.run("rm", "-rf", "/etc/ckptd", "/var/lib/ckptd", *OWN, f"{UNITS}/ckptd.service.d")
    box.run("systemctl", "daemon-reload")


@pytest.fixture
def catalog(box):
    """A catalog among what is packaged."""
    (file,) = seen(box, PLACE).glob("lib/python*/site-packages/ckptd/systemd")
    file /= "test.catalog"
    file.write_text(CATALOG)
    yield CATALOG.split()[1]
    file.unlink()


def everything(box):
    """All files where something may be installed, and what is in them."""
    found = {}
    for top in (UNITS, "/etc/ckptd", CATALOGS):
        for path in seen(box, top).rglob("*"):
            if path.is_file() and not path.is_symlink():
                found[f"{top}/{path.relative_to(seen(box, top))}"] = path.read_text()
    return found


def did(document):
    return {file["path"]: file["did"] for file in document["files"]}


def test_one_command_and_systemctl_enable_is_all(place, program):
    save(seen(place, RUN))
    seen(place, f"{DATA}/.ckptd.toml").write_text("[policy]\nkeep_last = 2\nkeep_best = 0\n")
    said = program("install", DATA).stdout.splitlines()

    assert said[:3] == [f"wrote {path}" for path in OWN]
    assert "ran systemctl daemon-reload" in said
    assert said[-2:] == ["", "Now: systemctl enable --now ckptd"]
    assert f"wrote {CONFIGURATION}" in said
    place.run("systemctl", "enable", "--now", "ckptd")
    try:
        there = {"checkpoint-40", "checkpoint-50"}
        assert until(lambda: {p.name for p in seen(place, RUN).iterdir()} == there, 20)
        assert place.show("ckptd", "ActiveState") == "active"
    finally:
        place.run("rm", "-rf", f"{DATA}/.ckptd.toml", f"{DATA}/实验", f"{DATA}/.ckptd-trash")


def test_a_second_time_changes_nothing(place, program):
    program("install", "--with=network", DATA)
    before = everything(place)
    again = program.document("install", DATA)

    assert f"{UNITS}/ckptd.service.d/network.conf" in did(again)
    assert {*did(again).values()} == {"kept"}
    assert again["commands"] == []
    assert everything(place) == before


def test_dry_run_says_the_same_and_touches_nothing(place, program):
    before = everything(place)
    dry = program.document("install", "--dry-run", "--with=quotas", DATA)
    assert everything(place) == before
    assert dry["dry_run"] is True

    wet = program.document("install", "--with=quotas", DATA)
    assert (dry["files"], dry["commands"], dry["next"]) == tuple(
        wet[key] for key in ("files", "commands", "next")
    )
    installed = everything(place)
    program("install", "--uninstall", "--dry-run")
    assert everything(place) == installed


def test_uninstall_takes_away_what_it_brought_and_ends_it(place, program, catalog):
    before = everything(place)
    program("install", "--with=network", "--with=quotas", DATA)
    place.run("systemctl", "enable", "--now", "ckptd", "ckptd-apply.timer")
    gone = program.document("install", "--uninstall")

    assert {*did(gone).values()} == {"removed"}
    assert everything(place) == before
    assert not seen(place, f"{UNITS}/ckptd.service.d").exists()
    assert not seen(place, "/etc/ckptd").exists()
    assert not seen(place, f"{UNITS}/multi-user.target.wants/ckptd.service").is_symlink()
    assert place.show("ckptd", "ActiveState") == "inactive"
    assert place.show("ckptd", "LoadState") == "not-found"
    assert seen(place, "/var/lib/ckptd").is_dir()
    assert program.document("install", "--uninstall")["files"] == []


def test_what_a_person_changed_stays_with_both(place, program):
    program("install")
    unit, config = seen(place, OWN[2]), seen(place, CONFIGURATION)
    unit.write_text(mine := unit.read_text().replace("Nice=5", "Nice=19"))
    config.write_text(configured := config.read_text() + f'\n[[watch]]\npath = "{DATA}"\n')
    place.run("systemctl", "daemon-reload")
    place.run("systemctl", "start", "ckptd")
    again = program("install", "/elsewhere", check=False)
    gone = program.document("install", "--uninstall")

    assert again.returncode == 4
    assert f"kept {OWN[2]} (it is not what was installed" in again.stdout
    assert "/elsewhere is not added" in again.stderr
    came = {path: what for path, what in did(gone).items() if not path.startswith(CATALOGS)}
    theirs = {OWN[2]: "kept", CONFIGURATION: "kept"}
    assert came == {OWN[0]: "removed", OWN[1]: "removed"} | theirs
    assert (unit.read_text(), config.read_text()) == (mine, configured)
    assert place.show("ckptd", "ActiveState") == "active"
    place.run("systemctl", "stop", "ckptd")


def test_catalogs_are_known_to_the_journal(place, program, catalog):
    program("install")
    assert "A test" in place.run("journalctl", "--no-pager", "--list-catalog", catalog).stdout
    program("install", "--uninstall")
    assert place.run("journalctl", "--list-catalog", catalog, check=False).returncode != 0


def test_a_broken_configuration_is_told_of(place, program):
    seen(place, "/etc/ckptd").mkdir()
    seen(place, CONFIGURATION).write_text("[policy]\nkeep_lst = 1\n")
    told = program("install", check=False)
    assert told.returncode == 4
    assert "policy.keep_lst (line 2): unknown key; did you mean keep_last?" in told.stderr
    assert f"Now: mend {CONFIGURATION}, then systemctl enable --now ckptd" in told.stdout


def test_it_is_for_root_alone(place, program, alice):
    before = everything(place)
    refused = alice.ckptd("install", check=False)
    assert refused.returncode == 3
    assert (
        "root's to install (as root; or for your own runs: ckptd install --user)" in refused.stderr
    )
    assert everything(place) == before


def test_what_others_may_write_is_not_run_as_root(place, program, alice):
    before = everything(place)
    (library,) = seen(place, PLACE).glob("lib/python*/site-packages/structlog/__init__.py")
    for change, back, why in (
        (("chmod", "o+w"), ("chmod", "o-w"), "may be written by everybody"),
        (("chown", "alice"), ("chown", "root"), "belongs to alice"),
    ):
        inside = "/" + str(library.relative_to(place.root))
        place.run(*change, inside)
        refused = program("install", check=False)
        place.run(*back, inside)
        assert refused.returncode == 3
        assert f"ckptd: {inside} {why}, and root would run it (install it where" in refused.stderr
    assert everything(place) == before


@pytest.mark.parametrize("where", ["/tmp/ckptd", "/home/alice/ckptd"])
def test_what_does_not_stay_or_lies_in_a_home_is_not_run_as_root(place, program, alice, where):
    place.run("cp", "-a", PLACE, where)
    place.run("sed", "-i", f"s|{PLACE}|{where}|", f"{where}/bin/ckptd")
    try:
        command = f"{where}/bin/ckptd"
        refused = place.run("env", "-u", "PYTHONPATH", command, "install", check=False)
    finally:
        place.run("rm", "-rf", where)
    assert refused.returncode == 3
    why = "does not stay" if "tmp" in where else "/home/alice belongs to alice"
    assert why in refused.stderr
    assert "python3 -m venv /opt/ckptd && " in refused.stderr


def test_where_no_systemd_runs_one_sentence_names_the_foreground(place, program):
    alone = f"mount -t tmpfs none /run && exec env --unset=PYTHONPATH {PROGRAM} install"
    failed = place.run("unshare", "--mount", "sh", "-c", alone, check=False)
    assert failed.returncode == 1
    (line,) = failed.stderr.splitlines()
    assert line.startswith("ckptd: no systemd runs here, so there is no service to install into (")
    assert "ckptd watch in the foreground, or ckptd exec around a training" in line
