from dataclasses import replace
from datetime import UTC, datetime, timedelta

import corpus
import pytest
import trees
from trees import FILES, SAVE, health

from ckptd import formats
from ckptd.formats.huggingface import HUGGINGFACE
from ckptd.model import Health, Kind, Marker, RecordedBest, Role

TENSORS = FILES["adapter_model.safetensors"]
ARCHIVE = FILES["optimizer.pt"]


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
