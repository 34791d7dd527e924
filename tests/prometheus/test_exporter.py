"""The measures written into a file and served: by threads that disturb nobody."""

import os
import socket
import subprocess
import time
import urllib.request
from dataclasses import replace

import pytest
from builders import plan_of, run, series, world
from prometheus_client.parser import text_string_to_metric_families
from watching import until

from ckptd.config import Prometheus
from ckptd.ledger import Record
from ckptd.prometheus import Exporter, exporter, faults, textfile

WORLD = world(run(*series(1, 2)))
EVICTED = Record(event="evict", at=0.0, run="/r", checkpoint="/r/c", rule="keep_last", bytes=10)


@pytest.fixture
def exporting():
    exporters = []

    def export(**keys):
        exporters.append(Exporter(Prometheus(**keys)))
        return exporters[-1]

    yield export
    for each in exporters:
        each.close()


def free_port():
    with socket.create_server(("127.0.0.1", 0)) as server:
        return server.getsockname()[1]


def scraped(port):
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=30) as answer:
        return samples(answer.read().decode())


def samples(text):
    return {s.name: s.value for f in text_string_to_metric_families(text) for s in f.samples}


def listens(port):
    with socket.socket() as client:
        return client.connect_ex(("127.0.0.1", port)) == 0


def test_a_file_is_written_whole_for_all_to_read(exporting, tmp_path):
    file = tmp_path / "ckptd.prom"
    before = os.umask(0o077)
    try:
        told = exporting(textfile=str(file))
        told.hear(EVICTED)
        told.show(plan_of(WORLD), WORLD)
        assert until(file.exists)
    finally:
        os.umask(before)
    found = samples(file.read_text())

    assert found["ckptd_evictions_total"] == 1
    assert found["ckptd_evicted_bytes_total"] == 10
    assert file.stat().st_mode & 0o777 == 0o644
    assert os.listdir(tmp_path) == ["ckptd.prom"]
    told.close()
    assert os.listdir(tmp_path) == []  # what it says would not be true any more


def test_it_is_served_by_http(exporting):
    port = free_port()
    told = exporting(listen=("127.0.0.1", port))
    assert until(lambda: listens(port))
    assert set(scraped(port)) == {"ckptd_build_info"}
    told.show(plan_of(WORLD), WORLD)
    found = scraped(port)

    assert found["ckptd_last_look_timestamp_seconds"] == pytest.approx(time.time(), abs=60)
    told.close()
    assert until(lambda: not listens(port))


def test_a_directory_that_is_missing_is_told_of_once_and_when_it_comes(
    exporting, tmp_path, monkeypatch
):
    monkeypatch.setattr(exporter, "EVERY", 0.05)
    file = tmp_path / "later" / "ckptd.prom"
    told = exporting(textfile=str(file))
    told.show(plan_of(WORLD), WORLD)
    assert until(lambda: told._troubles)
    time.sleep(0.5)
    (first,) = told.records()
    file.parent.mkdir()
    assert until(file.exists)
    assert until(lambda: told._troubles)
    (second,) = told.records()

    assert (first.event, first.outcome) == ("notify", "failed")
    assert f"{file}: the measures cannot be written there: No such file" in first.reason
    assert (second.outcome, second.reason) == ("done", f"{file}: it works again")


@pytest.mark.root
def test_a_full_disk_leaves_the_last_file_and_nothing_beside_it(tmp_path):
    if os.geteuid() != 0:
        pytest.skip("needs root: a small filesystem of its own")
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=64k", "none", tmp_path], check=True)
    try:
        file = tmp_path / "ckptd.prom"
        textfile.put(str(file), b"before")
        with pytest.raises(OSError, match="No space left"):
            textfile.put(str(file), b"x" * 2**17)

        assert file.read_bytes() == b"before"
        assert os.listdir(tmp_path) == ["ckptd.prom"]
    finally:
        subprocess.run(["umount", "--lazy", tmp_path], check=True)


def test_a_port_that_is_taken_is_one_sentence_until_it_is_free(exporting, monkeypatch):
    monkeypatch.setattr(exporter, "EVERY", 0.05)
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        told = exporting(listen=("127.0.0.1", port))
        told.show(plan_of(WORLD), WORLD)
        assert until(lambda: told._troubles)
        time.sleep(0.5)
        (first,) = told.records()
    assert until(lambda: told._troubles)
    (second,) = told.records()

    assert first.outcome == "failed"
    assert f"127.0.0.1:{port}: Prometheus finds nothing there: Address already" in first.reason
    assert second.outcome == "done"
    assert scraped(port)["ckptd_build_info"] == 1


def test_counts_go_on_under_another_configuration(exporting, tmp_path):
    port = free_port()
    first = exporting(listen=("127.0.0.1", port))
    first.hear(EVICTED)
    assert first.under(Prometheus(listen=("127.0.0.1", port))) is first
    assert until(lambda: listens(port))
    other = first.under(Prometheus(str(tmp_path / "a.prom"), ("127.0.0.1", port)))
    other.hear(EVICTED)
    other.show(plan_of(WORLD), WORLD)
    assert until(lambda: listens(port))
    found = scraped(port)
    other.close()

    assert found["ckptd_evictions_total"] == 2


def test_a_failed_eviction_is_none(exporting, tmp_path):
    told = exporting(textfile=str(tmp_path / "a.prom"))
    told.hear(replace(EVICTED, outcome="failed"))
    told.show(plan_of(WORLD), WORLD)
    assert until((tmp_path / "a.prom").exists)
    found = samples((tmp_path / "a.prom").read_text())

    assert "ckptd_evictions_total" not in found
    assert found["ckptd_events_total"] == 1


def test_what_can_be_known_beforehand_is_told_before(tmp_path):
    (problem,) = faults(Prometheus(textfile=str(tmp_path / "a" / "b.prom")))

    assert f"{tmp_path}/a is no directory" in str(problem)
    assert faults(Prometheus(textfile=str(tmp_path / "b.prom"))) == ()
    assert faults(Prometheus()) == ()
