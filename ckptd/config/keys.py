"""Every key of the configuration, said once.

The tables that a file is read by, the command line's options, config.example.toml, the JSON
schema and what `ckptd config` prints all come from here.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from ckptd.config import kinds, rulekeys
from ckptd.config.entries import Key, Table

_OPTIMIZER: Final = Key("keep_optimizer_last", kinds.switched_off("unlimited"))

_TOP: Final = Table(
    "",
    (
        Key(
            "mode",
            kinds.choice("enforce", "observe"),
            "enforce",
            '"enforce" acts. "observe" plans and reports, and touches nothing: a good first week.',
            metavar="MODE",
            help="enforce (the default), or observe: plan and report, touch nothing",
        ),
        Key(
            "trust",
            kinds.WORDS,
            [],
            "Checkpoint formats that ckptd knows from their source code only, and has never seen "
            "live, are shown but not touched. Name one here to allow acting on it.",
        ),
    ),
    later=frozenset({"archive"}),
)

_WATCH: Final = Table(
    "watch",
    (
        Key(
            "path",
            kinds.PATH,
            about="Absolute, or beginning with ~. May be a glob. Need not exist yet.",
            example="/data/experiments",
        ),
        Key(
            "events",
            kinds.choice("auto", "inotify", "poll"),
            "auto",
            'How arrivals are noticed: "inotify", "poll" (network filesystems), or "auto" to '
            "decide by filesystem.",
        ),
        Key(
            "drop_ins",
            kinds.FLAG,
            True,
            "Whether a file named .ckptd.toml in it sets the [policy] of the runs at or below its "
            "directory. The nearest one wins, key by key. It counts when root or the owner of the "
            "run owns it and nobody else may write it.",
        ),
        Key(
            "adopt",
            kinds.choice("new", "all"),
            "new",
            '"new": care only for runs whose first checkpoint appears while ckptd looks; those '
            "that were there before are shown, and come under care with `ckptd adopt PATH`. "
            '"all": care for all.',
        ),
        Key(
            "mixed_owners",
            kinds.FLAG,
            False,
            "true lets root act on files that do not belong to the owner of their directory.",
        ),
        Key(
            "capacity",
            kinds.LIMIT,
            "unlimited",
            "What may lie there at most, where df does not show it: the limit of a container or of "
            "a user. high, low and hard count within it.",
            example="200GiB",
        ),
    ),
    "what is watched",
    "One [[watch]] for each directory tree; those of all files add up. A PATH on the command line "
    "replaces all of them.",
    listed=True,
)

_POLICY: Final = Table(
    "policy",
    (
        *rulekeys.POLICY,
        Key(
            "pin",
            kinds.PATTERNS,
            [],
            "Names (shell patterns) of checkpoints that are never let go of.",
            example=["*-merged"],
            metavar="PATTERN",
            help="never let go of checkpoints whose name matches PATTERN, as in '*-merged'; "
            "repeatable",
        ),
        Key(
            "max_size",
            kinds.LIMIT,
            "unlimited",
            "What the checkpoints of one run may hold together. Beyond it those go that are kept "
            "only while there is room, by what they cost; never what pressure keeps.",
            example="200GiB",
            metavar="SIZE",
            help="let the checkpoints of a run hold at most SIZE together, as in 200GiB",
        ),
        Key(
            "min_age",
            kinds.DURATION,
            "0s",
            "Nothing younger than this is let go of. Give 10min where other machines read what "
            "you save.",
            metavar="DURATION",
            help="let go of nothing younger than this, as in 10min (default 0s)",
        ),
        Key(
            "settle",
            kinds.DURATION,
            "5s",
            "A save whose format writes no end marker counts as whole once it is quiet for this "
            "long.",
            metavar="DURATION",
            help="a save whose format writes no end marker is whole once quiet for this long "
            "(default 5s)",
        ),
        Key(
            "broken_after",
            kinds.DURATION,
            "24h",
            "Where other machines write too, a broken save is set aside only after this long: the "
            "process that still writes it may run elsewhere.",
            metavar="DURATION",
            help="where other hosts write too, set a broken save aside after this long "
            "(default 24h)",
        ),
        Key(
            "trash_for",
            kinds.DURATION,
            "1h",
            "What is let go of lies in a trash for this long and can be restored with `ckptd "
            "restore`. Its space comes afterwards, or at once when the disk is too full. "
            '"0s" unlinks at once, for ever.',
            metavar="DURATION",
            help="what is let go can be restored for this long (default 1h); 0s unlinks at once",
        ),
        Key(
            "finished_after",
            kinds.DURATION,
            "24h",
            "A run counts as finished when nobody uses it and it has been quiet for this long, and "
            "for three of its save intervals. Then [policy.finished] holds.",
            metavar="DURATION",
            help="a run that is quiet for this long and used by nobody is finished (default 24h)",
        ),
    ),
    "what is kept while there is room",
    "Each rule keeps on its own; a checkpoint stays if any rule keeps it. 0 switches a rule off. "
    "Whatever the rules say: the newest complete checkpoint, the highest step, the trainer's best, "
    "and what is pinned, open or being written is never let go of.",
    off=(
        _OPTIMIZER,
        Key("archive", kinds.switched_off("never")),
    ),
)

_PRESSURE: Final = Table(
    "policy.pressure",
    rulekeys.PRESSURE,
    "what is kept even when the disk is too full",
    "A part of what [policy] keeps. A rule that is not set here is as firm as it is there; but as "
    'long as keep_last is unlimited there, it is 2 here. "unlimited" keeps all, come what may. '
    "Where a stronger file or drop-in lets [policy] keep less than this, that holds here too.",
    off=(_OPTIMIZER,),
)

_FINISHED: Final = Table(
    "policy.finished",
    rulekeys.FINISHED,
    "what is kept once a run is finished",
    "Takes the place of [policy], key by key, once finished_after is over and nobody uses the run. "
    "[policy.pressure] goes on to hold, as far as this keeps as much.",
    off=(_OPTIMIZER,),
)

_DISK: Final = Table(
    "disk",
    (
        Key(
            "high",
            kinds.MARK,
            "85%",
            "From here on room is made ...",
            metavar="MARK",
            help="make room when a filesystem is used up to here: 85% (the default), or a size in "
            "use",
        ),
        Key(
            "low",
            kinds.MARK,
            "80%",
            "... down to here.",
            metavar="MARK",
            help="make room down to here (default 80%)",
        ),
        Key(
            "hard",
            kinds.MARK,
            "95%",
            "Above this the disk is in danger, and every report says so.",
            metavar="MARK",
            help="above this the disk is in danger (default 95%)",
        ),
        Key(
            "max_headroom",
            kinds.SIZE,
            "150GiB",
            "Free space that a percentage may ask for at most: 15 % of 100 TB is not a need.",
            metavar="SIZE",
            help="free space that a percentage may ask for at most (default 150GiB)",
        ),
        Key(
            "reserve",
            kinds.RESERVE,
            "auto",
            'Room for the next saves, whatever the marks say. "auto": for each live run what its '
            "next save may take, up to twice the last one.",
            metavar="SIZE",
            help="room for the next saves, whatever the marks say (default auto: as they were seen "
            "to need)",
        ),
    ),
    "when a disk is too full",
    "In percent of what users can fill, as df shows it, or as a size in use.",
    more="""\
