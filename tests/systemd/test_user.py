"""One user's own service, and the nightly job: both without root's daemon."""

import pytest
from box import until
from house import names
from installation import PROGRAM, seen

UNIT = ".config/systemd/user/ckptd.service"
JOB = "ckptd-apply.service"


@pytest.fixture
def alone(box, alice):
    """A service manager of alice's, as one that lingers has it."""
    box.run("systemctl", "start", f"user@{alice.uid}.service")
    yield alice
    box.run("systemctl", "stop", f"user@{alice.uid}.service")
    box.run("rm", "-rf", f"{alice.home}/.config", f"{alice.home}/.local", f"{alice.home}/out")


def test_a_user_installs_starts_reloads_and_removes_it(box, alone):
    run = alone.save(f"{alone.home}/out/run")
    seen(box, f"{alone.home}/out/.ckptd.toml").write_text(
        "[policy]\nkeep_last = 2\nkeep_best = 0\n"
    )
    box.run("chown", "alice:", f"{alone.home}/out", f"{alone.home}/out/.ckptd.toml")
    said = alone.ckptd("install", "--user", f"{alone.home}/out").stdout

    assert f"wrote {alone.home}/{UNIT}" in said
    assert "No catalog: only root can add to what `journalctl -x` explains." in said
    assert said.endswith("Now: systemctl --user enable --now ckptd\n")
    systemctl = ("systemctl", "--user")
    alone.run(*systemctl, "enable", "--now", "ckptd")
    assert until(lambda: names(run) == {"checkpoint-40", "checkpoint-50"}, 20)
    assert "1 run, 2 checkpoints" in alone.run(*systemctl, "status", "ckptd").stdout
    assert "ckptd watch (pid " in alone.ckptd("status").stdout
    config = seen(box, f"{alone.home}/.config/ckptd/ckptd.toml")
    before = config.read_text()
    alone.run(*systemctl, "reload", "ckptd")
    config.write_text("keep_lst = 1\n")
    assert alone.run(*systemctl, "reload", "ckptd", check=False).returncode != 0
    config.write_text(before)
    gone = alone.ckptd("install", "--user", "--uninstall").stdout
    assert f"removed {alone.home}/{UNIT}" in gone
    assert alone.run(*systemctl, "is-active", "ckptd", check=False).stdout == "inactive\n"
    assert not config.exists()


def test_without_a_manager_of_theirs_the_files_are_there_and_the_rest_is_said(box, alice):
    told = alice.ckptd("install", "--user", check=False)
    try:
        assert told.returncode == 4
        assert f"wrote {alice.home}/{UNIT}" in told.stdout
        assert "systemctl --user daemon-reload failed: " in told.stdout
    finally:
        box.run("rm", "-rf", f"{alice.home}/.config")


def test_neither_for_root_nor_in_the_home_of_another(box, program, alice, bob):
    refused = program("install", "--user", check=False)
    assert refused.returncode == 3
    assert "what root runs is a service of the system (without --user; or" in refused.stderr
    box.run("chmod", "0755", bob.home)
    refused = alice.run("env", f"HOME={bob.home}", PROGRAM, "install", "--user", check=False)
    assert refused.returncode == 3
    assert f"{bob.home} belongs to somebody else than who calls (log in as" in refused.stderr


def test_the_nightly_job_does_it_once_and_leaves_it_to_the_daemon(box, lab):
    lab.configure("keep_last = 3\n")
    box.run("systemctl", "enable", "--now", "ckptd-apply.timer")
    assert "ckptd-apply.timer" in box.run("systemctl", "list-timers", "--no-pager").stdout
    assert box.run("systemd-analyze", "verify", JOB, "ckptd-apply.timer").stderr == ""
    box.run("systemctl", "start", JOB)
    assert lab.left(30, 40, 50)
    assert box.show(JOB, "Result") == "success"
    told = box.journal(f"_SYSTEMD_UNIT={JOB}")
    assert any("checkpoint-10" in entry["MESSAGE"] for entry in told)
    lab.systemctl("start")
    box.run("systemctl", "start", JOB)
    assert box.show(JOB, "Result") == "exec-condition"
