"""What several saves say together: tables over values."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from ckptd.model import (
    BestMetric,
    Divergence,
    Entry,
    Findings,
    Kind,
    Marker,
    Part,
    RecordedBest,
    Role,
    Tree,
)
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
        pytest.param(
            [
                found(1, eval_f1=float("nan")),
                found(2, eval_f1=0.5),
                found(3, best=recorded(3, 0.8), eval_f1=0.8),
            ],
            BestMetric("eval_f1", "max"),
            id="what-is-not-a-number-is-no-worse-and-no-better",
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


def test_siblings_are_not_asked_about_a_save_that_was_written_at_once():
    class Unasked(tuple):
        __slots__ = ()

        def __iter__(self):
            raise AssertionError("a thousand saves would be compared with a thousand")

    files = tuple(entry(name) for name in ("model.safetensors", "optimizer.pt"))
    tree = Tree(entry("checkpoint-1", kind=Kind.DIRECTORY), files)
    assert facts.foreign(tree, replace(found(1), saved_at=SAVED), Unasked([found(2)])) == ()


# --- divergence --------------------------------------------------------------------------


def lost(since, *, proven=True):
    return Divergence("grad_norm", "nan", since, since - 10, proven)


def logs(*saves):
    """Findings of complete saves, oldest first: a step and how its log ends."""
    return [replace(found(step), divergence=ends) for step, ends in saves]


MAYBE = lost(30, proven=False)


@pytest.mark.parametrize(
    ("saves", "told"),
    [
        pytest.param([(10, None), (20, None)], [None, None], id="well"),
        pytest.param(
            [(20, None), (30, MAYBE), (50, lost(30))],
            [None, lost(30), lost(30)],
            id="the-newest-proves-what-an-older-one-suspects",
        ),
        pytest.param([(20, None), (30, MAYBE), (40, None)], [None] * 3, id="it-passed"),
        pytest.param(
            [(20, None), (50, lost(30)), (60, None)], [None] * 3, id="it-passed-late: it recovered"
        ),
        pytest.param(
            [(30, MAYBE), (50, None), (60, lost(60, proven=False))],
            [None, None, lost(60, proven=False)],
            id="it-passed-and-came-again",
        ),
        pytest.param(
            [(30, MAYBE), (60, lost(60))], [None, lost(60)], id="it-passed-and-came-again-at-once"
        ),
        pytest.param(
            [(400, None), (600, lost(500)), (700, lost(500)), (450, None), (500, None)],
            [None, lost(500), lost(500), None, None],
            id="gone-back-to-an-earlier-save: what was lost then stays lost",
        ),
        pytest.param(
            [(400, None), (600, lost(500)), (700, lost(500)), (450, None), (800, None)],
            [None, lost(500), lost(500), None, None],
            id="and-when-the-second-try-has-gone-further",
        ),
        pytest.param(
            [(900, None), (1000, None), (50, None), (100, lost(60))],
            [None, None, None, lost(60)],
            id="a-new-training-in-a-used-directory-does-not-taint-the-old-one",
        ),
        pytest.param(
            [(50, None), (100, None), (150, lost(40))],
            [None, None, lost(40)],
            id="nor-where-its-steps-happen-to-go-on",
        ),
        pytest.param(
            [(50, None), (80, lost(60)), (150, lost(40))],
            [None, lost(60), lost(40)],
            id="a-log-of-another-training-stands-for-itself",
        ),
    ],
)
def test_the_newest_log_of_a_training_judges_its_older_saves(saves, told):
    assert facts.divergences(logs(*saves)) == tuple(told)


def weighing(*saves):
    """Findings of complete saves, oldest first: a step and what was sampled of the weights."""
    return [replace(found(step), sampled=sampled) for step, sampled in saves]


HEAD, GONE = {"head": None}, {"head": "nan"}


@pytest.mark.parametrize(
    ("saves", "since"),
    [
        pytest.param([(10, HEAD), (20, GONE), (30, GONE)], [None, 20, 20], id="lost"),
        pytest.param([(10, GONE), (20, GONE)], [None, None], id="no-healthy-one-before"),
        pytest.param([(10, GONE), (20, HEAD)], [None, None], id="healthy-only-later"),
        pytest.param([(10, {"mask": "-inf"}), (20, {"mask": "-inf"})], [None] * 2, id="a-mask"),
        pytest.param([(10, HEAD), (20, {"tail": "nan"})], [None, None], id="another-tensor"),
        pytest.param([(10, HEAD), (20, {})], [None, None], id="not-sampled"),
        pytest.param([(10, HEAD), (20, GONE), (30, HEAD)], [None, 20, None], id="gone-back"),
        pytest.param(
            [(10, HEAD), (90, GONE), (20, GONE)], [None, 90, 20], id="a-new-training-is-lost-too"
        ),
        pytest.param(
            [(10, {"a": None, "b": "inf"}), (20, {"a": "nan", "b": "inf"})],
            [None, 20],
            id="one-of-two",
        ),
    ],
)
def test_weights_count_where_the_same_tensor_was_finite_before(saves, since):
    told = facts.divergences(weighing(*saves))
    assert [one and (one.since if one.proven else "?") for one in told] == since


def test_weights_name_the_tensor_and_the_last_step_at_which_it_was_finite():
    (_, _, told) = facts.divergences(weighing((10, HEAD), (20, HEAD), (30, GONE)))
    assert told == Divergence("head", "nan", 30, 20)


def test_weights_prove_what_a_log_suspects_and_the_log_knows_since_when():
    before, after = replace(found(10), sampled=HEAD), replace(found(30), sampled=GONE)
    told = facts.divergences([before, replace(after, divergence=lost(25, proven=False))])
    assert told == (None, lost(25))
