"""Processes that train are really killed, at any moment and inside a save; the run goes on to the same bits."""

import os
import random
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from tests.train.small_run import EPOCHS, outcome, trainer

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[2]


def start(folder: Path, *how: Any) -> subprocess.Popen[str]:
    env = dict(os.environ, PYTHONPATH=str(ROOT))
    command = [sys.executable, str(Path(__file__).with_name("kill_worker.py")), str(folder), *map(str, how)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=env, cwd=ROOT)


def finish(folder: Path) -> None:
    process = start(folder)
    _, errors = process.communicate(timeout=120)
    assert process.returncode == 0, errors


@pytest.fixture(scope="module")
def uninterrupted(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    folder = tmp_path_factory.mktemp("whole")
    trainer(folder).fit(EPOCHS)
    return outcome(folder)


def test_killed_at_random_moments(tmp_path: Path, uninterrupted: dict[str, Any]) -> None:
    chance = random.Random(51)
    killed = 0
    for batches in (1, 3, 2, 4):
        process = start(tmp_path)
        assert process.stdout is not None
        for _ in range(batches):
            process.stdout.readline()
        time.sleep(chance.uniform(0, 0.01))  # somewhere in the next batch or save
        process.kill()
        process.communicate(timeout=60)
        killed += process.returncode != 0
    assert killed == 4
    finish(tmp_path)
    assert outcome(tmp_path) == uninterrupted


# A save syncs the file, replaces the old one and syncs the folder.  A run saves at its start (checkpoint, metrics),
# then after each batch; the first epoch ends with the best weights, the checkpoint and the metrics.
@pytest.mark.parametrize(
    "how",
    [
        ("fsync", 1, "before"),  # the first checkpoint of all: there is nothing to go on with
        ("replace", 3, "before"),
        ("replace", 3, "after"),
        ("fsync", 9, "after"),
        ("replace", 9, "after"),  # the best weights are written, the checkpoint of that epoch is not
        ("replace", 10, "after"),  # the checkpoint is written, the metrics are not
    ],
)
def test_killed_inside_a_save(tmp_path: Path, uninterrupted: dict[str, Any], how: tuple[str, int, str]) -> None:
    process = start(tmp_path, *how)
    process.communicate(timeout=120)
    assert process.returncode != 0
    finish(tmp_path)
    assert outcome(tmp_path) == uninterrupted
    leftovers = [path.name for path in tmp_path.iterdir() if path.name.endswith(".tmp")]
    assert len(leftovers) <= 1  # of the killed process; removed by a later save once it is an hour old
