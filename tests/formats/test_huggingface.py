import json
import math
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import corpus
import pytest
import trees
from hypothesis import given
from hypothesis import strategies as st

from ckptd import formats
from ckptd.formats.huggingface import HUGGINGFACE
from ckptd.model import Health, Kind, Marker, RecordedBest, Role

FILES = corpus.checkpoint_files("/run", 50, eval_loss=0.4, best=50, size=64, limit=3)
SAVE = trees.Save("checkpoint-50", FILES)
ARGS = FILES["training_args.bin"]
TENSORS = FILES["adapter_model.safetensors"]
ARCHIVE = FILES["optimizer.pt"]


def health(found, siblings=()):
    return formats.judge(found, siblings, quiet=math.inf, writer=None, may_write=False, settle=5.0)


def shards(*present, count=3):
    return {f"model-{n:05}-of-{count:05}.safetensors": TENSORS for n in present}


def index(count=3):
    names = list(shards(*range(1, count + 1), count=count))
    return {
        "model.safetensors.index.json": json.dumps({"weight_map": dict(enumerate(names))}).encode()
    }


# --- claims and exports ------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "step"),
    [
        ("checkpoint-0", 0),
        ("checkpoint-500", 500),
        ("checkpoint-999999999999999", 999_999_999_999_999),
        ("checkpoint-1000000000000000", None),
        ("checkpoint-" + "9" * 30, None),
    ],
)
def test_directory_with_an_exact_name_is_a_claim(name, step):
    [(known, claim)] = formats.claims([trees.entry(name, kind=Kind.DIRECTORY)])
    assert (known.name, claim.name, claim.step) == ("huggingface", name, step)


@pytest.mark.parametrize(
    "name",
    [
        "checkpoint-",
        "checkpoint-500-merged",
        "tmp-checkpoint-500",
        "checkpoint-500.evicting",
        "checkpoint-500\n",
        "checkpoint-٥",  # noqa: RUF001 - a digit that is not ASCII is the point
        "checkpoint_500",
        "Checkpoint-500",
        "last-checkpoint",
        "runs",
    ],
)
def test_other_names_are_no_claims(name):
    assert formats.claims([trees.entry(name, kind=Kind.DIRECTORY)]) == ()


@pytest.mark.parametrize("kind", [Kind.FILE, Kind.SYMLINK, Kind.OTHER])
def test_what_is_no_directory_is_no_claim(kind):
    assert formats.claims([trees.entry("checkpoint-500", kind=kind)]) == ()


def test_no_directory_of_another_framework_is_claimed():
    lines = (trees.DATA / "other-frameworks.txt").read_text().splitlines()
    folders = [line.rstrip("/").rpartition("/")[2] for line in lines if line.endswith("/")]
    assert len(folders) > 40
    assert formats.claims([trees.entry(name, kind=Kind.DIRECTORY) for name in folders]) == ()


def test_final_export_in_the_run_is_named_file_by_file():
    export = ["adapter_model.safetensors", "adapter_config.json", "tokenizer.json"]
    export += ["model-00001-of-00002.safetensors", "model.safetensors.index.json", "config.json"]
    export += ["pytorch_model.bin", "training_args.bin", "tokenizer.model"]
    others = ["notes.txt", "trainer_state.json", "logging.jsonl", "my.safetensors", "train.py"]
    children = [trees.entry(name) for name in (*export, *others)]
    children.append(trees.entry("model.safetensors", kind=Kind.DIRECTORY))
    assert HUGGINGFACE.exports(children) == tuple(export)


# --- real trees --------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("tree", "steps", "limit"),
    [
        ("hf-lora", {5, 10, 15}, None),
        ("hf-lora-best", {15, 20}, 2),
        ("hf-full-sharded", {5, 10}, None),
        ("hf-model-only", {5, 10}, None),
        ("swift-lora", {10, 15}, 2),
    ],
)
def test_real_saves_are_complete(tmp_path, tree, steps, limit):
    run = trees.unpack(tree, tmp_path)
    claims = [claim for _, claim in formats.claims(trees.children(run))]
    found = {claim.step: trees.inspect(run / claim.name) for claim in claims}
    assert set(found) == steps
    for step, findings in found.items():
        assert health(findings)[0] is Health.COMPLETE, findings
        assert "loss" in findings.metrics
        assert findings.step == step
        assert findings.weights_whole
        assert findings.resumable
        assert findings.trainer_limit == limit


