"""What a log ends with, and what a few numbers of the weights say."""

import json
import math
import struct

import pytest
import trees
from hypothesis import given
from hypothesis import strategies as st
from trees import SAVE

from ckptd.formats import containers, divergence, samples
from ckptd.model import Divergence, Health

NAN, INF = math.nan, math.inf
EPOCH = {"epoch": 1.0, "learning_rate": 1e-4}


def lines(key, **at):
    """Lines of a log: `lines("loss", s10=1.0)` is a loss of 1.0 at step 10."""
    return [{**EPOCH, key: value, "step": int(step[1:])} for step, value in at.items()]


def both(grad_norm, loss, step):
    return [{**EPOCH, "grad_norm": grad_norm, "loss": loss, "step": step}]


PROVEN = [
    pytest.param(
        lines("grad_norm", s10=1.0, s20=NAN, s30=NAN, s40=NAN),
        Divergence("grad_norm", "nan", 20, 10),
        id="three-logged-norms",
    ),
    pytest.param(
        [*both(1.0, 2.0, 10), *both(NAN, 1.3, 20), *both(NAN, 0.0, 30), *both(NAN, 0.0, 40)],
        Divergence("grad_norm", "nan", 20, 10),
        id="the-filter-shows-a-finite-loss",
    ),
    pytest.param(
        lines("loss", s10=1.0, s20=INF, s30=NAN, s40=NAN),
        Divergence("loss", "inf", 20, 10),
        id="the-loss-alone",
    ),
    pytest.param(
        lines("eval_loss", s10=1.0, s20=NAN, s30=NAN),
        Divergence("eval_loss", "nan", 20, 10),
        id="two-evaluations",
    ),
    pytest.param(
        [*both(1.0, 1.0, 20), *both(NAN, 0.0, 30), *lines("eval_loss", s20=1.0, s30=NAN)],
        Divergence("grad_norm", "nan", 30, 20),
        id="one-evaluation-and-one-norm",
    ),
    pytest.param(
        lines("grad_norm", s10="1.0", s20="NaN", s30="Infinity", s40="-inf"),
        Divergence("grad_norm", "nan", 20, 10),
        id="as-texts",
    ),
    pytest.param(
        [*lines("grad_norm", s10=1.0, s20=NAN, s30=None, s40=NAN, s50=NAN)],
        Divergence("grad_norm", "nan", 20, 10),
        id="null-is-no-end-of-it",
    ),
]
SUSPECTED = [
    pytest.param(lines("grad_norm", s10=1.0, s20=INF), 20, id="one-norm"),
    pytest.param(lines("grad_norm", s10=1.0, s20=INF, s30=NAN), 20, id="two-norms"),
    pytest.param(lines("eval_loss", s10=1.0, s20=NAN), 20, id="one-evaluation"),
    pytest.param(
        [*both(1.0, 1.0, 10), *both(NAN, NAN, 20), *both(NAN, NAN, 30)],
        20,
        id="loss-and-norm-of-one-line-are-one",
    ),
    pytest.param(
        lines("grad_norm", s10=1.0, s20=NAN, s30=NAN, s40=NAN, s50=1.0, s60=NAN),
        60,
        id="after-it-had-recovered",
    ),
    pytest.param(
        [
            *lines("eval_loss", s10=1.0, s20=NAN),
            *lines("grad_norm", s30=1.0),
            *lines("eval_loss", s30=NAN),
        ],
        30,
        id="a-later-norm-clears-the-evaluation-before-it",
    ),
]
WELL = [
    pytest.param(lines("grad_norm", s10=1.0, s20=2.0), id="finite"),
    pytest.param(lines("grad_norm", s10=1.0, s20=INF, s30=NAN, s40=INF, s50=1.0), id="recovered"),
    pytest.param(lines("grad_norm", s1=INF, s2=INF, s3=INF, s4=INF), id="fp16-looks-for-a-scale"),
    pytest.param(lines("eval_loss", s10=NAN, s20=NAN, s30=NAN), id="evaluation-never-worked"),
    pytest.param(
        [*lines("grad_norm", s10=1.0, s20=NAN, s30=NAN, s40=NAN), *lines("eval_loss", s40=1.0)],
        id="an-evaluation-clears-the-norms: the scaler skipped them",
    ),
    pytest.param(lines("eval_loss", s10=1.0, s20=None, s30=None, s40=None), id="null-says-nothing"),
    pytest.param(lines("loss", s10=1.0, s20="oops", s30="n/a", s40=""), id="other-texts"),
    pytest.param(lines("eval_f1", s10=1.0, s20=NAN, s30=NAN, s40=NAN), id="another-metric"),
    pytest.param(lines("loss", s10=1.0, s999=NAN, s1000=NAN, s1001=NAN), id="past-its-own-step"),
    pytest.param([{"loss": NAN}, {"loss": NAN, "step": "7"}, None, 7, "x"], id="no-lines"),
    pytest.param({"loss": NAN}, id="no-list"),
    pytest.param(None, id="none"),
]


