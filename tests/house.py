"""A whole ckptd in this process, on real files: what `apply` and `watch` are made of."""

from contextlib import contextmanager
from pathlib import Path

from ckptd import beneath, config, policy
from ckptd.actions.execute import Hands
from ckptd.actions.lock import Locks
from ckptd.actions.recover import recover
from ckptd.actions.refuge import reopen
from ckptd.daemon import Daemon
from ckptd.ledger import Ledger
from ckptd.observe import Eyes

ROOMY = {
    "disk__high": "99.9%",
    "disk__low": "99.8%",
    "disk__hard": "100%",
    "disk__reserve": "0B",
}


@contextmanager
def ckptd(state, *paths, told=None, config_file=None, **options):
    """A Daemon over *paths*; options as `policy__keep_last=2`; records are appended to *told*."""
    beneath.ignore_lease_signals()
    texts = {key.replace("__", "."): str(v) for key, v in (ROOMY | options).items()}
    settings = config.load(config_file and str(config_file), texts, [str(path) for path in paths])
    tell = (lambda record: None) if told is None else told.append
    with Ledger(str(state)) as ledger:
        eyes = Eyes(settings, ledger)
        reopen(ledger, (watch.path for watch in eyes.watches()))
        recover(ledger, tell)
        daemon = Daemon(eyes, ledger, Hands(eyes, ledger, tell), Locks())
        try:
            yield daemon
        finally:
            daemon.locks.release()


def names(run: Path) -> set[str]:
    """The checkpoints that lie in *run*."""
    return {path.name for path in run.iterdir() if path.name.startswith("checkpoint-")}


def planned(daemon):
    """The plan that one look leads to."""
    look = daemon.eyes.look(users=True)
    return policy.plan(look.world, look.policies, frozenset(), _now())


def verdicts(daemon):
    """Each checkpoint's verdict by name, as one look gives it."""
    return {v.checkpoint.name: v for v in planned(daemon).verdicts}


def _now():
    from datetime import UTC, datetime

    return datetime.now(UTC)
