"""[notify] and [prometheus]: what is read, what is refused, and what `ckptd config` hides."""

import json

import pytest
from receiving import SECRET

from ckptd.cli import main
from ckptd.config import Notify, Prometheus, drop_in
from ckptd.errors import ConfigError

URL = f"json://user:{SECRET}@127.0.0.1/hook"


def test_nothing_written_tells_nobody(loaded):
    settings = loaded("")

    assert (settings.notify, settings.prometheus) == (Notify(), Prometheus())


def test_what_is_written_holds(loaded):
    settings = loaded(
        f'[notify]\nurls = ["{URL}"]\nurls_file = "/u"\nevents = ["evict"]\n'
        'at_most_every = "5min"\n'
        '[prometheus]\ntextfile = "/t/ckptd.prom"\nlisten = "[::1]:9469"\n'
    )

    assert settings.notify == Notify((URL,), "/u", ("evict",), 300.0)
    assert settings.prometheus == Prometheus("/t/ckptd.prom", ("::1", 9469))


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("127.0.0.1:9469", ("127.0.0.1", 9469)),
        ("localhost:1", ("127.0.0.1", 1)),
        (":9469", ("127.0.0.1", 9469)),
        ("9469", ("127.0.0.1", 9469)),
        ("0.0.0.0:9469", ("0.0.0.0", 9469)),
    ],
)
def test_a_port_alone_is_open_to_this_machine_only(loaded, text, found):
    assert loaded(f'[prometheus]\nlisten = "{text}"').prometheus.listen == found


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ('notify.events = ["evcit"]', "did you mean evict?"),
        ('notify.events = ["notify"]', "is not one of"),  # it would tell of itself
        ('notify.event = ["evict"]', "did you mean events?"),
        ('prometheus.textfile = "/t/ckptd"', "does not end in .prom"),
        ('prometheus.textfile = "ckptd.prom"', "begin it with / or ~/"),
        ('prometheus.listen = "127.0.0.1"', "names no port"),
        ('prometheus.listen = "example.com:80"', "write an address"),
        ('prometheus.listen = "127.0.0.1:0"', "names no port from 1 to 65535"),
        ('prometheus.listen = "127.0.0.1:99999"', "names no port"),
        ("prometheus.listen = 9469", "is not a text in quotes"),
    ],
)
def test_a_slip_is_one_sentence(loaded, text, said):
    with pytest.raises(ConfigError) as caught:
        loaded(text)

    (problem,) = caught.value.problems
    assert said in str(problem)


def test_a_drop_in_may_tell_nobody():
    source = drop_in("/r/.ckptd.toml", f'[notify]\nurls = ["{URL}"]\n'.encode())

    (problem,) = source.problems
    assert "a drop-in sets [policy] only" in str(problem)
    assert SECRET not in str(problem)


@pytest.mark.parametrize("options", [[], ["--json"]])
def test_config_hides_secrets(tmp_path, capsys, options):
    file = tmp_path / "ckptd.toml"
    file.write_text(f'[notify]\nurls = ["{URL}"]\n')
    file.chmod(0o600)
    assert main(["config", "--config", str(file), *options]) == 0
    out, err = capsys.readouterr()

    assert SECRET not in out + err
    assert err == ""
    if options:
        shown = {value["key"]: value["value"] for value in json.loads(out)["values"]}
        assert shown["notify.urls"] == ["json://***"]
    else:
        assert '#urls = ["json://***"]' in out


def test_config_says_that_others_may_read_secrets(tmp_path, capsys):
    file = tmp_path / "ckptd.toml"
    file.write_text(f'[notify]\nurls = ["{URL}"]\n')
    file.chmod(0o644)
    assert main(["config", "--config", str(file)]) == 0

    (line,) = capsys.readouterr().err.splitlines()
    assert "every user of this machine may read it" in line
    assert f"chmod o= {file}" in line


def test_check_warns_of_it(tmp_path, capsys):
    file = tmp_path / "ckptd.toml"
    file.write_text(f'[[watch]]\npath = "{tmp_path}"\n[notify]\nurls = ["{URL}"]\n')
    file.chmod(0o644)
    main(["check", "--config", str(file), "--state", str(tmp_path / "state"), "--json"])
    (found,) = (c for c in json.loads(capsys.readouterr().out)["checks"] if c["name"] == "notify")

    assert (found["state"], found["path"]) == ("warning", str(file))
    assert f"chmod o= {file}" in found["text"]
