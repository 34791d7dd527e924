"""Foreign bytes, cut, mixed and invented: each parser answers, and says whole only of what is."""

import json
import os
import struct
from dataclasses import replace
from datetime import UTC, datetime
from functools import partial

import corpus
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from trees import SAVE, entry

from ckptd import render, trash
from ckptd.formats import containers, reading, trainer_state
from ckptd.formats.reading import Fault
from ckptd.model import ActionKind, Outlook, TrashItem
from ckptd.procs.reading import MAPPED
from ckptd.render import verdict_json
from ckptd.status import files

HUGE = st.sampled_from([0, 1, -1, 2**31, 2**63, 2**64, 10**400, True, 1.5, 1e308, float("nan")])
KEYS = st.sampled_from(
    """
    global_step log_history step loss grad_norm eval_loss epoch best_metric best_global_step
    best_model_checkpoint weight_map a dtype shape data_offsets __metadata__ version run name
    bytes saved_at trashed_at action reason trash_for inodes weights_whole daemon pid start where
    """.split()  # noqa: SIM905
)
TEXTS = st.one_of(
    st.text(max_size=8),
    st.sampled_from(["checkpoint-5", "../x", "/", "F32", "NaN", "evict", "\ud800", "\x1b[2J"]),
    st.sampled_from(["0001-01-01T00:00:00+23:59", "9999-12-31T23:59:59-23:59", "2026-01-02"]),
)
VALUES = st.recursive(
    st.one_of(st.none(), HUGE, TEXTS),
    lambda below: st.one_of(
        st.lists(below, max_size=4), st.dictionaries(st.one_of(KEYS, TEXTS), below, max_size=8)
    ),
    max_leaves=25,
)
WHOLE = [corpus.safetensors(64), corpus.torch_zip({"save_total_limit": 3}, storage=40)]
WHOLE += [corpus.trainer_state("/run", 5, history={5: 0.5}, best=5), b'{"weight_map": {"a": "b"}}']


@st.composite
def mangled(draw):
    """A whole file with some of its bytes changed, taken away, or put in twice."""
    raw = bytearray(draw(st.sampled_from(WHOLE)))
    for _ in range(draw(st.integers(0, 4))):
        at = draw(st.integers(0, max(0, len(raw) - 1)))
        new = draw(st.binary(max_size=9))
        raw[at : at + draw(st.integers(0, 12))] = new
    return bytes(raw[: draw(st.integers(0, len(raw)))]) if draw(st.booleans()) else bytes(raw)


BYTES = st.one_of(
    st.binary(max_size=200),
    mangled(),
    VALUES.map(lambda value: json.dumps(value).encode()),
    VALUES.map(lambda v: struct.pack("<Q", len(t := json.dumps(v).encode())) + t),
)
READERS = {
    "safetensors": containers.safetensors,
    "zip": containers.torch_zip,
    "index": partial(containers.index, present={"a"}),
    "state": trainer_state.read_state,
    "limit": trainer_state.read_limit,
}


def peek_of(raw):
    return lambda path, offset, length: raw[offset : offset + length]


@pytest.mark.parametrize("name", READERS)
@given(raw=BYTES)
@settings(max_examples=400)
def test_a_reader_answers_whatever_it_is_given(name, raw):
    found = reading.attempt(READERS[name], entry("f", size=len(raw)), peek_of(raw))
    if isinstance(found, Fault):
        assert found.text.isprintable()


@given(raw=BYTES, where=st.sampled_from(sorted(SAVE.files)))
@settings(max_examples=400)
def test_a_whole_inspection_answers_whatever_lies_in_a_file(raw, where):
    found = SAVE.having({where: raw}).inspect()
    for text in (*found.damage, *found.doubts, found.marker_text):
        assert text.isprintable()


@given(value=VALUES)
@example(value={"global_step": 50, "log_history": [{"step": 50, "loss": float("nan")}] * 3})
@example(value={"global_step": 50, "best_metric": 10**400, "best_model_checkpoint": "checkpoint-5"})
@settings(max_examples=400)
def test_what_a_state_tells_can_be_shown(value):
    state = value if isinstance(value, dict) else {"log_history": value}
    raw = json.dumps({"global_step": 50, **state}).encode()
    found = SAVE.having({"trainer_state.json": raw}).inspect()
    from builders import ck, plan_of, run, world

    checkpoint = ck(50, metrics=found.metrics, divergence=found.divergence)
    decided = plan_of(world(run(checkpoint)))
    for verdict in decided.verdicts:
        json.loads(render.dumps(verdict_json(verdict)))
    str(render.plan_blocks(decided))


A_MAP = b"1-2 r 0 8:1 7 /"
SHELF = trash.Shelf("/data", 1500, 1500, -1)
ITEM = TrashItem(
    "abcdefghijklmnop",
    "/data",
    1500,
    "/data/run",
    "checkpoint-5",
    5,
    7,
    datetime(2026, 1, 2, tzinfo=UTC),
    datetime(2026, 1, 3, tzinfo=UTC),
    ActionKind.EVICT,
)


@given(changed=st.dictionaries(KEYS, st.one_of(VALUES, HUGE, TEXTS), max_size=3), raw=BYTES)
@settings(max_examples=400)
def test_a_sidecar_is_an_item_that_can_be_shown_or_none(tmp_path_factory, changed, raw):
    place = tmp_path_factory.getbasetemp() / "shelf"
    place.mkdir(exist_ok=True)
    for content in (json.dumps(json.loads(trash.sidecar(ITEM)) | changed).encode(), raw):
        (place / f"{ITEM.id}.json").write_bytes(content)
        fd = os.open(place, os.O_RDONLY)
        try:
            item = trash._known(replace(SHELF, fd=fd), ITEM.id)
        finally:
            os.close(fd)
        if item:
            assert "/../" not in item.path
            assert item.path.startswith("/data/")
            harmless = render.trash_text(item, Outlook(None, item.reason))
            assert "\x1b" not in harmless
            json.loads(render.dumps(render.trash_json(item)))
            assert (datetime.now(UTC) - item.trashed_at).total_seconds() is not None


@given(raw=BYTES)
@settings(max_examples=300)
def test_a_status_file_is_an_object_or_one_sentence(tmp_path_factory, raw):
    place = tmp_path_factory.getbasetemp() / "board"
    place.mkdir(exist_ok=True)
    name = files.name_of(os.geteuid(), 1)
    (place / name).write_bytes(raw)
    fd = os.open(place, os.O_RDONLY)
    try:
        document = files.load(fd, name)
        files.lives(document, 0.0)
        render.report_of(document)
    except ValueError as error:
        said = str(error)
    else:
        said = ""
    finally:
        os.close(fd)
    assert said.isprintable()


@given(line=st.one_of(st.binary(max_size=80), st.binary(max_size=20).map(A_MAP.__add__)))
@settings(max_examples=300)
def test_a_line_of_maps_is_a_path_or_nothing(line):
    found = MAPPED.match(line)
    assert found is None or found[1].startswith(b"/")


@given(raw=st.binary(max_size=120))
@settings(max_examples=200)
def test_a_pin_of_any_value_is_a_pin(tmp_path_factory, raw):
    from ckptd import beneath

    path = tmp_path_factory.getbasetemp() / "pinned"
    path.mkdir(exist_ok=True)
    try:
        os.setxattr(path, beneath.PIN, raw)
    except OSError:
        pytest.skip("no extended attributes here")
    fd = os.open(path, os.O_RDONLY)
    try:
        assert beneath.pinned(fd)
    finally:
        os.close(fd)
