import json
import struct

import corpus
import pytest
import trees
from hypothesis import given
from hypothesis import strategies as st

from ckptd.formats import containers, reading
from ckptd.formats.containers import Gap
from ckptd.formats.reading import Fault

TENSORS = corpus.safetensors(64, tensors=2)
ARCHIVE = corpus.torch_zip({"step": 1}, storage=64)


def checked(name, content, *, size=None):
    check = containers.check_for(name)
    entry = trees.entry(name, size=len(content) if size is None else size)
    return reading.attempt(check, entry, lambda path, at, length: content[at : at + length])


def with_header(header: object, data: bytes = b"") -> bytes:
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    return struct.pack("<Q", len(text)) + text + data


def tensor(begin, end):
    return {"dtype": "U8", "shape": [1], "data_offsets": [begin, end]}


@pytest.fixture(scope="module")
def real(tmp_path_factory):
    return trees.unpack("hf-lora", tmp_path_factory.mktemp("real")) / "checkpoint-5"


# --- what is whole -----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("model.safetensors", TENSORS),
        ("model.safetensors", with_header({})),
        ("model.safetensors", with_header({"__metadata__": {"format": "pt"}})),
        ("model.safetensors", with_header({"a": tensor(0, 0), "b": tensor(0, 3)}, b"abc")),
        ("optimizer.pt", ARCHIVE),
        ("optimizer.bin", corpus.torch_zip([])),
    ],
)
def test_whole_container_has_no_fault(name, content):
    assert checked(name, content) is None


@pytest.mark.parametrize(
    "name", ["adapter_model.safetensors", "optimizer.pt", "scheduler.pt", "rng_state.pth"]
)
def test_real_container_is_whole_and_each_cut_of_its_tail_is_damage(real, name):
    content = (real / name).read_bytes()
    assert checked(name, content) is None
    for kept in (*range(40), len(content) // 2, *range(len(content) - 130, len(content))):
        assert checked(name, content[:kept]).proven, kept


@pytest.mark.parametrize(
    ("name", "content"), [("model.safetensors", TENSORS), ("scheduler.pt", ARCHIVE)]
)
def test_every_truncation_is_damage(name, content):
    for kept in range(len(content)):
        fault = checked(name, content[:kept])
        assert isinstance(fault, Fault), kept
        assert fault.proven, kept


def test_every_truncation_of_a_real_zip64_archive_is_damage(real):
    content = (real / "scheduler.pt").read_bytes()
    assert b"PK\x06\x06" in content
    for kept in range(len(content)):
        assert checked("scheduler.pt", content[:kept]).proven, kept


# --- what is damaged, and how it is said -------------------------------------------------


@pytest.mark.parametrize(
    ("content", "text"),
    [
        (b"", "is cut off: 0 bytes, too short"),
        (b"\0" * 4096, "has a damaged safetensors header"),
        (struct.pack("<Q", 10**12), "it would be 1000000000000 bytes long"),
        (struct.pack("<Q", 90) + b"{}", "is cut off: its header ends at byte 98, the file at 10"),
        (with_header([]), "header that is no object"),
        (with_header({"a": tensor(0, 9)}, b"abc"), "is cut off: its tensors end at byte"),
        (with_header({"a": tensor(0, 1)}, b"abc"), "is longer than its tensors"),
        (with_header({"a": tensor(3, 1)}, b"a"), "make no sense"),
        (with_header({"a": tensor(-1, 1)}, b"a"), "make no sense"),
        (with_header({"a": {"data_offsets": [0]}}), "make no sense"),
        (with_header({"a": 7}), "make no sense"),
        (with_header({"a": tensor(0.0, 1.5)}), "make no sense"),
        (with_header(b"[" * 3_000_000), "nested too deeply"),
        (with_header(b'{"a": ' + b"9" * 5000 + b"}"), "too long to be read"),
        (with_header(b'{"\xff": 1}'), "no UTF-8"),
    ],
)
def test_damaged_safetensors_says_what_is_wrong(content, text):
    fault = checked("model.safetensors", content)
    assert fault.proven
    assert text in fault.text


@pytest.mark.parametrize(
    ("content", "text"),
    [
        (b"", "optimizer.pt is empty"),
        (b"\0" * 4096, "it begins with zero bytes"),
        (ARCHIVE[:300], "no end-of-central-directory record in its 300 bytes"),
        (ARCHIVE[:30] + ARCHIVE[-22:], "its central directory would end at"),
        (ARCHIVE.replace(b"PK\x01\x02", b"XXXX"), "no central directory at byte"),
    ],
    ids=["empty", "zeros", "cut", "gap", "directory"],
)
def test_damaged_archive_says_what_is_wrong(content, text):
    fault = checked("optimizer.pt", content)
    assert fault.proven
    assert text in fault.text


def test_archive_whose_zip64_records_lie_is_damaged(real):
    content = (real / "scheduler.pt").read_bytes()
    at = content.rindex(b"PK\x06\x07")
    for offset in (0, len(content), 2**63):
        lying = content[: at + 8] + struct.pack("<Q", offset) + content[at + 16 :]
        assert checked("scheduler.pt", lying).proven, offset


def test_archive_without_the_zip64_record_that_its_locator_names_is_damaged(real):
    content = (real / "scheduler.pt").read_bytes().replace(b"PK\x06\x06", b"PK\x00\x00")
    fault = checked("scheduler.pt", content)
    assert fault.proven
    assert "no zip64 end record at byte" in fault.text


@pytest.mark.parametrize("content", [b"\x80", b"\x80\x02}q\0.", b"ustar", b"GGUF" * 9])
def test_what_is_no_archive_is_a_doubt_and_no_damage(content):
    fault = checked("optimizer.pt", content)
    assert not fault.proven
    assert "cannot be proven whole" in fault.text


def test_header_too_long_to_be_checked_is_a_doubt_and_is_not_read():
    length = containers.LONGEST_PARSED_HEADER + 1
    entry = trees.entry("model.safetensors", size=2 * length)

    def peek(path, offset, count):
        assert offset == 0, "the header itself is not read"
        return struct.pack("<Q", length)

    fault = reading.attempt(containers.safetensors, entry, peek)
    assert not fault.proven
    assert "too long to be checked" in fault.text


@pytest.mark.parametrize(
    ("name", "content"), [("model.safetensors", TENSORS), ("scheduler.pt", ARCHIVE)]
)
@pytest.mark.parametrize("difference", [-9, 9])
def test_file_that_changes_while_it_is_looked_at_is_a_doubt(name, content, difference):
    fault = checked(name, content, size=len(content) + difference)
    assert not fault.proven
    assert "changed while it was looked at" in fault.text


def test_other_names_are_no_containers():
    assert containers.check_for("config.json") is None
    assert containers.check_for("notes.txt") is None


# --- sharded weights ---------------------------------------------------------------------


def index_of(content, present):
    entry = trees.entry("model.safetensors.index.json", size=len(content))
    peek = lambda path, at, length: content[at : at + length]  # noqa: E731 - one line, used once
    return reading.attempt(lambda e, p: containers.index(e, p, present), entry, peek)


def index(*shards):
    return json.dumps({"metadata": {}, "weight_map": dict(enumerate(shards))}).encode()


@pytest.mark.parametrize(
    ("content", "proven", "text"),
    [
        (index("a", "b", "a"), None, ""),
        (index("a", "c", "d"), True, "names c and 1 more"),
        (index("a")[:-1], True, "cut off"),
        (b"", True, "is empty"),
        (b"{}", True, "names no shards"),
        (b"[]", True, "names no shards"),
        (b'{"weight_map": {}}', True, "names no shards"),
        (b'{"weight_map": {"w": 1}}', True, "names no shards"),
        (index("../a"), False, "no plain names"),
        (index(".."), False, "no plain names"),
        (index("/etc/passwd"), False, "no plain names"),
    ],
)
def test_index_must_name_shards_that_are_there(content, proven, text):
    fault = index_of(content, {"a", "b"})
    assert (fault and fault.proven) is proven
    assert fault is None or text in fault.text


def shard(nth, count):
    return f"model-{nth:05}-of-{count:05}.safetensors"


@pytest.mark.parametrize(
    ("present", "gaps"),
    [
        ([], ()),
        (["model.safetensors", "config.json"], ()),
        ([shard(1, 1)], ()),
        ([shard(1, 3), shard(2, 3), shard(3, 3)], ()),
        ([shard(3, 3), shard(1, 3)], (Gap(shard(1, 3), shard(2, 3), 1),)),
        (
            [shard(1, 2), shard(1, 3)],
            (Gap(shard(1, 2), shard(2, 2), 1), Gap(shard(1, 3), shard(2, 3), 2)),
        ),
        ([shard(7, 99999)], (Gap(shard(7, 99999), shard(1, 99999), 99998),)),
        ([shard(9, 3)], (Gap(shard(9, 3), shard(1, 3), 3),)),
        ([shard(1, 0)], ()),
    ],
)
def test_shards_that_a_name_promises_are_missed(present, gaps):
    assert containers.gaps(present) == gaps


# --- JSON --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("raw", "value"),
    [
        (b'{"a": 1, "a": 2}', {"a": 2}),
        (b"Infinity", float("inf")),
        (b'{"a": -Infinity}', {"a": float("-inf")}),
    ],
)
def test_json_as_trainers_write_it_is_read(raw, value):
    assert reading.parse_json(raw) == value


