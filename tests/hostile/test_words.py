"""Names that try to steer a terminal, forge a log line or break a document."""

import json
import os
import shutil
import time
import unicodedata

import corpus
import pytest
from checked import mounted, needs_root
from terminal import Terminal

from ckptd import audit, disk, render
from ckptd.ledger import Record
from ckptd.trash import items

HOUR = 3600
# Title, clear, colours, a link, the C1 twin of ESC [, a new line that looks like a record, a bell,
# text from right to left, a separator that some take for a new line, bytes that are no UTF-8.
EVIL = os.fsdecode(
    "\x1b]0;owned\x07\x1b[2J\x1b[31m\x1b]8;;http:x\x9b31m\r\ndone: all\x08\u202e\u2028\x7f".replace(
        "/", "|"
    ).encode()
    + b"\xff\xc3"
)


@pytest.fixture
def ckptd(tmp_path):
    return Terminal(tmp_path / "state")


@pytest.fixture
def run(tmp_path):
    """A run with such a name, a wreck, a stray file, a look-alike and a drop-in of that kind."""
    place = tmp_path / f"w{EVIL}" / f"r{EVIL}"
    for nth, step in enumerate((5, 10, 15, 20)):
        corpus.write_checkpoint(
            place, step, mtime=time.time() - (9 - nth) * HOUR, history={step: 0.5}
        )
    state = place / "checkpoint-10" / "trainer_state.json"
    state.write_text(state.read_text().replace('"loss"', json.dumps(f"m{EVIL[:-2]}")))
    (place / "checkpoint-15" / f"model{EVIL}.safetensors").write_bytes(b"cut")
    for step in (10, 15):
        corpus.set_times(place / f"checkpoint-{step}", time.time() - 8 * HOUR)
    (place / f"best{EVIL}").symlink_to("checkpoint-5")
    (place / "checkpoint-25").symlink_to(f"x{EVIL}")
    return place


def harmless(text):
    """No control character but the end of a line, nothing that is no text."""
    bad = {c for c in text if unicodedata.category(c) in {"Cc", "Cf", "Cs", "Zl", "Zp"}}
    assert bad <= {"\n"}, (bad, text)
    assert not [line for line in text.splitlines() if line.startswith("done: all")]


def test_no_command_lets_a_name_steer_the_terminal(ckptd, run, tmp_path):
    (tmp_path / f"w{EVIL}" / ".ckptd.toml").write_bytes(
        b'[policy]\n"k'
        + os.fsencode(EVIL[:-2]).replace(b"\n", b"").replace(b"\r", b"")
        + b'" = 1\n'
    )
    frozen = ckptd.plan(run.parent)
    (tmp_path / f"w{EVIL}" / ".ckptd.toml").unlink()
    answers = [
        frozen,
        ckptd.plan(run.parent),
        ckptd.apply("--keep-last", "1", run.parent),
        ckptd.why(run / "checkpoint-5"),
        ckptd.why(run / "checkpoint-10"),
        ckptd.why(run / f"none{EVIL}"),
        ckptd.status(run),
        ckptd.history(),
        ckptd.history("--json"),
        ckptd.check(run),
        ckptd.advise(run),
        ckptd.config(run),
        ckptd.pin(run / "checkpoint-20"),
        ckptd.unpin(run / "checkpoint-20"),
        ckptd.adopt(run),
        ckptd.restore(run / "checkpoint-10"),
        ckptd.restore(run / f"none{EVIL}"),
        ckptd.plan(f"/nowhere{EVIL}"),
        *(ckptd.json(command, run) for command in ("plan", "status", "check", "advise")),
    ]
    for answer in answers:
        assert "Traceback" not in answer.err
        harmless(answer.out)
        harmless(answer.err)
    assert any("\\x1b" in answer.out for answer in answers)


def test_no_field_of_an_audit_event_holds_what_steers():
    record = Record(
        event="evict",
        at=0.0,
        checkpoint=f"/r{EVIL}/checkpoint-5",
        run=f"/r{EVIL}",
        reason=f"because{EVIL}",
        error=f"but{EVIL}",
    )
    for value in audit.event(record).values():
        harmless(str(value))
    harmless(render.dumps(render.event_json(audit.event(record))))


def test_a_sidecar_that_lies_and_steers_is_shown_harmlessly(ckptd, run, tmp_path):
    assert ckptd.apply("--keep-last", "1", run.parent).status in (0, 4)
    found = items(str(run.parent))
    for item in found:
        path = f"{item.place}/.ckptd-trash/{item.uid}/{item.id}.json"
        with open(path) as file:
            told = json.load(file)
        told["reason"] = EVIL
        with open(path, "w") as file:
            json.dump(told, file)
    assert found
    for answer in (ckptd.why(found[0].path), ckptd.json("why", found[0].path)):
        assert "Traceback" not in answer.err
        harmless(answer.out)


@pytest.mark.skipif(not shutil.which("bash"), reason="needs bash")
def test_completion_offers_no_name_that_steers(ckptd, run, tmp_path):
    environment = ("env", "_ARGCOMPLETE=1", "_ARGCOMPLETE_STDOUT_FILENAME=/dev/stdout")
    line = f"ckptd why {tmp_path}/"
    words = (*environment, f"COMP_LINE={line}", f"COMP_POINT={len(line)}", "COMP_TYPE=9")
    answer = ckptd.run("why", before=words)
    assert "Traceback" not in answer.err
    assert "\x1b" not in answer.out


@pytest.mark.root
@needs_root
@pytest.mark.parametrize("name", ["a\rb", "a\r1 2 3:4 - x", "a\nb", "a b\tc\\d", "\x1b[2J\x85"])
def test_a_mount_of_such_a_name_ends_no_look(tmp_path, name):
    """A user may have one: fusermount asks for no more than a directory of theirs."""
    with mounted(tmp_path / name, "size=1m"):
        assert disk.measure(str(tmp_path)).total
        assert disk.measure(str(tmp_path / name)).mount == str(tmp_path / name)
