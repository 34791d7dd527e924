"""A whole ckptd in this process, on real files: what `apply` and `watch` are made of."""

from contextlib import contextmanager
from pathlib import Path

from ckptd import beneath, config, policy
from ckptd.actions.execute import Hands
from ckptd.actions.lock import Locks
from ckptd.actions.recover import recover
from ckptd.daemon import Daemon
from ckptd.ledger import Ledger
from ckptd.observe import Eyes

ROOMY = {"disk__high": "99.9%", "disk__low": "99.8%", "disk__hard": "100%"}


@contextmanager
def ckptd(state, *paths, told=None, config_file=None, **options):
    """A Daemon over *paths*; options as `policy__keep_last=2`; records are appended to *told*."""
    beneath.ignore_lease_signals()
    texts = {key.replace("__", "."): str(v) for key, v in (ROOMY | options).items()}
    settings = config.load(config_file and str(config_file), texts, [str(path) for path in paths])
    tell = (lambda record: None) if told is None else told.append
    with Ledger(str(state)) as ledger:
        recover(ledger, tell)
        eyes = Eyes(settings, ledger)
        daemon = Daemon(eyes, ledger, Hands(eyes, ledger, tell), Locks())
        try:
            yield daemon
        finally:
            daemon.locks.release()


def names(run: Path) -> set[str]:
    """The checkpoints that lie in *run*."""
    return {path.name for path in run.iterdir() if path.name.startswith("checkpoint-")}


def verdicts(daemon):
    """Each checkpoint's verdict by name, as one look gives it."""
    look = daemon.eyes.look(users=True)
    plan = policy.plan(look.world, daemon.eyes.settings.policies, frozenset(), _now())
    return {v.checkpoint.name: v for v in plan.verdicts}


def _now():
    from datetime import UTC, datetime

    return datetime.now(UTC)