def test_json_that_is_too_long_is_a_doubt_and_is_not_read():
    entry = trees.entry("trainer_state.json", size=reading.MOST_JSON + 1)
    fault = reading.attempt(reading.read_json, entry, lambda *_: pytest.fail("it was read"))
    assert not fault.proven
    assert fault.text == "trainer_state.json is 64.0 MiB long, too long to be read"


# --- hostile bytes -----------------------------------------------------------------------

HEADS = st.sampled_from([b"", b"PK\x03\x04", struct.pack("<Q", 2), b"PK\x05\x06", b"\x80\x02"])


@given(HEADS, st.binary(max_size=300), st.sampled_from(["m.safetensors", "o.pt", "r.pth", "m.bin"]))
def test_no_bytes_make_a_check_raise(head, rest, name):
    fault = checked(name, head + rest)
    assert fault is None or fault.text.startswith(name)


@given(st.data())
def test_no_change_of_a_byte_makes_a_check_raise(data):
    name, content = data.draw(st.sampled_from([("m.safetensors", TENSORS), ("o.pt", ARCHIVE)]))
    at = data.draw(st.integers(0, len(content) - 1))
    changed = content[:at] + data.draw(st.binary(min_size=1, max_size=8)) + content[at + 1 :]
    fault = checked(name, changed)
    assert fault is None or isinstance(fault, Fault)


@given(st.binary(max_size=200))
def test_no_bytes_make_the_index_raise(content):
    fault = index_of(content, {"a"})
    assert fault is None or isinstance(fault, Fault)
