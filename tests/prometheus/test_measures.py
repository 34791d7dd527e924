"""What is measured, as the official client's own parser reads it."""

from builders import GIB, RUN, ago, ck, disk, plan_of, run, series, trashed, world
from prometheus_client.parser import text_string_to_metric_families

from ckptd import __version__
from ckptd.model import Plan, Unreadable
from ckptd.prometheus.measures import Measures, Seen

NOTHING_DONE = ({}, {}, {})


def measured(seen):
    """The samples of one scrape, by name and labels."""
    families = text_string_to_metric_families(Measures(lambda: seen).text().decode())
    return {(s.name, *sorted(s.labels.items())): s.value for f in families for s in f.samples}


def seen(world, plan=None, counts=NOTHING_DONE):
    return Seen(1000.5, plan_of(world) if plan is None else plan, world, *counts)


def test_before_the_first_look_only_the_version_is_known():
    assert measured(None) == {("ckptd_build_info", ("version", __version__)): 1.0}


def test_a_look_is_measured():
    broken = ck(40, age="1h", health="broken")
    other = run(*series(1), path="/data/b", adopted=False)
    mine = run(*series(10, 20, 30, every="2h"), broken, live=True)
    found = measured(
        seen(
            world(
                mine,
                other,
                filesystems=[disk(97.0)],
                trash=[trashed(5)],
                unreadable=(Unreadable("/data/x", "no"), Unreadable("/data/x", "no")),
                frozen=(Unreadable("/data/a/.ckptd.toml", "no TOML"),),
            )
        )
    )
    data = (("limit", ""), ("path", "/data"))

    assert found["ckptd_last_look_timestamp_seconds",] == 1000.5
    assert found["ckptd_filesystem_size_bytes", *data] == 100 * GIB
    assert found["ckptd_filesystem_free_bytes", *data] == 100 * GIB - int(97 * GIB)
    assert found["ckptd_filesystem_free_inodes", *data] == 10**6
    assert found["ckptd_filesystem_demand_bytes", *data] > 0
    assert found["ckptd_filesystem_shortfall_bytes", *data] > 0
    assert ("ckptd_filesystem_reserve_bytes", *data) in found
    assert found["ckptd_runs", ("adopted", "true")] == 1
    assert found["ckptd_runs", ("adopted", "false")] == 1
    assert found["ckptd_checkpoints", ("health", "complete")] == 4
    assert found["ckptd_checkpoints", ("health", "broken")] == 1
    assert found["ckptd_checkpoints", ("health", "unproven")] == 0
    newest = ("ckptd_run_newest_complete_timestamp_seconds", ("run", RUN))
    assert found[newest] == ago("2h").timestamp()
    assert ("ckptd_run_newest_complete_timestamp_seconds", ("run", "/data/b")) not in found
    assert found["ckptd_trash_bytes",] == GIB
    assert found["ckptd_unreadable",] == 1
    assert found["ckptd_frozen",] == 1


def test_what_is_never_full_says_nothing_of_when():
    found = measured(seen(world()))

    assert not [key for key in found if key[0] == "ckptd_filesystem_full_in_seconds"]


def test_what_was_done_is_counted():
    counts = (
        {("evict", "done"): 3, ("refuse", "failed"): 1},
        {"keep_last": 2, "pressure": 1},
        {"evict": 3 * GIB, "purge": GIB},
    )
    found = measured(seen(world(), counts=counts))

    assert found["ckptd_evictions_total", ("rule", "keep_last")] == 2
    assert found["ckptd_evictions_total", ("rule", "pressure")] == 1
    assert found["ckptd_evicted_bytes_total",] == 3 * GIB
    assert found["ckptd_purged_bytes_total",] == GIB
    assert found["ckptd_events_total", ("event", "refuse"), ("outcome", "failed")] == 1


def test_a_hostile_name_is_one_label():
    path = '/data/"} 1\nckptd_evil 1 检查\udcff\\'
    found = measured(seen(world(filesystems=[disk(path=path)]), Plan(ago(0))))
    found |= measured(seen(world(run(*series(1), path=path, live=True))))

    (label,) = {dict(key[1:])["run"] for key in found if key[0].startswith("ckptd_run_newest")}
    assert label.startswith('/data/"} 1\\n')
    assert not [key for key in found if key[0] == "ckptd_evil"]


def test_names_are_as_prometheus_wants_them():
    """Base units at the end; _total for what only grows."""
    counts = ({("evict", "done"): 1}, {"keep_last": 1}, {"evict": 1, "purge": 1})
    text = Measures(lambda: seen(world(run(*series(1), live=True)), counts=counts)).text().decode()

    for family in text_string_to_metric_families(text):
        assert family.name.startswith("ckptd_")
        assert family.documentation.endswith(".")
        ends = {"counter": ("_total",)}.get(family.type, ("",))
        for sample in family.samples:
            assert sample.name.endswith((*ends, "_created"))
            if any(word in sample.name for word in ("size", "free_b", "demand", "reserve")):
                assert sample.name.endswith("_bytes")
