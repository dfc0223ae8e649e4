"""A small training run in which everything is random that can be, and ways to compare two runs."""

from pathlib import Path
from typing import Any

import numpy as np

import minidl
from minidl import nn, optim
from minidl.data import ArrayDataset, DataLoader
from minidl.data import transforms as T
from minidl.train import Trainer, load_checkpoint

EPOCHS = 3


def data(count: int = 44) -> ArrayDataset:
    rng = np.random.default_rng(11)
    images = rng.standard_normal((count, 1, 6, 6)).astype(np.float32)
    labels = rng.integers(0, 3, count)
    images += labels[:, None, None, None]
    return ArrayDataset(images, labels, transform=T.RandomTranslate(1))


def network() -> nn.Sequential:
    """Batch norm has buffers, dropout draws random numbers, once from a generator of its own."""
    own = minidl.Generator(5)
    return nn.Sequential(
        nn.Conv2d(1, 3, 3), nn.BatchNorm2d(3), nn.ReLU(), nn.Dropout(0.3), nn.Flatten(), nn.Linear(48, 3),
        nn.Dropout(0.2, generator=own),
    )  # fmt: skip


def trainer(
    folder: Path, workers: int = 0, optimizer: str = "adam", schedule: str = "cosine", **options: Any
) -> Trainer:
    minidl.manual_seed(21)
    net = network()
    if optimizer == "adam":
        steps: Any = optim.Adam(net.parameters(), lr=0.01, weight_decay=1e-3)
    elif optimizer == "sgd":
        steps = optim.SGD(net.parameters(), lr=0.02, momentum=0.9, nesterov=True)
    else:
        steps = optim.RMSprop(net.parameters(), lr=0.003, momentum=0.5, centered=True)
    scheduler: Any
    if schedule == "cosine":
        scheduler = optim.lr_scheduler.CosineAnnealingLR(steps, T_max=EPOCHS)
    else:
        scheduler = optim.lr_scheduler.ReduceLROnPlateau(steps, patience=0, threshold=0.5)
    loader = DataLoader(data(), 8, shuffle=True, seed=31, num_workers=workers)
    return Trainer(net, steps, loader, DataLoader(data(12), 5), folder, scheduler=scheduler, **options)


def outcome(folder: Path) -> dict[str, Any]:
    """All of a finished run that must not depend on interruptions: the checkpoint's bytes but for the seconds."""
    state = load_checkpoint(folder / "checkpoint.safetensors")
    state["history"] = [without_time(row) for row in state["history"]]
    state["metrics"] = [without_time(row) for row in read_metrics(folder)]
    state["best"] = load_checkpoint(folder / "best.safetensors")
    return as_bytes(state)


def read_metrics(folder: Path) -> list[dict[str, Any]]:
    import json

    return [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]


def without_time(row: dict[str, Any]) -> dict[str, Any]:
    return {k: v for k, v in row.items() if k not in ("seconds", "images_per_second")}


def as_bytes(value: Any) -> Any:
    """Arrays as (dtype, shape, bytes), so that == compares bits."""
    if isinstance(value, np.ndarray):
        return value.dtype.str, value.shape, value.tobytes()
    if isinstance(value, dict):
        return {k: as_bytes(v) for k, v in value.items()}
    if isinstance(value, (list, tuple)):
        return [as_bytes(v) for v in value]
    return value