def test_real_best_and_metrics_are_read(tmp_path):
    found = trees.inspect(trees.unpack("hf-lora-best", tmp_path) / "checkpoint-20")
    assert found.best == RecordedBest("checkpoint-20", 20, 6.273913860321045)
    assert found.metrics["eval_loss"] == 6.273913860321045
    assert [(part.role, len(part.files)) for part in found.parts] == [
        (Role.WEIGHTS, 1),
        (Role.OPTIMIZER, 2),
        (Role.RNG, 1),
        (Role.OTHER, 4),
    ]


def test_save_that_died_of_a_full_disk_is_broken(tmp_path):
    run = trees.unpack("full-hf-optimizer", tmp_path)
    intact, wreck = trees.inspect(run / "checkpoint-5"), trees.inspect(run / "checkpoint-10")
    assert health(intact)[0] is Health.COMPLETE
    assert health(wreck, [intact]) == (
        Health.BROKEN,
        "optimizer.pt is cut off: no end-of-central-directory record in its 180224 bytes",
    )
    assert wreck.weights_whole


def test_every_prefix_of_a_real_save_is_not_complete_and_its_whole_is(tmp_path):
    """As the Trainer writes: file by file, each growing, the marker last."""
    run = tmp_path / "run"
    intact = trees.inspect(corpus.write_checkpoint(run, 25, size=64))
    names = list(FILES)
    for n, name in enumerate(names):
        before = {other: FILES[other] for other in names[:n]}
        for kept in range(0, len(FILES[name]), 97):
            found = replace(SAVE, files={**before, name: FILES[name][:kept]}).inspect()
            assert health(found, [intact])[0] in {Health.BROKEN, Health.UNPROVEN}, (name, kept)
    assert health(SAVE.inspect(), [intact])[0] is Health.COMPLETE


# --- what a save is made of --------------------------------------------------------------


def test_roles_step_and_limit_are_found():
    found = SAVE.inspect()
    assert found.recognised
    assert found.roles == {
        *("weights", "config", "training_args"),
        *("optimizer", "scheduler", "rng", "marker"),
    }
    assert (found.step, found.ranks, found.trainer_limit) == (50, 0, 3)
    assert found.metrics == {"loss": pytest.approx(2 / 51), "grad_norm": 1.0, "eval_loss": 0.4}
    assert found.best == RecordedBest("checkpoint-50", 50, 0.4)
    assert found.names == set(FILES)


