import json
from dataclasses import replace

import pytest
import trees
from hypothesis import given
from hypothesis import strategies as st
from trees import FILES, SAVE, health

from ckptd.model import Health, Kind

TENSORS = FILES["adapter_model.safetensors"]
ARCHIVE = FILES["optimizer.pt"]


def shards(*present, count=3):
    return {f"model-{n:05}-of-{count:05}.safetensors": TENSORS for n in present}


def index(count=3):
    names = list(shards(*range(1, count + 1), count=count))
    return {
        "model.safetensors.index.json": json.dumps({"weight_map": dict(enumerate(names))}).encode()
    }


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
    assert all(".tmpA1b2C3" not in part.files for part in found.parts)


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


# --- hostile bytes -----------------------------------------------------------------------


@given(st.sampled_from(sorted(FILES)), st.binary(max_size=200))
def test_no_bytes_make_inspect_raise(name, content):
    found = SAVE.having({name: content}).inspect()
    assert found.recognised
    health(found)


@given(st.lists(st.text("abcmodel-0123of.safetnrspt/_", min_size=1, max_size=30), max_size=6))
def test_no_names_make_inspect_raise(names):
    others = tuple(trees.entry(name, kind=Kind.OTHER) for name in set(names))
    found = trees.Save("checkpoint-1", {}, others).inspect()
    assert health(found)[0] is not Health.COMPLETE
