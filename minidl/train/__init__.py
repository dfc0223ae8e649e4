"""Training: the loop with its run folder, checkpoints that resume bit for bit, data sets and settings by name.

The names load when they are first used, so that the command line can read the settings without loading the layers.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .answers import Prediction, predict
    from .checkpoint import load_checkpoint, save_checkpoint
    from .config import TrainConfig, complete
    from .errors import CheckpointError, Interrupted, TrainingError
    from .metrics import Evaluation, confusion_matrix, evaluate
    from .run import Run, load_run, new_run_folder, resume_run, start_run
    from .tasks import Task, load_task
    from .trainer import Trainer

_HOMES = {
    "checkpoint": ("load_checkpoint", "save_checkpoint"),
    "config": ("TrainConfig", "complete"),
    "errors": ("CheckpointError", "Interrupted", "TrainingError"),
    "metrics": ("Evaluation", "confusion_matrix", "evaluate"),
    "answers": ("Prediction", "predict"),
    "run": ("Run", "load_run", "new_run_folder", "resume_run", "start_run"),
    "tasks": ("Task", "load_task"),
    "trainer": ("Trainer",),
}

__all__ = sorted(name for names in _HOMES.values() for name in names)


def __getattr__(name: str) -> Any:
    for home, names in _HOMES.items():
        if name in names:
            return getattr(importlib.import_module(f".{home}", __name__), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