@pytest.mark.parametrize(("log", "found"), PROVEN)
def test_numbers_that_stay_non_finite_prove_it(log, found):
    assert divergence.at_the_end(log, 100) == found


@pytest.mark.parametrize(("log", "since"), SUSPECTED)
def test_a_few_are_only_suspected(log, since):
    found = divergence.at_the_end(log, 100)
    assert (found.since, found.proven) == (since, False)


@pytest.mark.parametrize("log", WELL)
def test_a_log_that_ends_well_or_never_began_well_says_nothing(log):
    assert divergence.at_the_end(log, 100) is None


@given(st.lists(st.sampled_from([1.0, NAN, INF]), max_size=12), st.integers(1, 12))
def test_a_later_save_of_the_same_log_names_the_same_first_step(values, cut):
    """What `observe` tells one training from another by."""
    log = [{"grad_norm": value, "step": n} for n, value in enumerate(values, start=1)]
    whole = divergence.at_the_end(log, 100)
    earlier = divergence.at_the_end(log[:cut], cut)
    if whole and whole.since <= cut <= len(log):
        assert earlier.since == whole.since


@given(
    st.recursive(
        st.none() | st.booleans() | st.floats() | st.integers() | st.text(max_size=40),
        lambda inner: (
            st.lists(inner, max_size=4)
            | st.dictionaries(st.sampled_from(["step", "loss", "grad_norm", "eval_loss"]), inner)
        ),
        max_leaves=20,
    )
)
def test_no_log_makes_it_raise(log):
    divergence.at_the_end(log, 10)


def test_findings_carry_how_the_log_ends():
    log = lines("grad_norm", s10=1.0, s20=NAN, s30=NAN, s50=NAN)
    content = json.dumps({"global_step": 50, "log_history": log}).encode()
    assert b"NaN" in content
    found = SAVE.having({"trainer_state.json": content}).inspect()
    assert found.divergence == Divergence("grad_norm", "nan", 20, 10)


def test_the_log_of_another_save_says_nothing():
    log = lines("grad_norm", s1=1.0, s2=NAN, s3=NAN, s4=NAN)
    content = json.dumps({"global_step": 7, "log_history": log}).encode()
    assert SAVE.having({"trainer_state.json": content}).inspect().divergence is None


# --- weights -----------------------------------------------------------------------------

SINGLE = {"F64": "<d", "F32": "<f", "F16": "<e"}
WIDTH = {"F64": 8, "F32": 4, "F16": 2, "BF16": 2}


def packed(dtype, *numbers):
    if dtype == "BF16":  # the upper half of a single
        return b"".join(struct.pack("<f", n)[2:] for n in numbers)
    return b"".join(struct.pack(SINGLE[dtype], n) for n in numbers)