def test_saved_at_is_the_newest_of_marker_and_weights():
    order = {name: n for n, name in enumerate(FILES)}
    late = SAVE.having({"notes.txt": b"x", "config.json": b"{}"})
    moment = datetime.fromtimestamp(trees.T0 // 10**9, UTC)
    assert late.inspect().saved_at == moment + timedelta(seconds=order["trainer_state.json"])
    without = SAVE.without("trainer_state.json", "README.md").inspect()
    assert without.saved_at == moment + timedelta(seconds=0)
    other = trees.Save("checkpoint-50", {"a": b"", "optimizer.pt": ARCHIVE}).inspect()
    assert other.saved_at == moment + timedelta(seconds=1)


def test_empty_directory_is_recognised_and_dated_by_itself():
    found = trees.Save("checkpoint-50", {}).inspect()
    assert found.recognised
    assert (found.roles, found.parts, found.marker) == (frozenset(), (), Marker.ABSENT)
    assert found.saved_at == datetime.fromtimestamp(trees.T0 // 10**9 + 999, UTC)


def test_look_alike_is_not_recognised():
    found = trees.Save("checkpoint-50", {"notes.txt": b"hello", "data/a.csv": b"1"}).inspect()
    assert not found.recognised
    assert health(found)[0] is Health.UNPROVEN


def test_bytes_of_a_part_count_each_inode_once():
    one = trees.entry("model.safetensors", size=len(TENSORS), inode=7, allocated=8192)
    two = replace(one, path="adapter_model.safetensors")
    save = trees.Save("checkpoint-50", {e.path: TENSORS for e in (one, two)})
    tree = replace(save.tree, entries=(two, one))
    claim = next(iter(HUGGINGFACE.claims([trees.entry("checkpoint-50", kind=Kind.DIRECTORY)])))
    [part] = HUGGINGFACE.inspect(claim, tree, save.peek).parts
    assert (part.role, part.bytes, len(part.files)) == (Role.WEIGHTS, 8192, 2)


DEEPSPEED = {
    "global_step50/mp_rank_00_model_states.pt": ARCHIVE,
    "global_step50/zero_pp_rank_0_mp_rank_00_optim_states.pt": ARCHIVE,
}


def roles_of(found):
    return {path: part.role for part in found.parts for path in part.files}


def test_deepspeed_shards_are_resume_only_beside_whole_weights():
    found = SAVE.without("optimizer.pt").having(DEEPSPEED | {"latest": b"global_step50"}).inspect()
    assert {roles_of(found)[path] for path in DEEPSPEED} == {Role.OPTIMIZER}
    assert roles_of(found)["latest"] is Role.OTHER
    assert "deepspeed" in found.roles


@pytest.mark.parametrize("top", [{}, {"model.safetensors": TENSORS[:-1]}])
def test_deepspeed_shards_are_the_weights_where_no_others_are_whole(top):
    """ZeRO-3 writes no others: hiyouga/LlamaFactory#477 lost its models by slimming."""
    found = SAVE.without("adapter_model.safetensors").having(DEEPSPEED | top).inspect()
    assert {roles_of(found)[path] for path in DEEPSPEED} == {Role.WEIGHTS}
    assert found.weights_whole is not bool(top)


def test_fsdp_shards_are_committed_by_their_metadata():
    shards = {
        "pytorch_model_fsdp_0/__0_0.distcp": b"x",
        "pytorch_model_fsdp_0/.metadata": b"x",
        "optimizer_0/__0_0.distcp": b"x",
        "optimizer_0/.metadata": b"x",
    }
    save = SAVE.without("adapter_model.safetensors", "optimizer.pt").having(shards)
    found = save.inspect()
    assert found.weights_whole
    assert not found.damage
    assert roles_of(found)["optimizer_0/__0_0.distcp"] is Role.OPTIMIZER
    cut = save.without("pytorch_model_fsdp_0/.metadata").inspect()
    assert cut.damage == ("pytorch_model_fsdp_0 has no .metadata: its shards were never committed",)
    assert not cut.weights_whole


# --- the marker --------------------------------------------------------------------------


def state(**fields):
    return {"trainer_state.json": json.dumps({"global_step": 50, **fields}).encode()}


@pytest.mark.parametrize(
    ("content", "marker", "text"),
    [
        (b"", Marker.TORN, "is empty"),
        (b'{"global_step": 50', Marker.TORN, "is not JSON (cut off)"),
        (b"[" * 3_000_000, Marker.TORN, "nested too deeply"),
        (b"\xff\xfe", Marker.TORN, "no UTF-8"),
        (b"hello", Marker.TORN, "is not JSON"),
        (b"[1]", Marker.TORN, "holds no object"),
        (b"{}", Marker.TORN, "names no global_step"),
        (b'{"global_step": true}', Marker.TORN, "names no global_step"),
        (b'{"global_step": 50.0}', Marker.TORN, "names no global_step"),
        (b'{"global_step": ' + b"9" * 5000 + b"}", Marker.TORN, "too long to be read"),
        (b'{"global_step": 25}', Marker.FOREIGN, "speaks of step 25, not of 50"),
        (b'{"global_step": 50, "log_history": 7}', Marker.CURRENT, "not older than the rest"),
    ],
)
def test_marker_is_what_its_bytes_say(content, marker, text):
    found = SAVE.having({"trainer_state.json": content}).inspect()
    assert found.marker is marker
    assert text in found.marker_text
    assert found.doubts == ()


CORE = ["adapter_model.safetensors", "training_args.bin"]
CORE += ["optimizer.pt", "scheduler.pt", "rng_state.pth"]


@pytest.mark.parametrize(
    ("files", "marker"),
    [
        *((dict.fromkeys([name], FILES[name]), Marker.STALE) for name in CORE),
        ({"model.safetensors": TENSORS}, Marker.STALE),
        ({"scaler.pt": ARCHIVE}, Marker.STALE),
        ({"rng_state_1.pth": ARCHIVE}, Marker.LATE_FILES),
        ({"other_adapter/adapter_model.safetensors": TENSORS}, Marker.LATE_FILES),
        (DEEPSPEED, Marker.LATE_FILES),
        ({"README.md": b"# mine"}, Marker.CURRENT),
        ({"tokenizer.json": b"{}"}, Marker.CURRENT),
        ({"notes.txt": b"good one"}, Marker.CURRENT),
        ({"args.json": b"{}"}, Marker.CURRENT),
    ],
)
def test_marker_is_dated_by_the_familys_own_files(files, marker):
    times = dict.fromkeys(files, 900)
    assert replace(SAVE.having(files), times=times).inspect().marker is marker


def test_equal_times_are_no_sign_of_age():
    times = dict.fromkeys(FILES, 5)
    assert replace(SAVE, times=times).inspect().marker is Marker.CURRENT


def test_jit_checkpoint_under_way_counts_as_without_a_marker():
    found = SAVE.having({"checkpoint-is-incomplete.txt": b""}).inspect()
    assert found.marker is Marker.ABSENT
    assert "marker" not in found.roles
    judged, evidence = health(found, [SAVE.inspect()])
    assert judged is Health.BROKEN
    assert "checkpoint-is-incomplete.txt is there" in evidence


# --- damage and doubts -------------------------------------------------------------------


@pytest.mark.parametrize(
    "name", [n for n in FILES if n.endswith((".safetensors", ".pt", ".pth", ".bin"))]
)
def test_every_cut_container_is_damage(name):
    found = SAVE.having({name: FILES[name][:-1]}).inspect()
    assert len(found.damage) == 1
    assert found.damage[0].startswith(name)
    assert found.weights_whole is (name != "adapter_model.safetensors")
    assert health(found)[0] is Health.BROKEN


def test_cut_deepspeed_shard_is_damage():
    name = "global_step50/mp_rank_00_model_states.pt"
    assert SAVE.having({name: ARCHIVE[:-1]}).inspect().damage[0].startswith(name)


@pytest.mark.parametrize(
    ("files", "damage", "doubts"),
    [
        (shards(1, 2, 3) | index(), [], []),
        (shards(1, 3) | index(), ["model-00002-of-00003.safetensors, which is missing"], []),
        (
            shards(1, 3),
            ["model-00002-of-00003.safetensors is missing beside"],
            ["model-00001-of-00003.safetensors has no index beside it"],
        ),
        (shards(1, 2, 3), [], ["has no index beside it"]),
        (shards(2, count=99999), ["and 99997 more are missing"], ["has no index"]),
    ],
)
def test_shards_are_missed(files, damage, doubts):
    found = SAVE.without("adapter_model.safetensors").having(files).inspect()
    assert len(found.damage) == len(damage)
    assert len(found.doubts) == len(doubts)
    assert all(text in said for text, said in zip(damage, found.damage, strict=True))
    assert all(text in said for text, said in zip(doubts, found.doubts, strict=True))
    assert found.weights_whole is not bool(damage or doubts)


@pytest.mark.parametrize("kind", [Kind.SYMLINK, Kind.OTHER, Kind.DIRECTORY])
@pytest.mark.parametrize(
    "name",
    ["optimizer.pt", "model.safetensors", "model.safetensors.index.json", "trainer_state.json"],
)
def test_what_is_no_file_in_the_place_of_one_is_a_doubt_and_never_opened(name, kind):
    save = replace(SAVE.without(name), others=(trees.entry(name, kind=kind),), opened=[])
    found = save.inspect()
    assert found.doubts == (f"{name} is no regular file, so it is not read",)
    assert found.damage == ()
    assert name not in save.opened
    assert health(found)[0] is Health.UNPROVEN


def test_link_in_the_place_of_a_shard_directory_is_a_doubt():
    link = trees.entry("global_step50", kind=Kind.SYMLINK, target="/elsewhere")
    assert replace(SAVE, others=(link,)).inspect().doubts


@pytest.mark.parametrize(
    "name", ["optimizer.pt", "adapter_model.safetensors", "trainer_state.json"]
)
def test_what_cannot_be_read_is_a_doubt_and_no_damage(name):
    denied = {name: PermissionError(13, "Permission denied")}
    found = replace(SAVE, unreadable=denied).inspect()
    assert found.doubts == (f"{name} could not be read: Permission denied",)
    assert found.damage == ()
    assert health(found)[0] is Health.UNPROVEN


def test_unreadable_arguments_give_no_limit():
    denied = {"training_args.bin": OSError(5, "Input/output error")}
    assert replace(SAVE, unreadable=denied).inspect().trainer_limit is None


def test_temporary_file_of_safetensors_is_a_doubt_and_no_part():
    found = SAVE.having({".tmpA1b2C3": b"half"}).inspect()
    assert found.doubts == (".tmpA1b2C3 is a temporary file of a cut save",)
    assert ".tmpA1b2C3" not in roles_of(found)


def test_legacy_pickle_cannot_be_proven_whole():
    found = SAVE.having({"optimizer.pt": b"\x80\x02}q\0."}).inspect()
    assert health(found) == (
        Health.UNPROVEN,
        "optimizer.pt is not a zip: it cannot be proven whole",
    )


def test_step_of_thirty_digits_is_a_doubt():
    found = replace(SAVE, name="checkpoint-" + "9" * 30).inspect()
    assert found.step is None
    assert health(found) == (
        Health.UNPROVEN,
        "its step has 30 digits, more than any training counts",
    )


def test_a_persons_file_changes_nothing():
    noted = SAVE.having({"notes.txt": b"x", "eval/out.bin": b"", "my.pt": b"cut"})
    found = replace(noted, times={"notes.txt": 10**6}).inspect()
    assert health(found)[0] is Health.COMPLETE


ACCELERATE = {
    "model.safetensors": TENSORS,
    "optimizer.bin": ARCHIVE,
    "scheduler.bin": ARCHIVE,
    "random_states_0.pkl": b"x",
}


@pytest.mark.parametrize(
    "files",
    [
        ACCELERATE,
        ACCELERATE | {"optimizer.bin": ARCHIVE[:-1]},
        {"model.safetensors": TENSORS, "optimizer.bin": ARCHIVE, "scheduler.bin": ARCHIVE},
        {"pytorch_lora_weights.safetensors": TENSORS},
        {"model.safetensors": TENSORS, "config.json": b"{}"},
        {"unet/diffusion_pytorch_model.safetensors": TENSORS},
        {"iter_0000005/common.pt": ARCHIVE, "latest_checkpointed_iteration.txt": b"5"},
    ],
)
def test_download_or_other_frameworks_save_is_never_damaged_goods(files):
    folders = {path.partition("/")[0] for path in files if "/" in path}
    others = tuple(trees.entry(folder, kind=Kind.DIRECTORY) for folder in folders)
    found = trees.Save("checkpoint-500", files, others).inspect()
    assert health(found, [SAVE.inspect()] * 3)[0] is Health.UNPROVEN


# --- what the state tells ----------------------------------------------------------------


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


@given(st.sampled_from(sorted(FILES)), st.binary(max_size=200))
def test_no_bytes_make_inspect_raise(name, content):
    found = SAVE.having({name: content}).inspect()
    assert found.recognised
    health(found)


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


@given(st.lists(st.text("abcmodel-0123of.safetnrspt/_", min_size=1, max_size=30), max_size=6))
def test_no_names_make_inspect_raise(names):
    others = tuple(trees.entry(name, kind=Kind.OTHER) for name in set(names))
    found = trees.Save("checkpoint-1", {}, others).inspect()
    assert health(found)[0] is not Health.COMPLETE
