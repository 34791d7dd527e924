"""TOML documents for the configuration, as hypothesis draws them: sound ones, and any."""

import re
from datetime import UTC, datetime

from hypothesis import strategies as st

from ckptd.config import kinds
from ckptd.config.example import example
from ckptd.config.keys import TABLES, table
from ckptd.config.writing import toml_key, toml_value
from ckptd.model import EVENTS

WORDS = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=8)
COUNTS = st.integers(0, 12)
SPANS = st.builds("{}{}".format, st.integers(0, 90), st.sampled_from(["ms", "s", "min", "h", "d"]))
SIZES = st.builds("{}{}".format, st.integers(0, 900), st.sampled_from(["B", "MiB", "GiB", "TB"]))
PATHS = st.builds("/{}".format, st.text("ab/ .*\"\\'\u00e9\u202e\n", max_size=9))


VALUE = re.compile(r"#(?=\[|[a-z_]+ = )")


def uncommented(*, examples):
    """The example file with its values in force, those marked as examples only if asked."""
    wanted = [
        line if not examples and "# example" in line else VALUE.sub("", line, count=1)
        for line in example().splitlines()
        if VALUE.match(line) or line.startswith("[")
    ]
    return "\n".join(wanted)


def text_of(document, place=()):
    """A document (tables as dicts, lists of tables as lists of dicts) as TOML."""
    lines = []
    inner = []
    for key, value in document.items():
        where = (*place, key)
        if isinstance(value, dict) and key != "keep_best":
            inner += [f"[{toml_key(where)}]", text_of(value, where)]
        elif isinstance(value, list) and value and all(isinstance(each, dict) for each in value):
            for each in value:
                inner += [f"[[{toml_key(where)}]]", text_of(each, where)]
        else:
            lines.append(f"{toml_key((key,))} = {toml_value(value)}")
    return "\n".join([*lines, *inner])


# --- sound ones --------------------------------------------------------------------------


@st.composite
def sound_documents(draw):
    """Documents that contradict neither the keys nor themselves."""
    document = {
        "mode": st.sampled_from(["enforce", "observe"]),
        "trust": st.lists(WORDS, max_size=2),
        "watch": st.lists(watches(), max_size=3, unique_by=_same_path),
        "policy": policies(),
        "disk": disks(),
        "notify": notifies(),
        "prometheus": measures(),
    }
    return draw(st.fixed_dictionaries({}, optional=document))


def _same_path(watch):
    return kinds.PATH.read(watch["path"])


def watches():
    keys = {
        "events": st.sampled_from(["auto", "inotify", "poll"]),
        "drop_ins": st.booleans(),
        "adopt": st.sampled_from(["new", "all"]),
        "mixed_owners": st.booleans(),
        "capacity": SIZES | st.just("unlimited"),
    }
    return st.fixed_dictionaries({"path": PATHS}, optional=keys)


PERIODS = [f"keep_{period}" for period in ("hourly", "daily", "weekly", "monthly", "yearly")]
SPANNED = ("min_age", "settle", "broken_after", "trash_for", "finished_after")


@st.composite
def policies(draw):
    """Those whose rules all have an effect: see test_without_effect.py for others."""
    further = {
        "pin": st.lists(WORDS.filter(lambda word: "/" not in word), max_size=2),
        **dict.fromkeys(SPANNED, SPANS),
        "max_size": SIZES | st.just("unlimited"),
    }
    policy = draw(st.fixed_dictionaries({}, optional=further))
    if draw(st.integers(0, 9)) == 0:
        return policy | {"pressure": {"keep_last": "unlimited"}}
    policy |= draw(st.fixed_dictionaries({}, optional=_rules()))
    if draw(st.booleans()):
        policy["pressure"] = draw(_pressures(policy))
    if draw(st.booleans()):
        without_unlimited = _rules() | {"keep_last": COUNTS}
        finished = draw(st.fixed_dictionaries({}, optional=without_unlimited))
        # What pressure switches off may never count, where keep_last is unlimited.
        off = {name for name, value in policy.get("pressure", {}).items() if value in (0, "0h")}
        policy["finished"] = {k: v for k, v in finished.items() if k not in off}
    return policy


