"""The measured attack: names swapped for links while root acts, over every act of ckptd.

The same race first against what scripts do (check, then `shutil.rmtree(path)`): it must lose
another user's save, or the attack proves nothing.
"""

import errno
import os
import shutil
import time
from contextlib import suppress
from datetime import UTC, datetime
from types import SimpleNamespace

import pytest
from house import ckptd
from racing import ALICE, SECRET, exchange, racing, save_of, staged
from terminal import snapshot

from ckptd import beneath, policy, render, scan, trash
from ckptd.actions import removing
from ckptd.actions import trash as acts
from ckptd.errors import CkptdError
from ckptd.ledger import new_id
from ckptd.model import ActionKind, Checkpoint, Health, Run
from ckptd.observe import obstacles
from ckptd.status.users import of_user

pytestmark = [
    pytest.mark.root,
    pytest.mark.skipif(os.geteuid() != 0, reason="needs two other users"),
]
SAVES = 8
LONG = 40.0  # until the control has lost something, on a machine that is busy
SHORT = 4.0
ATTEMPTS = 20_000
ID = "racingaaaaaaaaa"


def pairs_of(stage):
    """ALICE's run, its saves, a directory and a file in these: each beside a way to BOB's."""
    found = [exchange(stage.alice, "exp", "exp-link", stage.victim)]
    for save in sorted(stage.run.glob("checkpoint-*")):
        hers, his = stage.run, stage.victim / save.name
        found += [exchange(hers, save.name, f".{save.name}", his)]
        found += [exchange(save, "sub", ".sub", his)]
    return found


def states_of(stage):
    """In each save, the state beside a link to BOB's, and the arguments beside a hard link."""
    for save in sorted(stage.run.glob("checkpoint-*")):
        his = stage.victim / save.name / "trainer_state.json"
        yield exchange(save, "trainer_state.json", ".soft", his)
        yield exchange(save, "trainer_state.json", ".hard", his, hard=True)


def attempts(seconds, most=ATTEMPTS):
    until = time.monotonic() + seconds
    return (nth for nth in range(most) if time.monotonic() < until)


def tell(capsys, what, swaps, **counts):
    with capsys.disabled():
        said = ", ".join(f"{count} {word}" for word, count in counts.items())
        print(f"\n{what}: {said}, against {swaps} swaps")


# --- the attack bites ----------------------------------------------------------------------


def test_checks_and_then_rmtree_lose_what_is_bobs(capsys):
    with staged(1) as stage:
        hers, his = stage.run / "checkpoint-5", stage.victim / "checkpoint-5"
        lost = tried = 0
        with racing(exchange(stage.alice, "exp", "exp-link", stage.victim)) as swaps:
            for _ in attempts(LONG, 10**6):
                tried += 1
                with suppress(OSError):
                    if _looks_right(hers):
                        shutil.rmtree(hers, ignore_errors=True)
                if not his.exists():
                    lost += 1
                    break
                _again(stage)
            tell(capsys, "checks and rmtree", swaps(), tried=tried, lost=lost)
    assert lost, "the attack does not bite, so what withstands it proves nothing"


def _looks_right(path):
    parent = path.parent
    real = os.path.realpath(path) == str(path)
    return real and os.path.isdir(path) and not parent.is_symlink()


def _again(stage):
    """ALICE's save again, wherever her run lies at this moment."""
    for name in ("exp", "exp-link"):
        place = stage.alice / name
        with suppress(OSError):
            if not place.is_symlink() and not (place / "checkpoint-5").exists():
                (place / "checkpoint-5").mkdir()
                (place / "checkpoint-5" / "file").touch()


def test_a_check_and_then_open_reveal_what_is_bobs(capsys):
    with staged(1) as stage:
        state = stage.run / "checkpoint-5" / "trainer_state.json"
        seen = tried = 0
        with racing(*states_of(stage)) as swaps:
            for _ in attempts(LONG, 10**6):
                tried += 1
                with suppress(OSError):
                    if not state.is_symlink() and SECRET in state.read_text():
                        seen += 1
                        break
            tell(capsys, "a check and open", swaps(), tried=tried, seen=seen)
    assert seen


# --- every act -----------------------------------------------------------------------------


