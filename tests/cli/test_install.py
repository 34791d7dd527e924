"""`ckptd install` that is asked wrongly; what it does where there is a systemd: tests/systemd."""

import subprocess
import sys

import pytest

CKPTD = (sys.executable, "-m", "ckptd")


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["--config", "/etc/other.toml"], "install takes neither --config nor --state"),
        (["--state", "/var/other"], "install takes neither --config nor --state"),
        (["--user", "--with", "network"], "install --user takes no --with"),
        (["--with", "wings"], "invalid choice: 'wings' (choose from"),
    ],
)
def test_what_it_cannot_take_is_said(words, says):
    command = [*CKPTD, "install", "--dry-run", *words]
    ran = subprocess.run(command, check=False, capture_output=True, text=True)
    assert ran.returncode == 2
    assert says in ran.stderr
    assert ran.stdout == ""
