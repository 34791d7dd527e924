"""Who can be told, what stands in the way of it, and that no secret is ever shown."""

import os
import subprocess
import sys

import pytest
from receiving import SECRET

from ckptd.config import Notify, load
from ckptd.errors import ConfigError
from ckptd.notify import exposed, faults
from ckptd.notify.receivers import receivers
from ckptd.notify.sending import without

GOOD = f"json://user:{SECRET}@127.0.0.1:1/hook"


@pytest.fixture
def loaded(tmp_path):
    def load_text(text):
        file = tmp_path / "ckptd.toml"
        file.write_text(text)
        file.chmod(0o600)
        return load(str(file), {}, [])

    return load_text


def sentences(problems):
    return "\n".join(map(str, problems))


def test_nobody_named_is_nothing_wrong():
    assert receivers(Notify()) == ({}, ())


def test_each_one_has_a_name_that_shows_no_secret(tmp_path):
    file = tmp_path / "urls"
    file.write_text(f"# who is awake\n\n  {GOOD}  \n")
    found, problems = receivers(Notify(urls=(GOOD,), urls_file=str(file)))

    assert problems == ()
    assert list(found) == ["notify.urls, number 1 (json://***)", f"{file}, number 1 (json://***)"]


@pytest.mark.parametrize("url", [f"nosuch://{SECRET}", f"slack://{SECRET}", f"tgram://{SECRET}"])
def test_what_apprise_does_not_understand_is_told_of(url):
    (problem,) = faults(Notify(urls=(GOOD, url)))

    assert problem.where == f"notify.urls, number 2 ({url.split(':')[0]}://***)"
    assert "apprise knows no such service" in str(problem)
    assert SECRET not in str(problem)


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (None, "No such file"),
        (b"json://127.0.0.1\nno url " + SECRET.encode(), "number 2 of them is no URL"),
        (b"json://\xff", "it is no UTF-8 text"),
        (b"#" * 70_000, "larger than 64 KiB"),
        (b"json://127.0.0.1\n" * 21, "more than the 20 that are told"),
    ],
)
def test_a_file_that_cannot_be_used_is_told_of(tmp_path, content, said):
    file = tmp_path / "urls"
    if content is not None:
        file.write_bytes(content)
    text = sentences(faults(Notify(urls_file=str(file))))

    assert said in text
    assert str(file) in text
    assert SECRET not in text


def test_a_fifo_in_place_of_the_file_hangs_nobody(tmp_path):
    os.mkfifo(tmp_path / "urls")

    assert "not a regular file" in sentences(faults(Notify(urls_file=str(tmp_path / "urls"))))


@pytest.mark.parametrize(
    "value", [f'"{GOOD}"', f'["{SECRET}"]', f'[3, "{SECRET}"]', f'["{GOOD} "]', f'["{GOOD}\\n"]']
)
def test_a_wrong_value_is_not_shown(loaded, value):
    with pytest.raises(ConfigError) as caught:
        loaded(f"[notify]\nurls = {value}")

    assert SECRET not in str(caught.value)
    assert "notify.urls (line 2)" in str(caught.value)


def test_settings_do_not_show_it(loaded):
    settings = loaded(f'[notify]\nurls = ["{GOOD}"]')

    assert settings.notify.urls == (GOOD,)
    assert SECRET not in repr(settings)


def test_a_file_that_others_may_read_is_warned_of(loaded, tmp_path):
    settings = loaded(f'[notify]\nurls = ["{GOOD}"]\nurls_file = "{tmp_path}/urls"')
    (tmp_path / "urls").touch(0o600)
    assert list(exposed(settings)) == []
    (tmp_path / "ckptd.toml").chmod(0o644)
    (tmp_path / "urls").chmod(0o604)
    first, second = map(str, exposed(settings))

    assert f"{tmp_path}/ckptd.toml: every user of this machine may read it" in first
    assert f"chmod o= {tmp_path}/urls" in second


def test_a_readable_file_without_secrets_is_fine(loaded, tmp_path):
    settings = loaded("[notify]\nurls = []\n")
    (tmp_path / "ckptd.toml").chmod(0o644)

    assert list(exposed(settings)) == []


def test_what_a_service_says_is_shown_without_the_secrets_of_its_url():
    text = f"no {SECRET} at https://127.0.0.1/hook\n  for user"

    assert (
        without(f"jsons://user:{SECRET}@127.0.0.1/hook", text)
        == "no *** at https://***/*** for ***"
    )


ABSENT = "import sys; sys.modules['apprise'] = sys.modules['prometheus_client'] = None\n"
MAIN = "from ckptd.cli import main; sys.exit(main())"


@pytest.mark.parametrize(
    ("text", "extra"),
    [
        ('[notify]\nurls = ["json://127.0.0.1"]', "notify"),
        ('[prometheus]\nlisten = "127.0.0.1:9469"', "prometheus"),
    ],
)
@pytest.mark.parametrize("command", ["check", "config"])
def test_an_extra_that_is_absent_is_one_sentence_with_the_remedy(tmp_path, text, extra, command):
    file = tmp_path / "ckptd.toml"
    file.write_text(f'[[watch]]\npath = "{tmp_path}"\n{text}\n')
    words = [command, "--config", str(file), "--state", str(tmp_path / "state")]
    ended = subprocess.run(
        [sys.executable, "-c", ABSENT + MAIN, *words], capture_output=True, text=True, check=False
    )

    assert (ended.returncode, ended.stdout) == (2, "")
    (line,) = ended.stderr.splitlines()
    assert f"ckptd: [{extra}]: " in line
    assert f"pip install 'ckptd[{extra}]'" in line
