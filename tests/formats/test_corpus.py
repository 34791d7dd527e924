"""The checkpoints that tests write are what they claim to be."""

import os

import corpus
import pytest
import trees

from ckptd.model import Marker, RecordedBest

safetensors = pytest.importorskip("safetensors")


def test_written_checkpoint_is_whole_and_tells_what_was_asked(tmp_path):
    place = corpus.write_checkpoint(
        tmp_path / "run", 50, eval_loss=0.4, history={25: 0.3}, best=25, limit=2
    )
    found = trees.inspect(place)
    assert place == tmp_path / "run" / "checkpoint-50"
    assert (found.marker, found.damage, found.doubts) == (Marker.CURRENT, (), ())
    assert found.metrics["eval_loss"] == 0.4
    assert found.best == RecordedBest("checkpoint-25", 25, 0.3)
    assert found.trainer_limit == 2


def test_written_weights_are_read_by_the_library(tmp_path):
    place = corpus.write_checkpoint(tmp_path, 5, size=1000)
    content = (place / "adapter_model.safetensors").read_bytes()
    tensors = safetensors.deserialize(content)
    assert sum(len(tensor["data"]) for _, tensor in tensors) == 1000


def test_parts_can_be_left_out(tmp_path):
    found = trees.inspect(corpus.write_checkpoint(tmp_path, 5, optimizer=False, state=False))
    assert found.marker is Marker.ABSENT
    assert "optimizer" not in found.roles


def test_times_can_be_set_and_a_cut_keeps_them(tmp_path):
    place = corpus.write_checkpoint(tmp_path, 5, mtime=1000.0)
    corpus.cut(place / "optimizer.pt", 10)
    assert {os.stat(place / name).st_mtime for name in os.listdir(place)} == {1000.0}
    assert place.stat().st_mtime == 1000.0
    assert trees.inspect(place).damage[0].startswith("optimizer.pt is cut off")