@pytest.fixture
def stage():
    with staged(SAVES) as found:
        yield found


def run_at(stage, place):
    seen = os.stat(stage.run)
    return Run(
        str(stage.run), str(place), str(place), "f", seen.st_dev, seen.st_ino, seen.st_uid, ()
    )


def checkpoints_of(stage):
    fd = os.open(stage.run, os.O_RDONLY)
    try:
        return [_checkpoint(stage, fd, f"checkpoint-{5 * n}") for n in range(1, SAVES + 1)]
    finally:
        os.close(fd)


def _checkpoint(stage, fd, name):
    tree = scan.tree(fd, name)
    return Checkpoint(
        path=f"{stage.run}/{name}",
        name=name,
        identity=scan.identity(tree),
        format="f",
        step=5,
        bytes=tree.allocated,
        saved_at=datetime(2026, 1, 2, tzinfo=UTC),
        health=Health.COMPLETE,
        evidence="",
        pinned=True,  # as it is once it was restored
    )


def raced(capsys, stage, what, pairs, attempt, seconds=SHORT):
    """*attempt* over and over while ALICE swaps; what was done and refused, BOB's untouched.

    An attempt returns how often it did something.
    """
    before = untouched(stage.bob)
    done = refused = 0
    said = set()
    with racing(*pairs) as swaps:
        for nth in attempts(seconds):
            try:
                done += attempt(nth)
            except (CkptdError, OSError) as error:
                refused += 1
                said.add(str(error))
        tell(capsys, what, swaps(), done=done, refused=refused)
    assert untouched(stage.bob) == before
    assert not [text for text in said if SECRET in text]
    assert done
    return refused


def untouched(place):
    """All but how many names a file has and when that changed: a hard link is ALICE's to move."""
    return {path: (*seen[:2], *seen[3:6], seen[7]) for path, seen in snapshot(place).items()}


@pytest.mark.parametrize("place", ["top", "alice"])
def test_evict_set_aside_and_restore(capsys, stage, place):
    """Into a trash of root's, and into one in a directory of ALICE's, which she swaps as well."""
    where = {"top": stage.top, "alice": stage.alice}[place]
    run, planned = run_at(stage, where), checkpoints_of(stage)
    pairs = pairs_of(stage)
    planned = checkpoints_of(stage)
    if place == "alice":
        pairs.append(exchange(stage.alice, trash.TRASH, "trash-link", stage.bob))

    def attempt(nth):
        if (item := away.pop(nth % SAVES, None)) is None:
            away[nth % SAVES] = acts.move_in(
                run,
                planned[nth % SAVES],
                [ActionKind.EVICT, ActionKind.SET_ASIDE][nth % 2],
                id=ID + "abcdefgh"[nth % SAVES],
                place=str(where),
                reason="",
                now=datetime.now(UTC),
            )
            return 1
        try:
            acts.restore(item)
        except CkptdError:
            away[nth % SAVES] = item
            raise
        return 1

    away = {}
    assert raced(capsys, stage, f"evict, set_aside, restore in {place}", pairs, attempt)


def test_unlinking_where_it_lies(capsys, stage):
    run, pairs = run_at(stage, stage.top), pairs_of(stage)
    planned = checkpoints_of(stage)
    home = os.open(stage.run, os.O_RDONLY)

    def attempt(nth):
        one = planned[nth % SAVES]
        removing.remove(run, one, id=new_id())
        shutil.rmtree(f"/proc/self/fd/{home}/{one.name}", ignore_errors=True)
        save = save_of(ALICE, stage.top / "new", 5 * (nth % SAVES + 1))
        os.rename(save, one.name, dst_dir_fd=home)
        planned[nth % SAVES] = _checkpoint(stage, home, one.name)
        return 1

    assert raced(capsys, stage, "unlinking", pairs, attempt)
    os.close(home)


