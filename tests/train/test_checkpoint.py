"""The file of a checkpoint: what it holds, and what happens to it in a fire."""

import errno
import json
import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import minidl
from minidl.io import save_safetensors
from minidl.train import CheckpointError, load_checkpoint, save_checkpoint
from tests.train.small_run import as_bytes, trainer

STATE: dict[str, Any] = {
    "epoch": 3,
    "nothing": None,
    "flags": [True, False],
    "numbers": (0.1, -1e-300, float("inf"), 2**63 + 5),
    "text": "a/b é",
    "model": {
        "w": np.arange(6, dtype="float32").reshape(2, 3).T,
        "scalar": np.float64(2.5),
        "n": np.array(7, dtype="int64"),
    },
    "state": {0: {"m": np.zeros((0, 2)), "step": 4}, 10: {}},
    "empty": {},
}


def test_everything_comes_back_as_it_was(tmp_path: Path) -> None:
    path = tmp_path / "c.safetensors"
    save_checkpoint(path, STATE)
    back = load_checkpoint(path)
    expected = {**STATE, "model": {**STATE["model"], "scalar": 2.5}}
    assert as_bytes(back) == as_bytes(expected)
    assert isinstance(back["numbers"], tuple) and list(back["state"]) == [0, 10]
    assert back["model"]["w"].flags.writeable


def test_nan_and_tensors(tmp_path: Path) -> None:
    path = tmp_path / "c.safetensors"
    save_checkpoint(path, {"loss": float("nan"), "t": minidl.tensor([1.5, float("nan")], requires_grad=True)})
    back = load_checkpoint(path)
    assert np.isnan(back["loss"]) and back["t"].dtype == np.float32 and np.isnan(back["t"][1])


def test_what_cannot_be_saved_is_named_and_the_old_file_stays(tmp_path: Path) -> None:
    path = tmp_path / "c.safetensors"
    save_checkpoint(path, {"epoch": 1})
    with pytest.raises(TypeError, match=r"arrays, numbers, text, lists and dictionaries, not set \(model/x\)"):
        save_checkpoint(path, {"model": {"x": {1, 2}}})
    with pytest.raises(ValueError, match="two arrays of the checkpoint would be called 'a/b'"):
        save_checkpoint(path, {"a/b": np.zeros(1), "a": {"b": np.zeros(1)}})
    assert load_checkpoint(path) == {"epoch": 1}


def test_files_that_are_no_checkpoints(tmp_path: Path) -> None:
    weights = tmp_path / "weights.safetensors"
    save_safetensors(weights, {"w": np.zeros(2)}, {"format": "pt"})
    with pytest.raises(
        CheckpointError, match=r"weights\.safetensors: these are weights, not a checkpoint of a training"
    ):
        load_checkpoint(weights)
    text = tmp_path / "run.txt"
    text.write_text("not a checkpoint at all")
    message = r"run.txt: .*not a safetensors file.*The checkpoint cannot be used; nothing was changed"
    with pytest.raises(CheckpointError, match=message):
        load_checkpoint(text)
    with pytest.raises(FileNotFoundError, match="nowhere"):
        load_checkpoint(tmp_path / "nowhere")


def rewritten(path: Path, change: Any) -> None:
    """Change the description of a checkpoint, with a checksum that fits."""
    from minidl.io import read_header
    from minidl.train import checkpoint

    text = change(read_header(path).metadata["minidl.checkpoint"])
    save_safetensors(path, {}, {"minidl.checkpoint": text, "minidl.checksum": checkpoint._checksum(text, {})})


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda text: text[:-1], "the description of the checkpoint is damaged"),
        (lambda text: "[1]", "the description of the checkpoint is damaged"),
        (lambda text: '{"version": 1, "state": {"array": "gone"}}', "damaged .*gone"),
        (lambda text: '{"version": 1, "state": {"items": [[1]]}}', "the description of the checkpoint is damaged"),
        (lambda text: '{"version": 1, "state": {}}', "the description of the checkpoint is damaged"),
        (lambda text: text.replace('"version": 1', '"version": 2'), "version 2 of the format, this minidl reads 1"),
    ],
)
def test_a_description_that_makes_no_sense(tmp_path: Path, change: Any, message: str) -> None:
    path = tmp_path / "c.safetensors"
    save_checkpoint(path, {"epoch": 1})
    rewritten(path, change)
    with pytest.raises(CheckpointError, match=message):
        load_checkpoint(path)


def test_a_single_flipped_bit_in_a_weight_is_found(tmp_path: Path) -> None:
    path = tmp_path / "c.safetensors"
    save_checkpoint(path, STATE)
    data = bytearray(path.read_bytes())
    data[-3] ^= 1
    path.write_bytes(data)
    with pytest.raises(CheckpointError, match="the contents do not fit their checksum, so the checkpoint is damaged"):
        load_checkpoint(path)


def test_500_damaged_checkpoints_are_refused_or_harmless(tmp_path: Path) -> None:
    """Cut, flipped, overwritten, doubled: CheckpointError, or (spaces in the header) exactly the old contents."""
    path = tmp_path / "c.safetensors"
    trainer(tmp_path).save()
    good = (tmp_path / "checkpoint.safetensors").read_bytes()
    expected = as_bytes(load_checkpoint(tmp_path / "checkpoint.safetensors"))
    rng = np.random.default_rng(41)
    refused = 0
    for _ in range(500):
        path.write_bytes(damaged(good, rng))
        try:
            assert as_bytes(load_checkpoint(path)) == expected
        except CheckpointError as error:
            assert "c.safetensors" in str(error)
            refused += 1
    assert refused > 480


def damaged(good: bytes, rng: np.random.Generator) -> bytes:
    data = bytearray(good)
    header = 8 + int.from_bytes(good[:8], "little")
    end = header if rng.random() < 0.6 else len(good)  # the description is the more interesting part
    place = int(rng.integers(0, end))
    match int(rng.integers(0, 6)):
        case 0:
            data[place] ^= 1 << int(rng.integers(8))
        case 1:
            del data[place:]
        case 2:
            del data[place : place + int(rng.integers(1, 9))]
        case 3:
            data[place:place] = rng.bytes(int(rng.integers(1, 9)))
        case 4:
            data[place : place + 4] = rng.bytes(4)
        case 5:
            other = int(rng.integers(0, end))
            data[place : place + 16] = data[other : other + 16]
    return bytes(data)


@pytest.mark.parametrize("where", ["fsync", "replace"])
def test_a_full_disk_leaves_the_old_checkpoint(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, where: str) -> None:
    run = trainer(tmp_path)
    run.fit(1)
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}

    def full(*args: Any) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with monkeypatch.context() as patch:
        patch.setattr(os, where, full)
        with pytest.raises(OSError, match=r"no space is left on the device\. The file .* is unchanged") as error:
            run.save()
        assert "checkpoint.safetensors" in str(error.value)
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == before
    run.fit(2)
    assert len((tmp_path / "metrics.jsonl").read_text().splitlines()) == 2
    assert json.loads((tmp_path / "metrics.jsonl").read_text().splitlines()[1])["epoch"] == 2