# The same keys for one filesystem; what is left out comes from [disk].
#[disk."/scratch"]                # example
#high = "98%"                     # example
#hard = "99%"                     # example
""",
)

_NOTIFY: Final = Table(
    "notify",
    (
        Key(
            "urls",
            kinds.URLS,
            [],
            "Where messages go, as apprise has it: mailtos://USER:PASSWORD@HOST, slack://, "
            "dingtalk://, feishu://, wecombot://, tgram://, jsons://HOST/PATH and many more. "
            "Needs: pip install 'ckptd[notify]'. These are secrets, so let nobody else read the "
            "file that holds them.",
            example=["mailtos://me:password@example.com"],
            secret=True,
        ),
        Key(
            "urls_file",
            kinds.FILE,
            about="A file with further ones, one in each line; # begins a comment. It is read at "
            "the start and whenever the configuration is read again.",
            example="/etc/ckptd/notify.urls",
        ),
        Key(
            "events",
            kinds.EVENT_KINDS,
            ["pressure", "shortfall", "broken", "diverged", "config"],
            "What is told, in the words of CKPTD_EVENT in the journal.",
        ),
        Key(
            "at_most_every",
            kinds.DURATION,
            "1h",
            "One message about the same thing (an event, and the run, filesystem or file that it "
            "is about) in so long; the next one counts what came meanwhile.",
        ),
    ),
    "who is told",
    "An extra: the journal has everything. Tells what `ckptd watch` and `exec` see, and an `apply` "
    "that a timer starts. A receiver that does not answer delays nothing, and "
    "after a few tries the message is dropped, which the journal says. The hardened service has "
    "no network: ckptd install --with network gives it one.",
)

_PROMETHEUS: Final = Table(
    "prometheus",
    (
        Key(
            "textfile",
            kinds.TEXTFILE,
            about="Into a file that node_exporter reads (--collector.textfile.directory).",
            example="/var/lib/node_exporter/textfile/ckptd.prom",
        ),
        Key(
            "listen",
            kinds.ADDRESS,
            about="Or by HTTP, at HOST:PORT /metrics. A port alone is open to this machine only. A "
            "service needs the network for it, as for [notify].",
            example="127.0.0.1:9469",
        ),
    ),
    "what is measured",
    "For Prometheus: disks, time to full, what went by which rule, broken saves. `ckptd watch` "
    "tells it. Needs: pip install 'ckptd[prometheus]'.",
)

TABLES: Final = (_TOP, _WATCH, _POLICY, _PRESSURE, _FINISHED, _DISK, _NOTIFY, _PROMETHEUS)
"""In the order of the example file."""


def table(name: str) -> Table:
    """The table of that dotted *name*; "" is the top of the file."""
    return next(each for each in TABLES if each.name == name)


def below(outer: Table) -> Iterator[Table]:
    """The tables that stand directly in *outer*."""
    for each in TABLES:
        if each.place and each.place[:-1] == outer.place:
            yield each