def test_purge(capsys, stage):
    shelf = stage.top / trash.TRASH / str(ALICE)
    shelf.mkdir(parents=True)
    shelf.parent.chmod(0o755)
    os.chown(shelf, ALICE, ALICE)
    shelf.chmod(0o700)
    ids = [ID + letter for letter in "abcdefgh"]
    pairs = []
    for nth, id_ in enumerate(ids):
        os.rename(stage.run / f"checkpoint-{5 * (nth + 1)}", shelf / id_)
        pairs += [exchange(shelf, id_, f"{id_}-link", stage.victim / f"checkpoint-{5 * (nth + 1)}")]
        pairs += [exchange(shelf / id_, "sub", ".sub", stage.victim)]
    items = {item.id: item for item in trash.items(str(stage.top))}

    def attempt(nth):
        id_ = ids[nth % SAVES]
        if nth % 50 == 49:
            acts.finish_purges(str(stage.top))
        acts.purge(items[id_])
        save = save_of(ALICE, stage.top / "new", 5)
        os.rename(save, shelf / id_)
        return 1

    assert len(items) == SAVES
    raced(capsys, stage, "purge", pairs, attempt)


def test_pin(capsys, stage):
    def attempt(nth):
        name = f"checkpoint-{5 * (nth % SAVES + 1)}"
        run_fd = beneath.open_directory(str(stage.run))
        try:
            fd = beneath.open_beneath(run_fd, name)
        finally:
            os.close(run_fd)
        try:
            [beneath.pin, beneath.unpin][nth % 2](fd)
        except OSError as error:
            if error.errno != errno.EOPNOTSUPP:
                raise
        finally:
            os.close(fd)
        return 1

    raced(capsys, stage, "pin and unpin", pairs_of(stage), attempt)


def test_weighing_what_stands_in_the_way(capsys, stage):
    (stage.bob / SECRET).mkdir()
    (stage.bob / SECRET).chmod(0o700)
    large = stage.bob / SECRET / SECRET
    large.write_bytes(b"x" * 2**22)
    pairs = [exchange(stage.alice, "exp", "exp-link", stage.bob / SECRET)]
    need = SimpleNamespace(filesystem=SimpleNamespace(bounds=lambda *_: True))
    run = SimpleNamespace(
        path=str(stage.run),
        filesystem="",
        watch=str(stage.alice),
        checkpoints=(),
        device=os.stat(stage.run).st_dev,
        uid=ALICE,
    )
    world = SimpleNamespace(runs=[run])

    def attempt(nth):
        found = list(obstacles._strangers(need, world, lambda: None))
        assert not [each for each in found if SECRET in each.path or each.bytes >= 2**22]
        assert scan.weigh(str(stage.run)) < 2**22
        return 1

    raced(capsys, stage, "weighing", pairs, attempt)


def test_looking_and_telling(capsys, stage, tmp_path):
    """Whole looks of root over both users; what ALICE is shown holds nothing of BOB's."""
    pairs = [*pairs_of(stage), *states_of(stage)]
    with ckptd(tmp_path / "state", stage.top, policy__keep_last=1) as daemon:

        def attempt(nth):
            look = daemon.eyes.look(users=nth % 20 == 0)
            decided = policy.plan(look.world, look.policies, frozenset(), datetime.now(UTC))
            hers = render.dumps(render.report_json(*of_user(ALICE, decided, look.world)))
            assert SECRET not in hers
            all_of_it = render.dumps(render.report_json(decided, look.world))
            bobs = [r for r in render.plan_json(decided)["runs"] if "/bob/" in r["path"]]
            assert SECRET in all_of_it, "root does not see BOB's, so the test proves nothing"
            assert len(bobs) == 1
            return 1

        raced(capsys, stage, "looks", pairs, attempt, 2 * SHORT)


def test_whole_plans_carried_out(capsys, stage, tmp_path):
    """What a daemon of root does from look to act, direct unlinking as well."""
    pairs = [*pairs_of(stage), *states_of(stage)]
    options = {"policy__keep_last": 1, "policy__keep_best": 0, "policy__settle": "0s"}
    told = []
    with ckptd(tmp_path / "state", stage.run, told=told, **options) as daemon:

        def attempt(nth):
            look = daemon.eyes.look(users=True)
            decided = policy.plan(look.world, look.policies, frozenset(), datetime.now(UTC))
            return 1 + sum(outcome.ok for outcome in daemon.hands.execute(decided))

        raced(capsys, stage, "whole plans", pairs, attempt)
    assert SECRET not in repr(told)
