"""A trainer that rotates and a ckptd under demand, both after the same victims at one moment.

CKPTD_RACES is how many saves the trainers make: some hundreds here, thousands where somebody
wants to be sure. What was met is told at the end.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest
from e2e.training import PATIENCE, ckptd, ended, marks, start

RACES = int(os.environ.get("CKPTD_RACES", "480"))
TRAINERS = 6
SECONDS = PATIENCE + 1.0 * RACES / TRAINERS

pytestmark = [pytest.mark.timeout(2 * SECONDS), *marks()]

LIMIT = 6  # of `rotating.py`
ROTATING = Path(__file__).with_name("rotating.py")
# As if only so much fitted: full at five saves of each, one before they rotate by themselves. With
# a reserve, which grows with the speed of the machine, ckptd would come long before them.
CONFIGURATION = """
[[watch]]
path = "{out}"
adopt = "all"
capacity = "2400KiB"
[disk]
reserve = "0B"
[policy]
keep_best = 0
[policy.pressure]
keep_last = 2
"""


def raced(tmp_path, how, saves):
    """What the trainers met together beside one ckptd, and what that told."""
    out, config = tmp_path / "out", tmp_path / "ckptd.toml"
    config.write_text(CONFIGURATION.format(out=out))
    watching = ckptd("watch", "--json", "--config", config, state=tmp_path / "state")
    guard, trainers = start(watching, tmp_path / "guard"), []
    try:
        for seed in range(TRAINERS):
            run, words = out / str(seed), ["--how", how, "--saves", saves // TRAINERS]
            run.mkdir(parents=True)
            command = [sys.executable, ROTATING, "--output_dir", run, "--seed", seed, *words]
            trainers.append(start(list(map(str, command)), tmp_path / f"trainer-{seed}"))
        ends = [ended(t, tmp_path / f"trainer-{n}", SECONDS) for n, t in enumerate(trainers)]
        assert guard.poll() is None
    finally:
        for process in (guard, *trainers):
            process.terminate()
    met = [end.check().training for end in ends]
    summed = {key: sum((one[key] for one in met[1:]), met[0][key]) for key in met[0]}
    return summed, ended(guard, tmp_path / "guard").check()


def tell(capsys, what, **counts):
    with capsys.disabled():
        print(f"\nraces with {what}: {', '.join(f'{n} {word}' for word, n in counts.items())}")


def names_of(told, *outcomes):
    """The checkpoints that ckptd went for, by how that ended."""
    tried = [e for e in told.events if e["event"] in {"evict", "refuse"}]
    return {e["checkpoint"] for e in tried if e["outcome"] in outcomes}


def test_no_trainer_dies_of_ckptd_and_no_firm_save_is_lost(tmp_path, capsys):
    met, told = raced(tmp_path, "trainer", RACES)
    late, won = names_of(told, "dropped", "failed") & set(met["victims"]), names_of(told, "done")
    tell(
        capsys,
        "transformers",
        saves=met["saves"],
        naps=met["naps"],
        rotated=len(met["victims"]),
        evicted=len(won),
        met=len(late),
        crashes=len(met["crashes"]),
        lost=len(met["lost"]),
    )
    assert met["crashes"] == []
    assert met["lost"] == []
    assert met["saves"] == RACES // TRAINERS * TRAINERS
    assert late, "they never went for the same one: this proves nothing"
    assert won, "ckptd never came first: this proves nothing"


def test_what_accelerate_names_by_itself_is_left_to_it(tmp_path, capsys):
    met, told = raced(tmp_path, "accelerate", RACES // 4)
    tell(
        capsys,
        "Accelerate",
        saves=met["saves"],
        rotated=len(met["victims"]),
        touched=len(names_of(told, "done", "dropped", "failed")),
        crashes=len(met["crashes"]),
        lost=len(met["lost"]),
    )
    assert met["crashes"] == met["missing"] == met["lost"] == []
    assert met["victims"]
    assert names_of(told, "done", "dropped", "failed") == set()
    for run in (tmp_path / "out").iterdir():
        assert os.listdir(run) == ["checkpoints"]
        assert len(os.listdir(run / "checkpoints")) == LIMIT
