"""What several saves say together: tables over values."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from builders import NOW, ck

from ckptd.model import BestMetric, Entry, Findings, Kind, Marker, Part, RecordedBest, Role, Tree
from ckptd.observe import facts

SAVED = datetime(2026, 1, 1, tzinfo=UTC)
LATER = int((SAVED + timedelta(hours=1)).timestamp() * 1e9)
THEN = int(SAVED.timestamp() * 1e9)


def found(step, *, best=None, names=(), **metrics):
    return Findings(
        recognised=True,
        step=step,
        saved_at=SAVED + timedelta(minutes=step),
        marker=Marker.CURRENT,
        marker_text="",
        metrics=metrics,
        best=best,
        names=frozenset(names),
    )


def entry(path, *, mtime_ns=THEN, kind=Kind.FILE, target=None, ctime_ns=0):
    return Entry(path, kind, 1, 2, 3, 4, 1, 0, 0o600, mtime_ns, target, ctime_ns)


def recorded(step, value):
    return RecordedBest(f"checkpoint-{step}", step, value)


@pytest.mark.parametrize(
    ("findings", "metric"),
    [
        pytest.param([found(1, eval_loss=2.0)], None, id="no-best-recorded"),
        pytest.param(
            [found(1, eval_loss=2.0), found(2, best=recorded(2, 1.5), eval_loss=1.5)],
            BestMetric("eval_loss", "min"),
            id="the-lowest-loss",
        ),
        pytest.param(
            [
                found(1, eval_f1=0.5, eval_loss=0.1),
                found(2, best=recorded(2, 0.8), eval_f1=0.8, eval_loss=0.4),
            ],
            BestMetric("eval_f1", "max"),
            id="the-highest-score-although-the-loss-rose",
        ),
        pytest.param(
            [found(1, best=recorded(1, 0.9), eval_accuracy=0.9)],
            BestMetric("eval_accuracy", "max"),
            id="alone-a-score-is-better-when-higher",
        ),
        pytest.param(
            [found(1, best=recorded(1, 0.9), eval_loss=0.9)],
            BestMetric("eval_loss", "min"),
            id="alone-a-loss-is-better-when-lower",
        ),
        pytest.param(
            [found(3, best=recorded(2, 0.9), eval_loss=0.9)],
            None,
            id="the-best-itself-is-gone-so-its-metrics-are-not-known",
        ),
    ],
)
def test_the_trainers_metric_is_found_by_the_value_it_recorded(findings, metric):
    assert facts.best_metric(findings) == metric


@pytest.mark.parametrize(
    ("target", "points"),
    [
        pytest.param("checkpoint-1", {"last": "checkpoint-1"}, id="beside"),
        pytest.param("./checkpoint-1/", {"last": "checkpoint-1"}, id="spelt-with-dots"),
        pytest.param("/data/a/checkpoint-1", {"last": "checkpoint-1"}, id="absolute"),
        pytest.param("checkpoint-1/model.safetensors", {"last": "checkpoint-1"}, id="into-it"),
        pytest.param("/alias/a/checkpoint-1", {"last": "checkpoint-1"}, id="through-a-link-above"),
        pytest.param("../b/checkpoint-1", {}, id="into-another-run"),
        pytest.param("/data/b/checkpoint-1", {}, id="into-another-run-by-its-whole-path"),
        pytest.param("checkpoint-9", {}, id="dangling"),
        pytest.param("", {}, id="empty"),
    ],
)
def test_a_link_beside_the_checkpoints_points_at_one(target, points):
    link = entry("last", kind=Kind.SYMLINK, target=target)
    assert facts.pointers([link], "/data/a", ["checkpoint-1"]) == points


def test_a_file_added_much_later_that_no_sibling_has_is_foreign():
    tree = Tree(entry("c"), (entry("model-1.bin"), entry("notes.txt", mtime_ns=LATER)))
    sibling = found(0, names=["model-2.bin"])
    assert facts.foreign(tree, found(0), [sibling]) == ("notes.txt",)


def test_a_file_moved_in_later_is_foreign_although_its_own_time_is_old():
    tree = Tree(entry("c"), (entry("notes.txt", ctime_ns=LATER),))
    assert facts.foreign(tree, found(0), [found(0)]) == ("notes.txt",)


def test_a_file_that_siblings_have_is_never_foreign():
    tree = Tree(entry("c"), (entry("global_step7/x", mtime_ns=LATER),))
    sibling = found(0, names=["global_step5/x"])
    assert facts.foreign(tree, found(0), [sibling]) == ()


def test_a_model_that_a_person_merged_into_an_old_save_does_not_hide_itself_by_its_own_time():
    merged = entry("merged/model.safetensors", mtime_ns=LATER)
    tree = Tree(entry("c"), (entry("model-1.bin"), merged))
    seen = found(LATER / 1e9, names=["model-1.bin", "merged/model.safetensors"])
    assert facts.foreign(tree, seen, [found(0, names=["model-2.bin"])]) == (merged.path,)


def test_without_siblings_what_came_long_after_the_weights_is_foreign():
    tree = Tree(entry("c"), (entry("notes.txt", mtime_ns=LATER),))
    assert facts.foreign(tree, found(0), []) == ("notes.txt",)


def test_without_siblings_a_copied_tree_holds_nothing_foreign():
    tree = Tree(entry("c"), (entry("README.md", ctime_ns=LATER),))
    assert facts.foreign(tree, found(0), []) == ()


def test_without_siblings_a_slow_optimizer_is_not_foreign():
    parts = (Part(Role.OPTIMIZER, ("optimizer.pt",), 1),)
    tree = Tree(entry("c"), (entry("a.safetensors"), entry("optimizer.pt", mtime_ns=LATER)))
    assert facts.foreign(tree, replace(found(0), parts=parts), []) == ()


def test_the_interval_is_the_median_of_complete_saves():
    saves = [ck(1, age=100), ck(2, age=90), ck(3, age=80, health="broken"), ck(4, age=20)]
    assert facts.interval(saves) == 70
    assert facts.interval(saves[:1]) is None
    assert saves[0].saved_at < NOW


def test_siblings_are_not_asked_about_a_save_that_was_written_at_once():
    class Unasked(tuple):
        __slots__ = ()

        def __iter__(self):
            raise AssertionError("a thousand saves would be compared with a thousand")

    files = tuple(entry(name) for name in ("model.safetensors", "optimizer.pt"))
    tree = Tree(entry("checkpoint-1", kind=Kind.DIRECTORY), files)
    assert facts.foreign(tree, replace(found(1), saved_at=SAVED), Unasked([found(2)])) == ()
