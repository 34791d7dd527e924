"""The real process: people and Prometheus are told, and whoever fails there delays nothing."""

import json
import os
import signal
import subprocess
import sys
import time
import urllib.request

import pytest
from corpus import cut, write_checkpoint
from house import names
from receiving import SECRET, hanging, nobody, webhook
from watching import until, watching


@pytest.fixture
def configured(tmp_path):
    """Writes a configuration that watches `out` and tells as *text* says."""

    def configure(text, policy=""):
        file = tmp_path / "ckptd.toml"
        head = f'[[watch]]\npath = "{tmp_path}/out"\nadopt = "all"\n[policy]\n{policy}\n'
        new = tmp_path / "new"
        new.write_text(head + text)
        new.chmod(0o600)
        new.rename(file)
        return file

    return configure


def ended(process):
    """The seconds that its end takes once it is asked for."""
    begun = time.monotonic()
    process.send_signal(signal.SIGTERM)
    assert process.wait(30) == 0
    took = time.monotonic() - begun
    print(f"ended in {took:.2f} s")
    return took


def test_a_broken_save_is_told_to_people_and_measured(tmp_path, configured):
    run, prom = tmp_path / "out", tmp_path / "ckptd.prom"
    write_checkpoint(run, 10)
    with webhook() as hook:
        config = configured(f'[notify]\nurls = ["{hook.url}"]\n[prometheus]\ntextfile = "{prom}"\n')
        with watching(tmp_path / "state", "--config", config) as daemon:
            assert until(prom.exists)
            save = write_checkpoint(tmp_path / "elsewhere", 20)
            cut(save / "adapter_model.safetensors")
            save.rename(run / save.name)
            told = daemon.wait_for("broken", 20)
            title, text = hook.received(60)

    assert title.endswith(": broken")
    assert text == told["message"]
    assert 'ckptd_checkpoints{health="complete"} 1.0' in prom.read_text()


def test_one_that_hangs_and_one_that_is_away_delay_neither_the_work_nor_the_end(
    tmp_path, configured
):
    run = tmp_path / "out"
    with hanging() as (url, taken):
        config = configured(
            f'[notify]\nurls = ["{url}", "{nobody()}"]\nevents = ["recognised", "evict"]\n',
            policy="keep_last = 1\nkeep_best = 0",
        )
        with watching(tmp_path / "state", "--config", config) as daemon:
            for step in (10, 20, 30):
                write_checkpoint(run, step)
                daemon.wait_for("recognised", step)
            daemon.wait_for("evict", 20)
            assert until(lambda: taken, 60)
            took = ended(daemon.process)

    assert names(run) == {"checkpoint-30"}
    assert took < 5  # under one second on a machine that has nothing else to do
    assert SECRET not in str(daemon.events)


def test_without_the_extra_it_says_so_and_works(tmp_path, configured):
    run = tmp_path / "out"
    config = configured(
        f'[notify]\nurls = ["json://127.0.0.1/{SECRET}"]\n[prometheus]\nlisten = "9"'
    )
    absent = tmp_path / "absent"
    absent.mkdir()
    (absent / "sitecustomize.py").write_text(
        "import sys; sys.modules['apprise'] = sys.modules['prometheus_client'] = None\n"
    )
    path = os.pathsep.join([str(absent), os.environ.get("PYTHONPATH", "")])
    with watching(tmp_path / "state", "--config", config, PYTHONPATH=path) as daemon:
        assert until(lambda: len(daemon.told("notify")) == 2)
        write_checkpoint(run, 10)
        daemon.wait_for("recognised", 10)
    told = [event["message"] for event in daemon.told("notify")]

    assert all("is not installed" in text and "pip install 'ckptd[" in text for text in told)
    assert {event["priority"] for event in daemon.told("notify")} == {4}


def test_a_changed_configuration_tells_others(tmp_path, configured):
    run = tmp_path / "out"
    with webhook() as hook:
        config = configured('[notify]\nevents = ["recognised"]\n')
        with watching(tmp_path / "state", "--config", config) as daemon:
            configured(f'[notify]\nurls = ["{hook.url}"]\nevents = ["recognised"]\n')
            assert until(lambda: daemon.told("config"))
            write_checkpoint(run, 10)
            _, text = hook.received(60)

    assert text.startswith(f"recognised {run}/checkpoint-10")


def test_secrets_that_others_may_read_are_a_warning(tmp_path, configured):
    config = configured(f'[notify]\nurls = ["{nobody()}"]\n')
    config.chmod(0o644)
    with watching(tmp_path / "state", "--config", config) as daemon:
        assert until(lambda: daemon.told("config"))
    (warning,) = daemon.told("config")

    assert warning["priority"] == 4
    assert f"chmod o= {config}" in warning["message"]


def test_nothing_of_it_is_imported_where_it_is_not_asked_for(tmp_path):
    code = (
        "import sys; from ckptd.cli import main; main(sys.argv[1:]);"
        "print([name for name in ('apprise', 'prometheus_client') if name in sys.modules])"
    )
    for words in (["config"], ["status"], ["check", str(tmp_path)], ["plan", str(tmp_path)]):
        command = [sys.executable, "-c", code, *words, "--state", str(tmp_path / "state")]
        ended = subprocess.run(command, capture_output=True, text=True, check=False)
        assert ended.stdout.splitlines()[-1] == "[]", ended


def test_prometheus_scrapes_what_watches(tmp_path, configured):
    import socket

    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
    run = tmp_path / "out"
    write_checkpoint(run, 10)
    config = configured(f'[prometheus]\nlisten = "{port}"\n')

    def scraped():
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=30) as answer:
                return answer.read().decode()
        except OSError:
            return ""

    with watching(tmp_path / "state", "--config", config) as daemon:
        assert until(lambda: 'ckptd_checkpoints{health="complete"} 1.0' in scraped())
        took = ended(daemon.process)

    assert took < 5


def applied(tmp_path, config):
    """`ckptd apply` as a timer starts it, and what it told."""
    command = [sys.executable, "-m", "ckptd", "apply", "--config", config]
    done = subprocess.run(
        [*command, "--state", tmp_path / "state", "--json"],
        capture_output=True,
        text=True,
        check=False,
    )
    return [json.loads(line) for line in done.stderr.splitlines()]


def test_a_nightly_apply_tells_people_before_it_ends(tmp_path, configured):
    save = write_checkpoint(tmp_path / "out", 10)
    cut(save / "adapter_model.safetensors")
    with webhook() as hook:
        applied(tmp_path, configured(f'[notify]\nurls = ["{hook.url}"]\n'))
        _, text = hook.received(1)

    assert text.startswith(f"broken {save}")


def test_a_nightly_apply_that_reaches_nobody_says_so_and_ends(tmp_path, configured):
    save = write_checkpoint(tmp_path / "out", 10)
    cut(save / "adapter_model.safetensors")
    told = applied(tmp_path, configured(f'[notify]\nurls = ["{nobody()}"]\n'))

    (failed,) = (event for event in told if event["event"] == "notify")
    assert "a message was dropped after 1 try: " in failed["message"]
    assert SECRET not in str(told)
