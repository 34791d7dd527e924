import json
import math

import corpus
import pytest
from hypothesis import given
from hypothesis import strategies as st
from trees import FILES, SAVE

from ckptd.model import Marker, RecordedBest

ARGS = FILES["training_args.bin"]


def state(**fields):
    return {"trainer_state.json": json.dumps({"global_step": 50, **fields}).encode()}


@pytest.mark.parametrize(
    ("history", "metrics"),
    [
        ([{"step": 50, "eval_loss": 1}], {"eval_loss": 1.0}),
        ([{"step": 50, "a": 1}, {"step": 50, "a": 2.5, "b": 0}], {"a": 2.5, "b": 0.0}),
        ([{"step": 25, "eval_loss": 1.0}], {}),
        ([{"step": 50, "loss": math.inf, "epoch": 1.0}], {"loss": math.inf}),
        ([{"step": 50, "ok": True, "text": "1.0", "none": None, "list": [1]}], {}),
        ([{"step": 50, "huge": 10**400}], {}),
        (["text", None, 7, {}], {}),
        ({"step": 50}, {}),
    ],
)
def test_metrics_are_the_numbers_logged_at_the_step(history, metrics):
    assert SAVE.having(state(log_history=history)).inspect().metrics == metrics


@pytest.mark.parametrize(
    ("fields", "best"),
    [
        ({}, None),
        ({"best_model_checkpoint": None, "best_metric": 1.0}, None),
        ({"best_model_checkpoint": "out/checkpoint-25"}, RecordedBest("checkpoint-25", 25)),
        ({"best_model_checkpoint": "/a/checkpoint-25/"}, RecordedBest("checkpoint-25", 25)),
        (
            {"best_model_checkpoint": "checkpoint-5", "best_global_step": 5, "best_metric": 2},
            RecordedBest("checkpoint-5", 5, 2.0),
        ),
        ({"best_model_checkpoint": "/out/best", "best_metric": 1.0}, None),
        ({"best_model_checkpoint": ["checkpoint-5"]}, None),
        ({"best_model_checkpoint": "../.."}, None),
    ],
)
def test_recorded_best_is_a_name_like_a_checkpoints(fields, best):
    assert SAVE.having(state(**fields)).inspect().best == best


def test_state_of_another_step_gives_no_metrics():
    foreign = state(global_step=25, log_history=[{"step": 25, "eval_loss": 1.0}])
    assert SAVE.having(foreign).inspect().metrics == {}


@pytest.mark.parametrize(
    ("arguments", "limit"),
    [
        ({"save_total_limit": 1}, 1),
        ({"save_total_limit": 300}, 300),
        ({"save_total_limit": 100_000}, 100_000),
        ({"save_total_limit": None}, None),
        ({"save_total_limit": 0}, None),
        ({"save_total_limit": True}, None),
        ({"save_total_limit": "2"}, None),
        ({"save_steps": 2}, None),
        (["save_total_limit"], None),
    ],
)
def test_limit_of_the_trainer_is_read_without_unpickling(arguments, limit):
    archive = corpus.torch_zip(arguments, name="training_args")
    assert SAVE.having({"training_args.bin": archive}).inspect().trainer_limit == limit


class Bomb:
    def __reduce__(self):
        return (pytest.fail, ("it was unpickled",))


def test_a_pickle_that_would_act_is_only_listed():
    archive = corpus.torch_zip({"bomb": Bomb(), "save_total_limit": 2})
    assert SAVE.having({"training_args.bin": archive}).inspect().trainer_limit == 2


# --- hostile bytes -----------------------------------------------------------------------

JSON = st.recursive(
    st.none() | st.booleans() | st.floats() | st.integers() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner),
    max_leaves=8,
)
STATE_KEYS = ["global_step", "log_history", "best_model_checkpoint", "best_metric"]


@given(st.dictionaries(st.sampled_from(STATE_KEYS), JSON | st.just(50)))
def test_no_state_makes_inspect_raise(content):
    found = SAVE.having({"trainer_state.json": json.dumps(content).encode()}).inspect()
    assert found.marker in {Marker.TORN, Marker.FOREIGN, Marker.CURRENT}


@given(st.integers(0, len(ARGS) - 1), st.binary(min_size=1, max_size=16))
def test_no_change_of_the_arguments_makes_inspect_raise(at, change):
    content = ARGS[:at] + change + ARGS[at + len(change) :]
    limit = SAVE.having({"training_args.bin": content}).inspect().trainer_limit
    assert limit is None or limit > 0