def container(tensors):
    """A safetensors file of *tensors*: names to a kind of number and bytes, in their order."""
    header, data = {"__metadata__": {"format": "pt", "dtype": "F32"}}, b""
    for name, (dtype, raw) in tensors.items():
        offsets = [len(data), len(data) + len(raw)]
        width = WIDTH.get(str(dtype), 1)
        header[name] = {"dtype": dtype, "shape": [len(raw) // width], "data_offsets": offsets}
        data += raw
    text = json.dumps(header).encode()
    return struct.pack("<Q", len(text)) + text + data


def sampled(tensors, name="adapter_model.safetensors"):
    return SAVE.having({name: container(tensors)}).inspect().sampled


@pytest.mark.parametrize("dtype", ["F64", "F32", "F16", "BF16"])
@pytest.mark.parametrize(
    ("numbers", "found"),
    [
        ((0.0, 1.0, -2.5, 6e4), None),
        ((1.0, NAN), "nan"),
        ((1.0, INF, NAN), "inf"),
        ((-INF,), "-inf"),
    ],
)
def test_numbers_of_each_kind_are_read(dtype, numbers, found):
    assert sampled({"lm_head": (dtype, packed(dtype, *numbers))}) == {"lm_head": found}


def test_the_safetensors_package_reads_these_files_alike():
    deserialize = pytest.importorskip("safetensors").deserialize
    tensors = {dtype: (dtype, packed(dtype, 1.0, NAN)) for dtype in WIDTH}
    read = {name: bytes(tensor["data"]) for name, tensor in deserialize(container(tensors))}
    assert read == {name: raw for name, (_, raw) in tensors.items()}
    assert sampled(tensors) == dict.fromkeys(WIDTH, "nan")


@pytest.mark.parametrize(
    "tensors",
    [
        pytest.param({"q": ("F8_E4M3", b"\x7f" * 8)}, id="other-kinds"),
        pytest.param({"q": ("I64", b"\xff" * 8)}, id="integers"),
        pytest.param({"q": (["F32"], b"\xff" * 8)}, id="no-kind"),
        pytest.param({"q": ("F32", b"")}, id="empty"),
        pytest.param({"q" * 201: ("F32", packed("F32", NAN))}, id="a-name-too-long"),
    ],
)
def test_what_cannot_be_told_is_not_sampled(tensors):
    assert sampled(tensors) == {}


def test_a_cut_number_at_the_end_is_left_out():
    assert sampled({"q": ("F32", packed("F32", 1.0) + b"\xff\xff")}) == {"q": None}


def test_a_large_model_costs_no_more_than_its_bound():
    many = {f"t{n:05}": ("F32", packed("F32", 1.0) * 4096) for n in range(100)}
    read = []

    def peek(path, offset, length):
        read.append(length)
        return content[offset : offset + length]

    content = container(many)
    entry = trees.entry("model.safetensors", size=len(content))
    header, begin = containers.header(entry, peek)
    read.clear()
    found = samples.sample(entry, peek, header, begin)
    assert {"t00000", "t00099"} <= found.keys()
    assert len(found) == samples.TENSORS
    assert sum(read) <= samples.TENSORS * samples.BYTES


def test_of_many_shards_the_first_and_the_last_are_sampled():
    shards = [f"model-{n:05}-of-00009.safetensors" for n in range(1, 10)]
    assert samples.files([*shards, "model.safetensors.index.json", "a.bin"]) == {
        shards[0],
        shards[-1],
    }


def test_weights_that_are_not_whole_are_not_sampled():
    cut = container({"q": ("F32", packed("F32", NAN, NAN))})[:-1]
    found = SAVE.having({"adapter_model.safetensors": cut}).inspect()
    assert (found.sampled, len(found.damage)) == ({}, 1)


def test_a_sample_that_cannot_be_read_is_no_doubt_about_the_file():
    content = container({"q": ("F32", packed("F32", NAN))})
    begin = len(content) - 4

    def peek(path, offset, length):
        if offset == begin:
            raise OSError(5, "Input/output error")
        return content[offset : offset + length]

    entry = trees.entry("model.safetensors", size=len(content))
    assert samples.sample(entry, peek, *containers.header(entry, peek)) == {}


def test_lost_weights_leave_a_save_whole():
    content = container({"q": ("F32", packed("F32", NAN))})
    found = SAVE.having({"adapter_model.safetensors": content}).inspect()
    assert trees.health(found)[0] is Health.COMPLETE