def _rules():
    best = st.fixed_dictionaries({"count": COUNTS, "metric": WORDS})
    return {
        "keep_last": COUNTS | st.just("unlimited"),
        "keep_best": COUNTS | best,
        "keep_every_steps": COUNTS,
        "keep_within": COUNTS.map("{}h".format),
        **dict.fromkeys(PERIODS, COUNTS),
        "keep_yearly": COUNTS | st.just("unlimited"),
    }


def _pressures(policy):
    """Those that keep no more than *policy* does; nothing is switched off that only here counts."""
    last, best = policy.get("keep_last", "unlimited"), policy.get("keep_best", 1)
    count = best["count"] if isinstance(best, dict) else best
    steps = policy.get("keep_every_steps", 0)
    hours = int(policy.get("keep_within", "0h").removesuffix("h"))

    def up_to(most):
        least = 1 if last == "unlimited" and most else 0
        return st.integers(least, 12 if most == "unlimited" else most)

    keys = {
        "keep_last": COUNTS if last == "unlimited" else st.integers(0, last),
        "keep_best": up_to(count),
        "keep_every_steps": st.integers(steps, steps + 9) if steps else st.just(0),
        "keep_within": up_to(hours).map("{}h".format),
        **{name: up_to(policy.get(name, 0)) for name in PERIODS},
    }
    set_in_policy = {name for name in keys if name in policy or name in ("keep_last", "keep_best")}
    wanted = keys if last != "unlimited" else set_in_policy
    return st.fixed_dictionaries({}, optional={name: keys[name] for name in sorted(wanted)})


@st.composite
def disks(draw):
    disk = draw(_marks())
    for path in draw(st.lists(PATHS, max_size=2, unique_by=kinds.PATH.read)):
        disk[path] = draw(_marks())
    return disk


def _marks():
    """All marks or none of them, so that what is left out cannot contradict them."""
    order = st.lists(st.integers(1, 99), min_size=3, max_size=3, unique=True).map(sorted)
    marks = order.map(lambda of: {"low": f"{of[0]}%", "high": f"{of[1]}%", "hard": f"{of[2]}%"})
    amounts = {"max_headroom": SIZES, "reserve": SIZES | st.just("auto")}
    headroom = st.fixed_dictionaries({}, optional=amounts)
    return st.builds(lambda one, other: one | other, st.just({}) | marks, headroom)


def notifies():
    """Without urls: `ckptd config` hides them, so what it prints means the same without them."""
    keys = {
        "urls_file": PATHS,
        "events": st.lists(st.sampled_from(EVENTS), max_size=3),
        "at_most_every": SPANS,
    }
    return st.fixed_dictionaries({}, optional=keys)


def measures():
    host = st.sampled_from(["", "127.0.0.1", "localhost", "0.0.0.0", "[::1]"])
    keys = {
        "textfile": PATHS.map("{}.prom".format),
        "listen": st.builds("{}:{}".format, host, st.integers(1, 65535)),
    }
    return st.fixed_dictionaries({}, optional=keys)


# --- any -----------------------------------------------------------------------------------

NAMES = [key.name for each in TABLES for key in (*each.keys, *each.off)]
NAMES += [name for each in TABLES for name in each.later]
KEYS = st.sampled_from([*NAMES, "keep_lats", "dsik", "", "\x1b[2J", "a.b"]) | WORDS
ANY_VALUES = st.recursive(
    st.integers(-(10**20), 10**20)
    | st.floats()
    | st.booleans()
    | st.just(datetime(2026, 1, 2, tzinfo=UTC))
    | st.sampled_from(["unlimited", "never", "5m", "85%", "1GiB", "0s", "/x", "~", "enforce"])
    | SPANS
    | WORDS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(KEYS, inner, max_size=3),
    max_leaves=4,
)
_HEADERS = [each.place for each in TABLES if each is not table("")]
HEADERS = st.sampled_from([*_HEADERS, ("disk", "/x"), ("disk", "~"), ("archive",), ("what",)])


@st.composite
def any_texts(draw):
    """TOML of tables known and unknown, with keys known and unknown, and any values."""
    lines = [_assignments(draw)]
    for place in draw(st.lists(HEADERS, max_size=4)):
        brackets = "[[{}]]" if place == ("watch",) else "[{}]"
        lines += [brackets.format(toml_key(place)), _assignments(draw)]
    return "\n".join(lines)


def _assignments(draw):
    values = draw(st.dictionaries(KEYS, ANY_VALUES, max_size=3))
    return "\n".join(f"{toml_key((key,))} = {toml_value(value)}" for key, value in values.items())
